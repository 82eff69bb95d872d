// Pre-training as a run: a method's networks, its loss and its optimiser over the batches of some epochs.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/embedding_quality.h"
#include "models/training_step.h"
#include "tools/collapse_warning.h"
#include "tools/ecg_data.h"
#include "tools/epoch_steps.h"
#include "tools/pretraining_methods.h"
#include "tools/recipe_options.h"
#include "tools/resumable_run.h"
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
  /// Throws Error for fewer than two records.
  Pretraining(const PretrainingOptions& options, const ViewOptions& views, const data::Dataset& dataset,
              std::span<const size_t> records, const data::Normalization& normalization, Device device);

  models::TrainingStep& step() { return *step_; }
  /// All steps, or those that are left of a run that goes on.
  void run(ResumableRun& run);
  const ParameterStore& store() const { return store_; }
  const models::Encoder& encoder() const { return objective_->encoder(); }

 private:
  using Input = EpochSteps::Input;
  using Result = EpochSteps::Result;
  /// How far the run is.
  struct Position {
    int64_t epoch = 0, step = 0, records = 0;          // done
    int64_t step_of_epoch = 0, pairs = 0, losses = 0;  // of this epoch: steps, pairs of one patient, steps that count
    double loss_sum = 0, collapsed_loss_sum = 0;       // of this epoch
    void count(size_t batch, int64_t same_patient, std::optional<double> loss);
    void start_epoch();
  };

  std::vector<size_t> order_of_epoch(uint32_t epoch) const;
  /// Of the records, or of their patients.
  std::vector<int32_t> ids_of(std::span<const size_t> records) const;
  int64_t same_patient_pairs(std::span<const size_t> records) const;
  void show(RunState& state, Position& at);
  /// Of a step on so many records.
  void log_step(ResumableRun& run, const Position& at, double rate, const Result& result, size_t records);
  void log_epoch(ResumableRun& run, const Position& at);

  PretrainingOptions options_;
  const ViewOptions& views_;
  Batches batches_;
  std::vector<size_t> records_;
  std::vector<int32_t> patients_;  // of all records of the data set
  int64_t steps_per_epoch_;
  ParameterStore store_;
  std::unique_ptr<models::PretrainingObjective> objective_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<models::TrainingStep> step_;
  CollapseWarning collapse_;
};

}  // namespace systole::tools
