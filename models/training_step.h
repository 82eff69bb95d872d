// One step of training, and the steps of an epoch. A step reads its records, its number and its learning rate in
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
#include "kernels/conv1d/packed_weights.h"
#include "models/objective.h"

namespace systole::models {

class TrainingStep {
 public:
  /// What the objective reads of records whose numbers are given, i32 [N] in the device's memory, the same whenever it
  /// is asked in a step: of pre-training [view_count · N, L, leads], view after view.
  using Views = std::function<Tensor(const Tensor& records, StepNumber step)>;

  struct Options {
    int64_t batch_size;       // the largest number of records
    int64_t steps_per_epoch;  // the largest number of steps that are prepared at once
    int parts = 1;            // in which a batch is encoded (models/batch_parts.h)
    bool recompute = false;   // engine/recompute.h
    uint64_t seed = 42;
    bool captured = true;  // false: every step runs by itself
  };

  /// The networks have been allocated, and started where they are those of pre-training. All must outlive the steps.
  TrainingStep(ParameterStore& store, Objective& objective, Optimizer& optimizer, Views views, const Options& options);

  struct Input {
    std::vector<int32_t> records{}, ids{};  // of the batch's records: their numbers, and who belongs together
    int64_t number;                         // of the step, as views and dropout count: 0 for the first
    double learning_rate;
    double progress;  // of the run, once the step is done: up to 1
  };
  /// What the next steps are told, in order, the optimiser's next step first.
  void prepare(std::span<const Input> steps);
  /// The next step that was prepared.
  void run();

  struct Result {
    double loss, gradient_norm;
    int64_t left_out;  // rows without a positive
  };
  /// The results of the steps [first, first + count) since prepare(), which have been run; a wait for the device.
  std::vector<Result> results(int64_t first, int64_t count);
  /// What the last step compared, [slots · N, D], slot after slot; empty where nothing is compared, and of "moco".
  Tensor embeddings() const { return embeddings_.empty() ? Tensor() : embeddings_.at(sizes_.at(next_ - 1)); }

  /// Bytes that the tensors of a step of so many records take, counted in a dry run. What kernels need while they run,
  /// and on Hopper the packed weights, 4 bytes for each of a convolution, are not among them: some megabytes.
  size_t bytes(int64_t records) { return measure(records).bytes; }
  /// Makes room for a step of so many bytes in one piece.
  void reserve(size_t bytes) { arena_.reserve(bytes); }
  Device device() const { return arena_.device(); }

 private:
  enum Column : size_t { kRecords, kIds, kStep, kFactors, kNumbers };
  enum Output : size_t { kLoss, kSquares, kLeftOut };

  void step(int64_t records);
  PairLossResult add_gradient(int64_t records);
  /// What a dry run of a step says.
  struct Extent {
    size_t bytes;
    Shape embeddings;  // of rank 0: there are none
  };
  Extent measure(int64_t records);
  bool can_be_captured() const { return options_.captured && objective_.can_be_captured(); }

  ParameterStore& store_;
  Objective& objective_;
  Optimizer& optimizer_;
  Views views_;
  Options options_;
  Arena arena_;
  Tensor records_, ids_, step_;  // i32 [batch], [batch], [1]: of the step
  Tensor loss_, left_out_;       // [1], i32 [2]
  StepData data_;
  kernels::PackedWeights packed_weights_;
  std::vector<int64_t> sizes_;  // records of the steps that were prepared
  size_t next_ = 0;
  // By the number of records:
  std::map<int64_t, Tensor> embeddings_;
  std::map<int64_t, std::optional<Graph>> graphs_;  // without a graph after one step
};

}  // namespace systole::models
