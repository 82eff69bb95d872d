// SimCLR's networks with any contrastive loss by name; for the loss "moco" with the second encoder and the queue of
// MoCo. Where a loss compares leads, the encoder reads them one by one.
#pragma once

#include <optional>

#include "models/contrastive_losses.h"
#include "models/moco.h"
#include "models/objective.h"
#include "models/simclr.h"

namespace systole::models {

struct ContrastiveOptions {
  SimclrOptions network{};
  LossOptions loss{};
  MocoOptions moco{};
};

class ContrastiveObjective : public ComparingObjective {
 public:
  ContrastiveObjective(ParameterStore& store, const ContrastiveOptions& options);

  int view_count() const override { return loss_.definition().slots == Slots::leads ? 1 : 2; }
  void start() override;
  PairLossResult loss(const Tensor& views, const Tensor& ids, uint64_t seed, StepNumber step) override;
  /// Not for moco, whose loss is made of more than embeddings.
  Tensor embeddings(const Tensor& views, uint64_t seed, StepNumber step) override;
  PairLossResult compare(const Tensor& embeddings, const Tensor& ids) override;
  void follow() override;
  void forget() override { batch_ = {}; }
  void state(RunState& state) override;
  /// Not while MoCo's queue fills up, nor with a temperature or bias that is learned: the host reads it.
  bool can_be_captured() const override { return !loss_.learns() && (!moco_ || moco_->is_full()); }
  const Encoder& encoder() const override { return network_.encoder(); }
  std::optional<float> learned_temperature() const override;

 private:
  bool compares_slots() const { return loss_.definition().slots != Slots::views; }

  ParameterStore& store_;
  ContrastiveOptions options_;
  Simclr network_;
  ContrastiveLoss loss_;
  std::optional<Moco> moco_;
  ViewBatch batch_;  // moco: of this step, whose keys the queue takes
};

/// The ids i32 [N] of the records once for each slot: [slots · N].
Tensor ids_of_slots(const Tensor& ids, int slots);

}  // namespace systole::models
