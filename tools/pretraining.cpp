#include "tools/pretraining.h"

#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "data/label_fraction.h"
#include "data/patient_batches.h"
#include "engine/recompute.h"
#include "kernels/common/dry_run.h"
#include "tools/command.h"
#include "tools/progress.h"

namespace systole::tools {
namespace {

int64_t sum_of(const Tensor& counts) {
  if (!counts) return 0;
  const std::vector<int32_t> values = counts.to_vector<int32_t>();
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

}  // namespace

Pretraining::Pretraining(const PretrainingOptions& options, const ViewOptions& views, const data::Dataset& dataset,
                         const data::Normalization& normalization, Device device)
    : options_(options),
      views_(views),
      batches_(dataset, normalization, views.length, device),
      patients_(data::patient_numbers(dataset)),
      arena_(device),
      objective_(make_objective(store_, options.objective)) {
  store_.allocate(device, options.seed);
  objective_->start();
  optimizer_ = std::make_unique<Optimizer>(store_, optimizer_options(options.training));
}

std::vector<size_t> Pretraining::order_of_epoch(std::span<const size_t> records, uint32_t epoch) const {
  const std::vector<size_t> all(records.begin(), records.end());
  if (options_.patient_pairs > 0)
    return data::patient_batches(batches_.dataset(), all, options_.training.batch_size, options_.patient_pairs,
                                 options_.seed, epoch);
  return data::epoch_order(batches_.dataset(), all,
                           options_.shuffle ? data::BalanceStrategy::standard : data::BalanceStrategy::none,
                           options_.seed, epoch);
}

void Pretraining::run(std::span<const size_t> records, ResumableRun& run) {
  const auto batch = static_cast<size_t>(options_.training.batch_size);
  const size_t tail = records.size() % batch;
  // A last batch of one record has no negatives, and no statistics: it is left out.
  const auto steps_per_epoch = static_cast<int64_t>(records.size() / batch + (tail >= 2 ? 1 : 0));
  if (steps_per_epoch == 0) throw Error("pre-training needs at least two records");
  const Schedule schedule = make_schedule(options_.training, steps_per_epoch);

  Position at;
  const StateParts parts = [&](RunState& state) { show(state, at); };
  run.begin(parts);
  const auto per_epoch = static_cast<int64_t>(records.size() - (tail == 1 ? 1 : 0));
  Progress progress("pretrain", per_epoch * options_.training.epochs, "ECG", at.records);
  for (; at.epoch < options_.training.epochs; at.start_epoch()) {
    const std::vector<size_t> order = order_of_epoch(records, static_cast<uint32_t>(at.epoch));
    while (at.step_of_epoch < steps_per_epoch) {
      const size_t begin = static_cast<size_t>(at.step_of_epoch) * batch;
      const std::span<const size_t> rows = std::span(order).subspan(begin, std::min(batch, order.size() - begin));
      const double rate = schedule.at(at.step);
      std::optional<Result> result;
      run.attempt(parts, batches_.dataset(), rows, [&] { result = step(at.step, rows, rate, schedule.total_steps); });
      at.count(rows.size(), same_patient_pairs(rows), result ? std::optional(result->loss) : std::nullopt);
      progress.update(at.records, fmt::format("epoch {} loss {:.4f}", at.epoch + 1, result ? result->loss : NAN));
      if (result && is_logged(at.step)) log_step(run, at, rate, *result);
      run.after_step(at.step, parts);
    }
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

void Pretraining::log_step(ResumableRun& run, const Position& at, double rate, const Result& result) {
  nlohmann::ordered_json line{{"step", at.step},
                              {"epoch", at.epoch + 1},
                              {"loss", result.loss},
                              {"lr", rate},
                              {"gradient_norm", result.gradient_norm},
                              {"ecg_per_second", static_cast<double>(at.records) / run.seconds()}};
  if (const auto temperature = objective_->learned_temperature()) line["temperature"] = *temperature;
  if (result.left_out > 0) line["rows_without_positive"] = result.left_out;
  if (const auto& quality = result.quality) {
    line["alignment"] = quality->alignment;
    line["uniformity"] = quality->uniformity;
    line["embedding_variance"] = quality->variance;
    collapse_.look_at_variance(quality->variance, at.epoch);
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

models::BatchLoss Pretraining::add_gradient(std::span<const size_t> records, uint32_t step) {
  const Recompute recompute(options_.recompute);
  const auto views = [&](size_t first, size_t count) {
    return batches_.views(records.subspan(first, count), {.count = objective_->view_count(),
                                                          .recipe = views_.recipe.recipe,
                                                          .segment = views_.segment,
                                                          .seed = options_.seed,
                                                          .step = step});
  };
  return models::backward_in_parts(*objective_, views, ids_of(records), options_.parts, options_.seed, step);
}

size_t Pretraining::step_bytes(size_t records) {
  const DryRun dry;
  const RepeatedPass uncounted;
  Arena arena = Arena::imaginary(arena_.device());
  {
    const ArenaScope scope(arena);
    add_gradient(std::vector<size_t>(records, 0), 0);
    objective_->follow(0);
  }
  return arena.extent();
}

Pretraining::Result Pretraining::step(int64_t done, std::span<const size_t> records, double learning_rate,
                                      int64_t steps_in_all) {
  const ArenaScope scope(arena_);
  const int64_t number = done + 1;
  store_.zero_gradients();
  try {
    const models::BatchLoss batch = add_gradient(records, static_cast<uint32_t>(done));
    require_finite("loss", batch.loss, number);
    const double norm = optimizer_->step(static_cast<float>(learning_rate));
    require_finite("gradient's norm", norm, number);
    objective_->follow(static_cast<double>(number) / static_cast<double>(steps_in_all));
    Result result{batch.loss, norm};
    if (!is_logged(number)) return result;
    result.left_out = sum_of(batch.left_out);
    if (batch.embeddings)
      result.quality = models::embedding_quality(batch.embeddings, static_cast<int64_t>(records.size()));
    return result;
  } catch (...) {
    objective_->forget();  // what it holds of the batch is the arena's
    throw;
  }
}

}  // namespace systole::tools
