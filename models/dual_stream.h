// The dual stream of Dade et al. (models/temporal_net.h): two TemporalNets, each for a group of leads. The latent of a
// stream is the mean over the leads of its group, that of a record the mean of its two streams. The published groups
// are {I, II, V5, V6} and {V1, V2, V3, V4}; any other two can be chosen. Keys: model_g1.… and model_g2.… with
// TemporalNet's names. 5,673,344 parameters at width 32, and 5,673,857 with the published head of one output.
#pragma once

#include "models/temporal_net.h"

namespace systole::models {

class DualStream : public Encoder {
 public:
  static constexpr const char* kName = "DualStream";

  /// Without lead groups: the published ones, for records of 8 leads (I, II, V1 … V6) or of all 12.
  DualStream(ParameterStore& store, const std::string& prefix, const EncoderOptions& options);
  static std::vector<EncoderLayer> layers(const EncoderOptions& options, int length);

  Tensor slot_latents(const Tensor& x, Mode mode) override;
  int slot_count(int) const override { return 2; }
  int latent_size() const override { return first_.latent_size(); }

 private:
  Tensor stream_latents(const TemporalNet& stream, const std::vector<int>& leads, const Tensor& x, Mode mode) const;

  TemporalNet first_, second_;
};

}  // namespace systole::models
