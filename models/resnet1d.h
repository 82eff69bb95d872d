// ResNet1D, the residual baseline of SSRL-ECG, all leads together. w is the width.
//
//   conv1, bn1      Conv leads → w, K 15; BatchNorm; ReLU; maximum of 3 positions, stride 2
//   layer1 … 4      two residual blocks each of K 7 (models/residual_block.h), channels w, 2w, 4w, 8w; layers 2, 3 and
//   4
//                   halve the length
//
// The latent is the mean over time, 8·w numbers; the published classifier drops 0.2 of it and ends with Linear 8w → 5.
// With that 8,739,973 parameters at width 64 and 12 leads: no convolution has a bias, and a shortcut is a convolution
// of K 1 and a BatchNorm. Strides do not show in the count; the first convolution has stride 1 in the public code.
#pragma once

#include "models/residual_block.h"

namespace systole::models {

class ResNet1D : public Encoder {
 public:
  static constexpr const char* kName = "ResNet1D";

  /// Declares the parameters as `prefix`conv1.weight, `prefix`layer1.0.conv1.weight … in the store.
  ResNet1D(ParameterStore& store, const std::string& prefix, const EncoderOptions& options);
  static std::vector<EncoderLayer> layers(const EncoderOptions& options, int length);

  Tensor slot_latents(const Tensor& x, Mode mode) override;
  int latent_size() const override { return 8 * options_.width; }
  float head_dropout() const override { return 0.2f; }

 private:
  ConvNormLayer stem_;
  std::vector<ResidualBlock> blocks_;
};

}  // namespace systole::models
