#include "models/resnet1d.h"

#include <fmt/format.h>

#include "engine/recompute.h"

namespace systole::models {
namespace {

constexpr ResidualBlockNames kNames{"bn1", "bn2", "downsample"};
constexpr int kPoolWindow = 3, kPoolStride = 2, kPoolPadding = 1;

ConvShape stem_shape(const EncoderOptions& o) {
  return {o.leads, o.width, 15};
}

struct Block {
  std::string name;
  ResidualBlockShape shape;
};
std::vector<Block> blocks_of(int width) {
  std::vector<Block> blocks;
  int in = width;
  for (int stage = 0; stage < 4; ++stage)
    for (int i = 0; i < 2; ++i) {
      const int out = width << stage;
      blocks.push_back({fmt::format("layer{}.{}.", stage + 1, i), {in, out, out, 7, stage > 0 && i == 0 ? 2 : 1}});
      in = out;
    }
  return blocks;
}

}  // namespace

ResNet1D::ResNet1D(ParameterStore& store, const std::string& prefix, const EncoderOptions& options)
    : Encoder(options), stem_(ConvNormLayer::declare(store, prefix + "conv1.", prefix + "bn1.", stem_shape(options))) {
  for (const Block& block : blocks_of(options.width))
    blocks_.push_back(ResidualBlock::declare(store, prefix + block.name, kNames, block.shape, {}));
}

std::vector<EncoderLayer> ResNet1D::layers(const EncoderOptions& options, int length) {
  std::vector<EncoderLayer> rows{layer_of("conv1", stem_shape(options), length)};
  int L = (length + 2 * kPoolPadding - kPoolWindow) / kPoolStride + 1;
  for (const Block& block : blocks_of(options.width)) L = append_layers(rows, block.name, kNames, block.shape, L);
  return rows;
}

Tensor ResNet1D::slot_latents(const Tensor& x, Mode mode) {
  Tensor h = segment(series_of(x, mode), [this, mode](const Tensor& in) {
    return max_pool(value_of(stem_.forward({.raw = in}, true, mode)), kPoolWindow, kPoolStride, kPoolPadding);
  });
  for (const ResidualBlock& block : blocks_)
    h = segment(h, [&block, mode](const Tensor& in) { return block.forward(in, mode); });
  return mean_over_time(h);
}

}  // namespace systole::models
