#include "models/temporal_net.h"

#include <array>
#include <fmt/format.h>

#include "engine/recompute.h"

namespace systole::models {
namespace {

constexpr float kDropout = 0.5f;
constexpr int kPool = 4;
constexpr ResidualBlockNames kNames{"batchNorm1", "batchNorm2", "resampleInput"};

constexpr int kBlocks = 4;  // of a branch
struct Branch {
  const char* name;
  int kernel;
  std::array<ResidualBlockShape, kBlocks> shapes(int w) const {
    return {{{w, w, 2 * w, kernel},
             {2 * w, 2 * w, 4 * w, kernel},
             {4 * w, 4 * w, 8 * w, kernel},
             {8 * w, 8 * w, 8 * w, kernel}}};
  }
};
constexpr Branch kShort{"residualBlocks_time1", 3}, kLong{"residualBlocks_time2", 7};

ConvShape first_shape(int w) {
  return {.in = 1, .out = w, .kernel = 7, .bias = true};
}
ConvShape integration_shape(int w) {
  return {.in = 16 * w, .out = 16 * w, .kernel = 3, .bias = true};
}

std::vector<ResidualBlock> declare_branch(ParameterStore& store, const std::string& prefix, const Branch& branch, int w,
                                          uint32_t first_dropout) {
  std::vector<ResidualBlock> blocks;
  for (const ResidualBlockShape& shape : branch.shapes(w)) {
    const auto i = static_cast<uint32_t>(blocks.size());
    blocks.push_back(ResidualBlock::declare(store, fmt::format("{}{}.{}.", prefix, branch.name, i), kNames, shape,
                                            {kDropout, first_dropout + i}));
  }
  return blocks;
}

Tensor through(const std::vector<ResidualBlock>& branch, Tensor x, Mode mode) {
  for (const ResidualBlock& block : branch)
    x = segment(x, [&block, mode](const Tensor& in) { return block.forward(in, mode); });
  return x;
}

}  // namespace

TemporalNet::TemporalNet(ParameterStore& store, const std::string& prefix, const EncoderOptions& options,
                         uint32_t first_dropout)
    : Encoder(options),
      first_(ConvNormLayer::declare(store, prefix + "firstLayer.0.", prefix + "firstLayer.1.",
                                    first_shape(options.width))),
      short_branch_(declare_branch(store, prefix, kShort, options.width, first_dropout)),
      long_branch_(declare_branch(store, prefix, kLong, options.width, first_dropout + kBlocks)),
      integration_(ConvNormLayer::declare(store, prefix + "integrationBlock.0.", prefix + "integrationBlock.1.",
                                          integration_shape(options.width))),
      integration_dropout_{kDropout, first_dropout + 2 * kBlocks} {
  if (options.leads != 1)
    throw Error(fmt::format("{} reads each lead on its own: its leads must be 1, not {}", kName, options.leads));
}

std::vector<EncoderLayer> TemporalNet::layers(const EncoderOptions& o, int length) {
  std::vector<EncoderLayer> rows{layer_of("firstLayer.0", first_shape(o.width), length)};
  const int L = length / kPool;
  for (const Branch& branch : {kShort, kLong}) {
    int block = 0;
    for (const ResidualBlockShape& shape : branch.shapes(o.width))
      append_layers(rows, fmt::format("{}.{}.", branch.name, block++), kNames, shape, L);
  }
  rows.push_back(layer_of("integrationBlock.0", integration_shape(o.width), L));
  return rows;
}

Tensor TemporalNet::series_latents(const Tensor& series, Mode mode) const {
  const Tensor x = segment(series, [this, mode](const Tensor& in) {
    return max_pool(value_of(first_.forward({.raw = in}, true, mode)), kPool, kPool);
  });
  const Tensor both = concatenate(through(short_branch_, x, mode), through(long_branch_, x, mode));
  const Activation integrated = integration_.forward({.raw = both}, true, mode);
  // The dropout stands before the ReLU, but both only keep or clear a value: their order does not matter.
  return mode.drops ? mean_over_time(dropout(value_of(integrated), integration_dropout_, mode))
                    : mean_over_time(integrated);
}

TemporalNetProjector TemporalNetProjector::declare(ParameterStore& store, const std::string& prefix, int latent_size) {
  return {LinearLayer::declare(store, prefix + "finalLayer.0.", latent_size, latent_size / 2),
          LinearLayer::declare(store, prefix + "finalLayer.1.", latent_size / 2, latent_size / 4)};
}

}  // namespace systole::models
