// ECGEncoder1DCNN, the encoder of SSRL-ECG: six blocks of Conv1d (no bias, padding K/2), BatchNorm1d and ReLU. The
// latent is the mean over time of the last block, 4·width numbers. 538,624 parameters at width 64 and 12 leads.
//
//   block   channels            K   stride   L at 1000
//     0     leads  → width     11      2        500
//     1     width  → width      7      1        500
//     2     width  → 2·width    7      2        250
//     3     2·width → 2·width   5      1        250
//     4     2·width → 4·width   5      2        125
//     5     4·width → 4·width   3      1        125
#pragma once

#include "models/conv_layers.h"

namespace systole::models {

class ECGEncoder1DCNN : public Encoder {
 public:
  static constexpr const char* kName = "ECGEncoder1DCNN";

  /// Declares the parameters as `prefix`features.{0..5}.block.{0,1}.… in the store.
  ECGEncoder1DCNN(ParameterStore& store, const std::string& prefix, const EncoderOptions& options = {});
  static std::vector<EncoderLayer> layers(const EncoderOptions& options, int length);

  /// What the six blocks make of series: x [N, L, leads] → [N, ⌈L/8⌉, 4·width], BatchNorm and ReLU of the last pending.
  Activation features(const Tensor& x, Mode mode) const;
  Tensor slot_latents(const Tensor& x, Mode mode) override {
    return mean_over_time(features(series_of(x, mode), mode));
  }
  int latent_size() const override { return 4 * options_.width; }

 private:
  std::vector<ConvNormLayer> blocks_;
};

}  // namespace systole::models
