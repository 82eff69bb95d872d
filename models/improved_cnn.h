// The improved CNN of SSRL-ECG, all leads together. w is the width.
//
//   initial          Conv leads → w, K 15; BatchNorm; ReLU
//   features.0 … 7   Conv, BatchNorm, ReLU, dropout 0.2, and where channels and length stay the same + the input
//                      w → w K 11 s 2 │ w → w K 7 │ w → 2w K 7 s 2 │ 2w → 2w K 5, twice │ 2w → 4w K 5 s 2 │
//                      4w → 4w K 3, twice
//   pooled           mean and maximum over time, joined: 8w numbers
//   hidden           dropout 0.3, Linear 8w → 4w, ReLU, BatchNorm
//
// The latent is what `hidden` gives, 4·w numbers. In the published classifier `hidden` is the first part of the head;
// here it ends the encoder, so that every classifier is an encoder and one Linear layer. (The published head goes on
// with dropout 0.3 and Linear 4w → 5.) Together 999,301 parameters at width 64 and 12 leads: 866,176 of convolutions
// without a bias, 131,840 of `hidden`, 1,285 of the last layer. A head of Linear 8w → 5 alone would make it 868,741.
#pragma once

#include "models/conv_layers.h"
#include "models/linear_layer.h"

namespace systole::models {

class ImprovedCNN : public Encoder {
 public:
  static constexpr const char* kName = "ImprovedCNN";

  /// Declares the parameters as `prefix`initial.0.weight, `prefix`features.0.conv.weight … `prefix`hidden.0.weight … in
  /// the store.
  ImprovedCNN(ParameterStore& store, const std::string& prefix, const EncoderOptions& options);
  static std::vector<EncoderLayer> layers(const EncoderOptions& options, int length);

  Tensor slot_latents(const Tensor& x, Mode mode) override;
  int latent_size() const override { return 4 * options_.width; }
  float head_dropout() const override { return 0.3f; }

 private:
  ConvNormLayer initial_;
  std::vector<ConvNormLayer> blocks_;
  LinearLayer hidden_;
  BatchNormLayer hidden_norm_;
};

}  // namespace systole::models
