// TemporalNet, the encoder of Dade et al. (Heart Rhythm O2 2026, 10.1016/j.hroo.2026.01.016), as in their public code.
// It reads every lead on its own, with the same weights: a record of 8 leads is a batch of 8 series. w is the width.
//
//   firstLayer            Conv 1 → w, K 7, bias; BatchNorm; ReLU; maximum of every 4 positions
//   residualBlocks_time1  four residual blocks of K 3, channels  w → 2w → 4w → 8w → 8w
//   residualBlocks_time2  the same of K 7, beside it on the same input
//   integrationBlock      both joined, Conv 16w → 16w, K 3, bias; BatchNorm; dropout; ReLU; mean over time
//
// The latent of a series has 16·w numbers, that of a record is the mean over its leads. All nine dropouts are 0.5.
// 2,836,672 parameters at width 32.
#pragma once

#include "models/linear_layer.h"
#include "models/residual_block.h"

namespace systole::models {

class TemporalNet : public Encoder {
 public:
  static constexpr const char* kName = "TemporalNet";
  static constexpr uint32_t kDropouts = 9;

  /// Declares the parameters as `prefix`firstLayer.0.weight … in the store. Its dropouts are the network's layers
  /// first_dropout … first_dropout + kDropouts − 1.
  TemporalNet(ParameterStore& store, const std::string& prefix, const EncoderOptions& options,
              uint32_t first_dropout = 0);
  static std::vector<EncoderLayer> layers(const EncoderOptions& options, int length);

  Tensor slot_latents(const Tensor& x, Mode mode) override { return series_latents(series_of(x, mode), mode); }
  /// Series of one lead [M, L, 1] → [M, 16·width].
  Tensor series_latents(const Tensor& series, Mode mode) const;
  int latent_size() const override { return 16 * options_.width; }

 private:
  ConvNormLayer first_;
  std::vector<ResidualBlock> short_branch_, long_branch_;
  ConvNormLayer integration_;
  Dropout integration_dropout_;
};

/// The head that TemporalNet is pre-trained with: two Linear layers and nothing between them, D → D/2 → D/4 for latents
/// of D numbers. 164,224 parameters at width 32, D = 512.
struct TemporalNetProjector {
  LinearLayer hidden, output;

  /// Declares `prefix`finalLayer.{0,1}.{weight,bias}, as they stand in the authors' checkpoints.
  static TemporalNetProjector declare(ParameterStore& store, const std::string& prefix, int latent_size);
  /// Latents of slots [M, D] → [M, D/4].
  Tensor forward(const Tensor& latents) const { return output.forward(hidden.forward(latents)); }
};

}  // namespace systole::models
