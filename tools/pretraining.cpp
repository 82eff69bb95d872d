#include "tools/pretraining.h"

#include <cmath>
#include <fmt/format.h>

#include "data/label_fraction.h"
#include "data/patient_batches.h"
#include "tools/command.h"
#include "tools/progress.h"

namespace systole::tools {
namespace {

/// A last batch of one record has no negatives, and no statistics: it is left out.
int64_t count_steps(size_t records, size_t batch) {
  const auto steps = static_cast<int64_t>(records / batch + (records % batch >= 2 ? 1 : 0));
  if (steps == 0) throw Error("pre-training needs at least two records");
  return steps;
}

}  // namespace

Pretraining::Pretraining(const PretrainingOptions& options, const ViewOptions& views, const data::Dataset& dataset,
                         std::span<const size_t> records, const data::Normalization& normalization, Device device)
    : options_(options),
      views_(views),
      batches_(dataset, normalization, views.length, device),
      records_(records.begin(), records.end()),
      patients_(data::patient_numbers(dataset)),
      steps_per_epoch_(count_steps(records.size(), static_cast<size_t>(options.training.batch_size))),
      objective_(make_objective(store_, options.objective)) {
  store_.allocate(device, options.seed);
  objective_->start();
  optimizer_ = std::make_unique<Optimizer>(store_, optimizer_options(options.training));
  step_ = std::make_unique<models::TrainingStep>(
      store_, *objective_, *optimizer_,
      [this](const Tensor& rows, StepNumber step) {
        return batches_.views(rows, {.count = objective_->view_count(),
                                     .recipe = views_.recipe.recipe,
                                     .segment = views_.segment,
                                     .seed = options_.seed,
                                     .step = step});
      },
      models::TrainingStep::Options{.batch_size = options.training.batch_size,
                                    .steps_per_epoch = steps_per_epoch_,
                                    .parts = options.parts,
                                    .recompute = options.recompute,
                                    .seed = options.seed});
}

std::vector<size_t> Pretraining::order_of_epoch(uint32_t epoch) const {
  if (options_.patient_pairs > 0)
    return data::patient_batches(batches_.dataset(), records_, options_.training.batch_size, options_.patient_pairs,
                                 options_.seed, epoch);
  return data::epoch_order(batches_.dataset(), records_,
                           options_.shuffle ? data::BalanceStrategy::standard : data::BalanceStrategy::none,
                           options_.seed, epoch);
}

void Pretraining::run(ResumableRun& run) {
  const Schedule schedule = make_schedule(options_.training, steps_per_epoch_);
  const auto batch = static_cast<size_t>(options_.training.batch_size);
  Position at;
  const StateParts parts = [&](RunState& state) { show(state, at); };
  run.begin(parts);
  const auto per_epoch = static_cast<int64_t>(records_.size() - (records_.size() % batch == 1 ? 1 : 0));
  Progress progress("pretrain", per_epoch * options_.training.epochs, "ECG", at.records);
  for (; at.epoch < options_.training.epochs; at.start_epoch()) {
    const std::vector<size_t> order = order_of_epoch(static_cast<uint32_t>(at.epoch));
    const EpochSteps steps{.step = *step_,
                           .parts = parts,
                           .dataset = batches_.dataset(),
                           .run = &run,
                           .order = order,
                           .batch_size = options_.training.batch_size,
                           .steps = steps_per_epoch_,
                           .log_every = options_.training.log_every};
    const auto input = [&](std::span<const size_t> rows, int64_t number) {
      return Input{.records = {rows.begin(), rows.end()},
                   .ids = ids_of(rows),
                   .number = number,
                   .learning_rate = schedule.at(number),
                   .progress = static_cast<double>(number + 1) / static_cast<double>(schedule.total_steps)};
    };
    steps.make(
        at.step_of_epoch, at.step, input, [&](std::span<const size_t> rows, const std::optional<Result>& result) {
          at.count(rows.size(), same_patient_pairs(rows), result ? std::optional(result->loss) : std::nullopt);
          progress.update(at.records, fmt::format("epoch {} loss {:.4f}", at.epoch + 1, result ? result->loss : NAN));
          if (result && steps.is_logged(at.step)) log_step(run, at, schedule.at(at.step - 1), *result, rows.size());
        });
    log_epoch(run, at);
  }
  progress.finish();
  fmt::print(stderr, "{} ECGs in {}: {:.0f} ECG/s\n", at.records, clock_text(run.seconds()),
             static_cast<double>(at.records) / run.seconds());
}

void Pretraining::Position::count(size_t batch, int64_t same_patient, std::optional<double> loss) {
  ++step, ++step_of_epoch;
  records += static_cast<int64_t>(batch);
  pairs += same_patient;
  if (!loss) return;
  ++losses;
  loss_sum += *loss;
  collapsed_loss_sum += collapsed_nt_xent(static_cast<int64_t>(batch));
}

void Pretraining::Position::start_epoch() {
  ++epoch;
  step_of_epoch = pairs = losses = 0;
  loss_sum = collapsed_loss_sum = 0;
}

void Pretraining::show(RunState& state, Position& at) {
  state.store("model", store_);
  optimizer_->state(state);
  objective_->state(state);
  state.number("epoch", at.epoch);
  state.number("step_of_epoch", at.step_of_epoch);
  state.number("step", at.step);
  state.number("records", at.records);
  state.number("pairs", at.pairs);
  state.number("losses", at.losses);
  state.number("loss_sum", at.loss_sum);
  state.number("collapsed_loss_sum", at.collapsed_loss_sum);
}

void Pretraining::log_step(ResumableRun& run, const Position& at, double rate, const Result& result, size_t records) {
  nlohmann::ordered_json line{{"step", at.step},
                              {"epoch", at.epoch + 1},
                              {"loss", result.loss},
                              {"lr", rate},
                              {"gradient_norm", result.gradient_norm},
                              {"ecg_per_second", static_cast<double>(at.records) / run.seconds()}};
  if (const auto temperature = objective_->learned_temperature()) line["temperature"] = *temperature;
  if (result.left_out > 0) line["rows_without_positive"] = result.left_out;
  if (const Tensor embeddings = step_->embeddings()) {
    const models::EmbeddingQuality quality = models::embedding_quality(embeddings, static_cast<int64_t>(records));
    line["alignment"] = quality.alignment;
    line["uniformity"] = quality.uniformity;
    line["embedding_variance"] = quality.variance;
    collapse_.look_at_variance(quality.variance, at.epoch);
  }
  run.log().write(line);
}

void Pretraining::log_epoch(ResumableRun& run, const Position& at) {
  const auto steps = static_cast<double>(at.step_of_epoch), losses = static_cast<double>(at.losses);
  nlohmann::ordered_json line{{"epoch", at.epoch + 1},
                              {"mean_loss", at.loss_sum / losses},
                              {"same_patient_pairs_per_batch", static_cast<double>(at.pairs) / steps},
                              {"seconds", run.seconds()}};
  if (run.skipped_steps() > 0) line["skipped_steps"] = run.skipped_steps();
  run.log().write(line);
  const ObjectiveOptions& o = options_.objective;
  if (o.method == "simclr" && o.contrastive.loss.name == "nt-xent")
    collapse_.look_at_loss(at.loss_sum / losses, at.collapsed_loss_sum / losses, at.epoch);
}

int64_t Pretraining::same_patient_pairs(std::span<const size_t> records) const {
  std::vector<int32_t> patients;
  for (const size_t record : records) patients.push_back(patients_[record]);
  return data::same_patient_pairs(patients);
}

std::vector<int32_t> Pretraining::ids_of(std::span<const size_t> records) const {
  std::vector<int32_t> ids;
  for (size_t n = 0; n < records.size(); ++n)
    ids.push_back(options_.patient_positives ? patients_[records[n]] : static_cast<int32_t>(n));
  return ids;
}

}  // namespace systole::tools
