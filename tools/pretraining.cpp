#include "tools/pretraining.h"

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

void Pretraining::run(std::span<const size_t> records, RunLog& log) {
  const auto batch = static_cast<size_t>(options_.training.batch_size);
  const size_t tail = records.size() % batch;
  // A last batch of one record has no negatives, and no statistics: it is left out.
  const auto steps_per_epoch = static_cast<int64_t>(records.size() / batch + (tail >= 2 ? 1 : 0));
  if (steps_per_epoch == 0) throw Error("pre-training needs at least two records");
  const Schedule schedule = make_schedule(options_.training, steps_per_epoch);

  const auto per_epoch = static_cast<int64_t>(records.size() - (tail == 1 ? 1 : 0));
  Progress progress("pretrain", per_epoch * options_.training.epochs, "ECG");
  int64_t done = 0;
  for (int epoch = 0; epoch < options_.training.epochs; ++epoch) {
    const std::vector<size_t> order = order_of_epoch(records, static_cast<uint32_t>(epoch));
    double loss_sum = 0;
    int64_t pairs = 0;
    for (int64_t i = 0; i < steps_per_epoch; ++i) {
      const size_t begin = static_cast<size_t>(i) * batch;
      const std::span<const size_t> rows = std::span(order).subspan(begin, std::min(batch, order.size() - begin));
      const double rate = schedule.at(optimizer_->steps());
      const Result result = step(rows, rate, schedule.total_steps);
      loss_sum += result.loss;
      pairs += same_patient_pairs(rows);
      done += static_cast<int64_t>(rows.size());
      progress.update(done, fmt::format("epoch {} loss {:.4f}", epoch + 1, result.loss));
      const int64_t number = optimizer_->steps();
      if (!is_logged(number)) continue;
      nlohmann::ordered_json line{{"step", number},
                                  {"epoch", epoch + 1},
                                  {"loss", result.loss},
                                  {"lr", rate},
                                  {"gradient_norm", result.gradient_norm},
                                  {"ecg_per_second", static_cast<double>(done) / progress.seconds()}};
      if (const auto temperature = objective_->learned_temperature()) line["temperature"] = *temperature;
      if (result.left_out > 0) line["rows_without_positive"] = result.left_out;
      log.write(line);
    }
    log.write({{"epoch", epoch + 1},
               {"mean_loss", loss_sum / static_cast<double>(steps_per_epoch)},
               {"same_patient_pairs_per_batch", static_cast<double>(pairs) / static_cast<double>(steps_per_epoch)},
               {"seconds", progress.seconds()}});
  }
  progress.finish();
  fmt::print(stderr, "{} ECGs in {}: {:.0f} ECG/s\n", done, clock_text(progress.seconds()),
             static_cast<double>(done) / progress.seconds());
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

Pretraining::Result Pretraining::step(std::span<const size_t> records, double learning_rate, int64_t steps_in_all) {
  const ArenaScope scope(arena_);
  const auto step = static_cast<uint32_t>(optimizer_->steps());
  store_.zero_gradients();
  const models::BatchLoss result = add_gradient(records, step);
  require_finite("loss", result.loss, optimizer_->steps() + 1);
  const double norm = optimizer_->step(static_cast<float>(learning_rate));
  require_finite("gradient's norm", norm, optimizer_->steps());
  objective_->follow(static_cast<double>(optimizer_->steps()) / static_cast<double>(steps_in_all));
  return {result.loss, norm, is_logged(optimizer_->steps()) ? sum_of(result.left_out) : 0};
}

}  // namespace systole::tools
