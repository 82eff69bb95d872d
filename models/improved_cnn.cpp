#include "models/improved_cnn.h"

#include <array>
#include <fmt/format.h>

#include "engine/recompute.h"

namespace systole::models {
namespace {

constexpr float kDropout = 0.2f, kHiddenDropout = 0.3f;
constexpr uint32_t kHiddenLayer = 8;  // the number of its dropout, after those of the eight blocks

ConvShape initial_shape(const EncoderOptions& o) {
  return {o.leads, o.width, 15};
}

std::array<ConvShape, 8> blocks_of(int w) {
  return {{{w, w, 11, 2},
           {w, w, 7},
           {w, 2 * w, 7, 2},
           {2 * w, 2 * w, 5},
           {2 * w, 2 * w, 5},
           {2 * w, 4 * w, 5, 2},
           {4 * w, 4 * w, 3},
           {4 * w, 4 * w, 3}}};
}

std::vector<ConvNormLayer> declare_blocks(ParameterStore& store, const std::string& prefix, int w) {
  std::vector<ConvNormLayer> blocks;
  for (const ConvShape& shape : blocks_of(w)) {
    const std::string block = fmt::format("{}features.{}.", prefix, blocks.size());
    blocks.push_back(ConvNormLayer::declare(store, block + "conv.", block + "bn.", shape));
  }
  return blocks;
}

}  // namespace

ImprovedCNN::ImprovedCNN(ParameterStore& store, const std::string& prefix, const EncoderOptions& options)
    : Encoder(options),
      initial_(ConvNormLayer::declare(store, prefix + "initial.0.", prefix + "initial.1.", initial_shape(options))),
      blocks_(declare_blocks(store, prefix, options.width)),
      hidden_(LinearLayer::declare(store, prefix + "hidden.0.", 8 * options.width, 4 * options.width)),
      hidden_norm_(BatchNormLayer::declare(store, prefix + "hidden.2.", 4 * options.width)) {}

std::vector<EncoderLayer> ImprovedCNN::layers(const EncoderOptions& o, int length) {
  std::vector<EncoderLayer> rows{layer_of("initial.0", initial_shape(o), length)};
  for (const ConvShape& shape : blocks_of(o.width))
    rows.push_back(layer_of(fmt::format("features.{}.conv", rows.size() - 1), shape, rows.back().length));
  rows.push_back(layer_of("hidden.0", {.in = 8 * o.width, .out = 4 * o.width, .kernel = 1, .bias = true}, 1));
  return rows;
}

Tensor ImprovedCNN::slot_latents(const Tensor& x, Mode mode) {
  Tensor h = value_of(initial_.forward({.raw = series_of(x, mode)}, true, mode));
  for (uint32_t i = 0; i < blocks_.size(); ++i)
    h = segment(h, [this, i, mode](const Tensor& in) {
      const Tensor y = dropout(value_of(blocks_[i].forward({.raw = in}, true, mode)), {kDropout, i}, mode);
      const bool same_size = blocks_[i].convolution.stride == 1 && y.shape() == in.shape();
      return same_size ? add(y, in) : y;
    });
  const Tensor pooled = concatenate(mean_over_time(h), max_over_time(h));
  const Tensor hidden = relu(hidden_.forward(dropout(pooled, {kHiddenDropout, kHiddenLayer}, mode)));
  return batch_norm(hidden, hidden_norm_.parts(), mode);
}

}  // namespace systole::models
