#include "tools/training.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>

#include "tools/command.h"

namespace systole::tools {

void add_training_options(CLI::App& command, TrainingOptions& o) {
  command.add_option("--epochs", o.epochs, "Passes over the training records")->capture_default_str();
  command.add_option("--batch-size", o.batch_size, "ECGs per step")->capture_default_str();
  command.add_option("--lr", o.learning_rate, "Learning rate")->capture_default_str();
  command.add_option("--optimizer", o.optimizer, "adam, adamw, sgd (momentum 0.9) or lars")->capture_default_str();
  command.add_option("--adam-eps", o.adam_eps, "adam, adamw: what is added to the root of the second moment")
      ->capture_default_str();
  command.add_option("--weight-decay", o.weight_decay, "Weight decay")->capture_default_str();
  command.add_option("--clip-norm", o.clip_norm, "Largest L2 norm of the gradient; 0 for no clipping")
      ->capture_default_str();
  command.add_option("--schedule", o.schedule, "Learning rate over the run: constant or cosine (to 0)")
      ->check(CLI::IsMember({"constant", "cosine"}))
      ->capture_default_str();
  command.add_option("--warmup-epochs", o.warmup_epochs, "Epochs of linear warm-up before that")->capture_default_str();
  command.add_option("--signal-length", o.signal_length, "Samples per view; 0 for whole records")
      ->capture_default_str();
  command.add_option("--log-every", o.log_every, "Steps between two lines of the metrics file")->capture_default_str();
}

void check(const TrainingOptions& o) {
  require_option(o.epochs >= 1, "--epochs", "at least 1", std::to_string(o.epochs));
  require_option(o.batch_size >= 2, "--batch-size", "at least 2", std::to_string(o.batch_size));
  require_option(o.learning_rate > 0 && std::isfinite(o.learning_rate), "--lr", "positive",
                 fmt::to_string(o.learning_rate));
  require_option(o.adam_eps > 0 && o.adam_eps < 1, "--adam-eps", "above 0 and below 1", fmt::to_string(o.adam_eps));
  require_option(o.weight_decay >= 0, "--weight-decay", "0 or more", fmt::to_string(o.weight_decay));
  require_option(o.clip_norm >= 0, "--clip-norm", "0 or more", fmt::to_string(o.clip_norm));
  require_option(o.warmup_epochs >= 0 && o.warmup_epochs <= o.epochs, "--warmup-epochs",
                 fmt::format("between 0 and --epochs ({})", o.epochs), fmt::to_string(o.warmup_epochs));
  require_option(o.signal_length >= 0, "--signal-length", "0 or more", std::to_string(o.signal_length));
  require_option(o.log_every >= 1, "--log-every", "at least 1", std::to_string(o.log_every));
  parse_optimizer(o.optimizer);
}

nlohmann::json to_json(const TrainingOptions& o) {
  return {{"epochs", o.epochs},
          {"batch_size", o.batch_size},
          {"lr", o.learning_rate},
          {"optimizer", o.optimizer},
          {"adam_eps", o.adam_eps},
          {"weight_decay", o.weight_decay},
          {"clip_norm", o.clip_norm},
          {"schedule", o.schedule},
          {"warmup_epochs", o.warmup_epochs},
          {"signal_length", o.signal_length}};
}

OptimizerOptions optimizer_options(const TrainingOptions& o) {
  return {.kind = parse_optimizer(o.optimizer),
          .weight_decay = static_cast<float>(o.weight_decay),
          .eps = static_cast<float>(o.adam_eps),
          .clip_norm = static_cast<float>(o.clip_norm)};
}

Schedule make_schedule(const TrainingOptions& o, int64_t steps_per_epoch) {
  return {.kind = o.schedule == "cosine" ? Schedule::Kind::cosine : Schedule::Kind::constant,
          .base = o.learning_rate,
          .warmup_steps = std::llround(o.warmup_epochs * static_cast<double>(steps_per_epoch)),
          .total_steps = o.epochs * steps_per_epoch};
}

void require_finite(const char* what, double value, int64_t step) {
  if (!std::isfinite(value)) throw NonFinite(fmt::format("the {} of step {} is {}", what, step, value));
}

}  // namespace systole::tools
