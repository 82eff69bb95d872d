#include "models/ecg_encoder_1d_cnn.h"

#include <array>
#include <fmt/format.h>

#include "engine/recompute.h"

namespace systole::models {
namespace {

std::array<ConvShape, 6> blocks_of(const EncoderOptions& o) {
  const int w = o.width;
  return {{{o.leads, w, 11, 2},
           {w, w, 7, 1},
           {w, 2 * w, 7, 2},
           {2 * w, 2 * w, 5, 1},
           {2 * w, 4 * w, 5, 2},
           {4 * w, 4 * w, 3, 1}}};
}

}  // namespace

ECGEncoder1DCNN::ECGEncoder1DCNN(ParameterStore& store, const std::string& prefix, const EncoderOptions& options)
    : Encoder(options) {
  for (const ConvShape& shape : blocks_of(options)) {
    const std::string block = fmt::format("{}features.{}.block.", prefix, blocks_.size());
    blocks_.push_back(ConvNormLayer::declare(store, block + "0.", block + "1.", shape));
  }
}

std::vector<EncoderLayer> ECGEncoder1DCNN::layers(const EncoderOptions& options, int length) {
  std::vector<EncoderLayer> rows;
  for (const ConvShape& shape : blocks_of(options)) {
    rows.push_back(layer_of(fmt::format("features.{}.block.0", rows.size()), shape, length));
    length = rows.back().length;
  }
  return rows;
}

Activation ECGEncoder1DCNN::features(const Tensor& x, Mode mode) const {
  Activation activation{.raw = x};
  for (size_t i = 0; i < blocks_.size(); i += 2)
    activation = segment(activation, [this, i, mode](const Activation& in) {
      return blocks_[i + 1].forward(blocks_[i].forward(in, true, mode), true, mode);
    });
  return activation;
}

}  // namespace systole::models
