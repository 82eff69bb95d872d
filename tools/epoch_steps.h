// The steps of an epoch, as pretrain and the training of classifiers make them: prepared together, on cuda many at a
// time before the host asks for results, and in a run that can be stopped and go on.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "models/training_step.h"
#include "tools/resumable_run.h"

namespace systole::tools {

struct EpochSteps {
  models::TrainingStep& step;
  const StateParts& parts;
  const data::Dataset& dataset;
  ResumableRun* run;              // null: the run cannot be stopped
  std::span<const size_t> order;  // of the epoch's records: places in the data set
  int64_t batch_size, steps;      // what is left of the order behind the last step is not used
  int log_every;                  // after so many steps of the run, and after its first one, results are looked at

  using Input = models::TrainingStep::Input;
  using Result = models::TrainingStep::Result;
  using Records = std::span<const size_t>;

  bool is_logged(int64_t step_of_run) const { return step_of_run % log_every == 0 || step_of_run == 1; }

  /// Makes the steps from `first` of the epoch on, before which `done` steps of the run were made. `input` says what a
  /// step is told, whose number counts from 0; `visit` is called after each one, in order, without a result where it
  /// was skipped, and takes the step into what `parts` show. Throws NonFinite (tools/training.h), or what the run makes
  /// of it.
  void make(int64_t first, int64_t done, const std::function<Input(Records records, int64_t number)>& input,
            const std::function<void(Records records, const std::optional<Result>& result)>& visit) const;

 private:
  Records batch(int64_t step_of_epoch) const;
};

}  // namespace systole::tools
