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

#include <string>
#include <vector>

#include "engine/operations.h"
#include "engine/parameters.h"

namespace systole::models {

struct EncoderOptions {
  int leads = 12;
  int width = 64;
};

class ECGEncoder1DCNN {
 public:
  static constexpr const char* kName = "ECGEncoder1DCNN";

  /// Declares the parameters as `prefix`features.{0..5}.block.{0,1}.… in the store.
  ECGEncoder1DCNN(ParameterStore& store, const std::string& prefix, const EncoderOptions& options = {});

  /// x [N, L, leads] → features [N, L/8, 4·width], their BatchNorm and ReLU pending.
  Activation forward(const Tensor& x, Mode mode);
  /// The mean of the features over time: [N, 4·width]. An encoder of one lead reads each lead of a record on its own,
  /// with the same weights, and the latent is the mean over them.
  Tensor latent(const Tensor& x, Mode mode);
  /// For an encoder of one lead: x [views · N, L, leads] → [views · leads · N, 4·width], lead after lead within a view.
  Tensor lead_latents(const Tensor& x, Mode mode) { return mean_over_time(forward(split_leads(x, mode.groups), mode)); }

  int latent_size() const { return 4 * options_.width; }
  const EncoderOptions& options() const { return options_; }

 private:
  struct Block {
    Parameter& weight;
    Parameter& gamma;
    Parameter& beta;
    Buffer& running_mean;
    Buffer& running_var;
    Counter& batches_tracked;
    Conv1dOptions convolution;
  };
  EncoderOptions options_;
  std::vector<Block> blocks_;
};

/// One layer of the network, for tables of sizes and of arithmetic.
struct EncoderLayer {
  int in_channels, out_channels, kernel, stride;
};
std::vector<EncoderLayer> encoder_layers(const EncoderOptions& options);
/// Multiply-adds of one forward pass over one record of `length` samples.
double multiply_adds(const EncoderOptions& options, int length);

}  // namespace systole::models
