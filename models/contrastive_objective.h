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
  PairLossResult loss(const Tensor& views, std::span<const int32_t> ids, uint64_t seed, uint32_t step) override;
  /// Not for moco, whose loss is made of more than embeddings.
  Tensor embeddings(const Tensor& views, uint64_t seed, uint32_t step) override;
  PairLossResult compare(const Tensor& embeddings, std::span<const int32_t> ids) override;
  void follow(double progress) override;
  void forget() override { batch_ = {}; }
  void state(RunState& state) override;
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

/// The ids of the records once for each slot, on the device: i32 [slots · N].
Tensor ids_of_slots(std::span<const int32_t> ids, int slots, Device device);

}  // namespace systole::models
