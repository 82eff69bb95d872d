// One step of pre-training, and the steps of an epoch. A step reads its records, its number and its learning rate in
// the device's memory, and leaves its loss there (engine/step_data.h). So it is captured once for each size of batch
// and then replayed (engine/graph.h): on cuda a single launch, and the host need not wait for any step.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>

#include "engine/arena.h"
#include "engine/graph.h"
#include "engine/optimizer.h"
#include "engine/step_data.h"
#include "models/objective.h"

namespace systole::models {

class TrainingStep {
 public:
  /// The views of records whose numbers are given, i32 [N] in the device's memory: [view_count · N, L, leads], view
  /// after view, the same whenever it is asked in a step.
  using Views = std::function<Tensor(const Tensor& records, StepNumber step)>;

  struct Options {
    int64_t batch_size;       // the largest number of records
    int64_t steps_per_epoch;  // the largest number of steps that are prepared at once
    int parts = 1;            // in which a batch is encoded (models/batch_parts.h)
    bool recompute = false;   // engine/recompute.h
    uint64_t seed = 42;
    bool captured = true;  // false: every step runs by itself
  };

  /// The networks have been allocated, and objective.start() was called. All must outlive the steps.
  TrainingStep(ParameterStore& store, Objective& objective, Optimizer& optimizer, Views views, const Options& options);

  struct Input {
    std::vector<int32_t> records{}, ids{};  // of the batch's records: their numbers, and who belongs together
    double learning_rate;
    double progress;  // of the run, once the step is done: up to 1
  };
  /// What the next steps are told, in order.
  void prepare(std::span<const Input> steps);
  /// The next step that was prepared.
  void run();

  struct Result {
    double loss, gradient_norm;
    int64_t left_out;  // rows without a positive
  };
  /// The results of the steps [first, first + count) since prepare(), which have been run; a wait for the device.
  std::vector<Result> results(int64_t first, int64_t count);

  /// [slots · N, D]: what the latest step compared, until the next one runs. None where the objective's loss is no
  /// function of embeddings alone.
  const Tensor& embeddings() const { return embeddings_; }
  /// Steps that were prepared and have not been run.
  int64_t pending() const { return static_cast<int64_t>(sizes_.size() - next_); }

  /// Bytes that the tensors of a step of so many records take, counted in a dry run. What kernels need while they run
  /// is not among them: some megabytes.
  size_t bytes(int64_t records);
  /// Makes room for a step of so many bytes in one piece.
  void reserve(size_t bytes) { arena_.reserve(bytes); }
  Device device() const { return arena_.device(); }

 private:
  enum Column : size_t { kRecords, kIds, kStep, kFactors, kNumbers };
  enum Output : size_t { kLoss, kSquares, kLeftOut };

  struct DryStep {
    size_t bytes;
    Shape embeddings;  // rank 0: none
  };
  DryStep dry_step(int64_t records);
  void step(int64_t records);
  PairLossResult add_gradient(int64_t records);
  bool can_be_captured() const { return options_.captured && options_.parts == 1 && objective_.can_be_captured(); }

  ParameterStore& store_;
  Objective& objective_;
  Optimizer& optimizer_;
  Views views_;
  Options options_;
  Arena arena_;
  Tensor records_, ids_, step_;  // i32 [batch], [batch], [1]: of the step
  Tensor loss_, left_out_;       // [1], i32 [2]
  StepData data_;
  std::vector<int64_t> sizes_;  // records of the steps that were prepared
  size_t next_ = 0;
  struct Replay {
    std::optional<Graph> graph;  // after one step without
    Tensor embeddings;           // a copy outside of the arena
  };
  std::map<int64_t, Replay> replays_;  // by the number of records
  Tensor embeddings_;                  // of the latest step
};

}  // namespace systole::models
