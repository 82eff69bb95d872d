// What pre-training and supervised training share: the optimiser's options and learning-rate schedule.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "engine/optimizer.h"
#include "engine/schedule.h"
#include "kernels/common/error.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct TrainingOptions {
  int epochs, batch_size;
  double learning_rate = 1e-3;
  std::string optimizer = "adam";
  double adam_eps = 1e-8, weight_decay = 0, clip_norm = 0;
  std::string schedule = "constant";
  double warmup_epochs = 0;
  int signal_length = 0;
  int log_every = 10;
};

/// Adds --epochs, --batch-size, --lr, --optimizer, --adam-eps, --weight-decay, --clip-norm, --schedule,
/// --warmup-epochs,
/// --signal-length and --log-every.
void add_training_options(CLI::App& command, TrainingOptions& options);
/// Throws UsageError for a value out of range.
void check(const TrainingOptions& options);

/// For the description of a model file.
nlohmann::json to_json(const TrainingOptions& options);

OptimizerOptions optimizer_options(const TrainingOptions& options);
Schedule make_schedule(const TrainingOptions& options, int64_t steps_per_epoch);

/// A loss or a gradient of a step is not finite.
class NonFinite : public Error {
 public:
  using Error::Error;
};

/// Throws NonFinite, naming the step, when the loss or the gradient's norm is not finite: training on would only
/// destroy the weights.
void require_finite(const char* what, double value, int64_t step);

}  // namespace systole::tools
