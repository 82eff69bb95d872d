// The pre-training of Dade et al. (Heart Rhythm O2 2026, 10.1016/j.hroo.2026.01.016): interlead and intersegment
// contrast together. Slots are the leads of both views of a record, two views × 8 leads = 16 with 120 pairs; with the
// dual stream its two streams, 2 × 2 = 4 with 6 pairs. Every two slots are compared as CLOCS does
// (engine/contrastive.h), records of one patient are positives. The projector is two Linear layers with nothing between
// them, for the dual stream one for each stream; it stays outside of the encoder's checkpoint:
// projector.finalLayer.{0,1}, or projector.model_g{1,2}.finalLayer.{0,1}.
#pragma once

#include <vector>

#include "models/objective.h"
#include "models/temporal_net.h"

namespace systole::models {

struct DadeOptions {
  EncoderOptions encoder{};  // one that reads leads alone, or the dual stream
  float temperature = 0.1f;
};

class Dade : public ComparingObjective {
 public:
  Dade(ParameterStore& store, const DadeOptions& options);

  Tensor embeddings(const Tensor& views, uint64_t seed, StepNumber step) override {
    return project(views, Mode::train(2).with_dropout(seed, step));
  }
  PairLossResult compare(const Tensor& embeddings, const Tensor& ids) override;
  const Encoder& encoder() const override { return *encoder_; }

  /// views [2N, L, leads] → [2 · slots · N, D], slot after slot within a view.
  Tensor project(const Tensor& views, Mode mode);

 private:
  DadeOptions options_;
  std::unique_ptr<Encoder> encoder_;
  std::vector<TemporalNetProjector> projectors_;  // of all slots, or of each
};

}  // namespace systole::models
