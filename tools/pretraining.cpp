#include "tools/pretraining.h"

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

std::span<const size_t> Pretraining::batch_of(std::span<const size_t> order, int64_t step_of_epoch) const {
  const auto batch = static_cast<size_t>(options_.training.batch_size);
  const size_t begin = static_cast<size_t>(step_of_epoch) * batch;
  return order.subspan(begin, std::min(batch, order.size() - begin));
}

std::vector<models::TrainingStep::Input> Pretraining::inputs_of(std::span<const size_t> order,
                                                                const Schedule& schedule) const {
  std::vector<models::TrainingStep::Input> inputs;
  for (int64_t i = 0; i < steps_per_epoch_; ++i) {
    const std::span<const size_t> rows = batch_of(order, i);
    const int64_t done = optimizer_->steps() + i;
    inputs.push_back({.records = {rows.begin(), rows.end()},
                      .ids = ids_of(rows),
                      .learning_rate = schedule.at(done),
                      .progress = static_cast<double>(done + 1) / static_cast<double>(schedule.total_steps)});
  }
  return inputs;
}

void Pretraining::run(RunLog& log) {
  const Schedule schedule = make_schedule(options_.training, steps_per_epoch_);
  const auto batch = static_cast<size_t>(options_.training.batch_size);
  const auto per_epoch = static_cast<int64_t>(records_.size() - (records_.size() % batch == 1 ? 1 : 0));
  Progress progress("pretrain", per_epoch * options_.training.epochs, "ECG");
  int64_t done = 0;
  for (int epoch = 0; epoch < options_.training.epochs; ++epoch) {
    const std::vector<size_t> order = order_of_epoch(static_cast<uint32_t>(epoch));
    const int64_t before = optimizer_->steps();
    step_->prepare(inputs_of(order, schedule));
    double loss_sum = 0;
    int64_t pairs = 0, unread = 0;  // the first step whose result was not read
    for (int64_t i = 0; i < steps_per_epoch_; ++i) {
      step_->run();
      const std::span<const size_t> rows = batch_of(order, i);
      pairs += same_patient_pairs(rows);
      done += static_cast<int64_t>(rows.size());
      const int64_t number = before + i + 1;
      // Reading waits for the device: on cuda the host runs ahead until a line of the metrics file wants a result.
      if (step_->device() == Device::cuda && !is_logged(number) && i + 1 < steps_per_epoch_) continue;
      const std::vector<models::TrainingStep::Result> results = step_->results(unread, i + 1 - unread);
      for (const models::TrainingStep::Result& result : results) {
        ++unread;
        require_finite("loss", result.loss, before + unread);
        require_finite("gradient's norm", result.gradient_norm, before + unread);
        loss_sum += result.loss;
      }
      const models::TrainingStep::Result& last = results.back();
      progress.update(done, fmt::format("epoch {} loss {:.4f}", epoch + 1, last.loss));
      if (!is_logged(number)) continue;
      nlohmann::ordered_json line{{"step", number},
                                  {"epoch", epoch + 1},
                                  {"loss", last.loss},
                                  {"lr", schedule.at(number - 1)},
                                  {"gradient_norm", last.gradient_norm},
                                  {"ecg_per_second", static_cast<double>(done) / progress.seconds()}};
      if (const auto temperature = objective_->learned_temperature()) line["temperature"] = *temperature;
      if (last.left_out > 0) line["rows_without_positive"] = last.left_out;
      log.write(line);
    }
    log.write({{"epoch", epoch + 1},
               {"mean_loss", loss_sum / static_cast<double>(steps_per_epoch_)},
               {"same_patient_pairs_per_batch", static_cast<double>(pairs) / static_cast<double>(steps_per_epoch_)},
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

}  // namespace systole::tools
