// Masked reconstruction, as in SSRL-ECG: 30 % of a record's samples are cleared, in blocks of 50, and a decoder on
// ECGEncoder1DCNN's last feature map must write the record. The loss is the mean squared error over all samples.
//
//   decoder   ConvTranspose 4w → 2w, 2w → w, w → w/2, each K 4, stride 2, padding 1, with ReLU;  Conv w/2 → leads, K 3
//
// At width w = 64: 256 → 128 → 64 → 32 → 12 channels. Keys decoder.{0,2,4,6}.{weight,bias}.
#pragma once

#include <vector>

#include "models/ecg_encoder_1d_cnn.h"
#include "models/objective.h"

namespace systole::models {

class MaskedReconstruction : public PretrainingObjective {
 public:
  static constexpr int kBlock = 50;      // samples
  static constexpr float kShare = 0.3f;  // of the blocks
  static constexpr int kStride = 8;      // of the encoder: what the decoder makes up for

  /// Throws UsageError for another encoder than ECGEncoder1DCNN.
  MaskedReconstruction(ParameterStore& store, const EncoderOptions& options);

  int view_count() const override { return 1; }
  PairLossResult loss(const Tensor& views, const Tensor& ids, uint64_t seed, StepNumber step) override;
  const Encoder& encoder() const override { return encoder_; }

  /// x [N, L, leads], L a multiple of kStride → the same shape.
  Tensor reconstruct(const Tensor& x, Mode mode);

 private:
  struct Layer {
    Parameter &weight, &bias;
  };

  ECGEncoder1DCNN encoder_;
  std::vector<Layer> upsampling_;
  Layer output_;
};

}  // namespace systole::models
