// Pre-training as a run: a method's networks, its loss and its optimiser over the batches of some epochs.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "models/batch_parts.h"
#include "models/objective.h"
#include "tools/ecg_data.h"
#include "tools/pretraining_methods.h"
#include "tools/recipe_options.h"
#include "tools/run_log.h"
#include "tools/training.h"

namespace systole::tools {

struct PretrainingOptions {
  TrainingOptions training;
  ObjectiveOptions objective;
  bool shuffle = true;
  bool patient_positives = false;  // ids of rows are those of patients, not of records
  int patient_pairs = 0;           // patients with two records in every batch; 0: as chance has it
  int parts = 1;                   // in which a batch is encoded (models/batch_parts.h)
  bool recompute = false;          // engine/recompute.h
  uint64_t seed = 42;
};

/// The steps of one run. One batch is the unit of work; everything random follows from the seed, the step and the
/// record.
class Pretraining {
 public:
  Pretraining(const PretrainingOptions& options, const ViewOptions& views, const data::Dataset& dataset,
              const data::Normalization& normalization, Device device);

  /// Bytes that the tensors of a step of so many records take, counted in a dry run. What kernels need while they run
  /// is not among them: some megabytes.
  size_t step_bytes(size_t records);
  /// Makes room for a step of so many bytes in one piece.
  void reserve(size_t bytes) { arena_.reserve(bytes); }
  void run(std::span<const size_t> records, RunLog& log);
  const ParameterStore& store() const { return store_; }
  const models::Encoder& encoder() const { return objective_->encoder(); }

 private:
  struct Result {
    double loss, gradient_norm;
    int64_t left_out;  // rows without a positive, counted in steps that are logged
  };

  std::vector<size_t> order_of_epoch(std::span<const size_t> records, uint32_t epoch) const;
  /// Of the records, or of their patients.
  std::vector<int32_t> ids_of(std::span<const size_t> records) const;
  int64_t same_patient_pairs(std::span<const size_t> records) const;
  bool is_logged(int64_t step) const { return step % options_.training.log_every == 0 || step == 1; }
  Result step(std::span<const size_t> records, double learning_rate, int64_t steps_in_all);
  /// Forward and backward pass of a batch: its loss, and its gradient in the store.
  models::BatchLoss add_gradient(std::span<const size_t> records, uint32_t step);

  PretrainingOptions options_;
  const ViewOptions& views_;
  Batches batches_;
  std::vector<int32_t> patients_;  // of all records of the data set
  Arena arena_;
  ParameterStore store_;
  std::unique_ptr<models::Objective> objective_;
  std::unique_ptr<Optimizer> optimizer_;
};

}  // namespace systole::tools
