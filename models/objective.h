// What a step of training minimises: networks, and their loss for a batch. Classification is in classifier.h; of the
// methods of pre-training SimCLR and its relatives are in contrastive_objective.h, the others each in a file of their
// own. All of those declare the encoder first, under PretrainingObjective::kEncoderPrefix.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/checkpoint/run_state.h"
#include "engine/contrastive.h"
#include "models/encoder.h"

namespace systole::models {

class Objective {
 public:
  virtual ~Objective() = default;

  /// x: what the network reads of N records, ids i32 [N]: who they are, where that matters. A step of training; `step`
  /// selects the masks of dropout among those of the seed.
  virtual PairLossResult loss(const Tensor& x, const Tensor& ids, uint64_t seed, StepNumber step) = 0;
  /// After the optimiser's step. The batch is forgotten; under RepeatedPass that is all.
  virtual void follow() {}
  /// A step that ends without follow(): the batch is forgotten.
  virtual void forget() {}
  /// What follow() reads in the device's memory, for it changes from step to step; empty where nothing does.
  virtual Tensor numbers() const { return {}; }
  /// What stands there in the step after which a share `progress`, 0 to 1, of the run is done.
  virtual std::vector<float> numbers_at(double /*progress*/) const { return {}; }
  /// Whether loss() and follow() ask the host for nothing that changes: then a step can be captured (engine/graph.h).
  virtual bool can_be_captured() const { return true; }
  /// Shows what a run goes on with beside the store: networks that follow others, queues.
  virtual void state(RunState& /*state*/) {}
};

/// Of pre-training: loss() reads views [view_count() · N, L, leads], view after view; ids are those of the records or
/// of their patients.
class PretrainingObjective : public Objective {
 public:
  static constexpr const char* kEncoderPrefix = "encoder.";

  /// Views of each record.
  virtual int view_count() const { return 2; }
  /// Once the store has its initial values: networks that follow others start as their copies.
  virtual void start() {}
  virtual const Encoder& encoder() const = 0;
  /// Where the loss learns its temperature.
  virtual std::optional<float> learned_temperature() const { return {}; }
};

/// An objective that compares the records of a batch with each other. The loss of the others is a mean over records,
/// each looked at alone; models/batch_parts.h says what that is good for.
class ComparingObjective : public PretrainingObjective {
 public:
  PairLossResult loss(const Tensor& views, const Tensor& ids, uint64_t seed, StepNumber step) override {
    const Tensor x = embeddings(views, seed, step);
    PairLossResult result = compare(x, ids);
    result.embeddings = x;
    return result;
  }
  /// What is compared: [slots · N, D], slot after slot.
  virtual Tensor embeddings(const Tensor& views, uint64_t seed, StepNumber step) = 0;
  /// The loss of the embeddings of a batch.
  virtual PairLossResult compare(const Tensor& embeddings, const Tensor& ids) = 0;
};

}  // namespace systole::models
