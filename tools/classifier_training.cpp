#include "tools/classifier_training.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "data/label_fraction.h"
#include "tools/epoch_steps.h"
#include "tools/evaluation_pass.h"

namespace systole::tools {
namespace {

models::Predictions labelled(const data::Dataset& dataset, const std::vector<size_t>& records) {
  models::Predictions p;
  p.records = records.size();
  p.classes = dataset.classes.size();
  p.class_names = dataset.classes;
  for (size_t r : records) {
    p.patient.push_back(dataset.patient_id[r]);
    for (size_t c = 0; c < p.classes; ++c) p.label.push_back(dataset.label(r, c));
  }
  return p;
}

void append_probabilities(const std::vector<float>& logits, models::Predictions& p) {
  for (float x : logits) p.probability.push_back(1.0f / (1.0f + std::exp(-x)));
}

/// The weights of a loss by name, from the labels that training sees.
BceWeights make_weights(const std::string& loss, const data::Dataset& dataset, const std::vector<size_t>& records,
                        Device device) {
  const size_t classes = dataset.classes.size();
  const auto C = static_cast<int64_t>(classes);
  std::vector<double> positives(classes, 0);
  for (size_t r : records)
    for (size_t c = 0; c < classes; ++c) positives[c] += dataset.label(r, c);
  const auto total = static_cast<double>(records.size());
  std::vector<float> weight(classes, 1.0f);

  if (loss == "bce") return {};
  if (loss == "focal") {  // α = 0.25 on both sides, γ = 2
    std::fill(weight.begin(), weight.end(), 0.25f);
    const Tensor alpha = Tensor::from(weight, {C}, device);
    return {alpha, alpha, 2.0f};
  }
  if (loss == "weighted") {  // positives count as much as negatives
    for (size_t c = 0; c < classes; ++c)
      if (positives[c] > 0) weight[c] = static_cast<float>((total - positives[c]) / positives[c]);
    return {Tensor::from(weight, {C}, device), {}, 0.0f};
  }
  // Class-balanced (Cui et al. 2019): (1 − β) / (1 − β^n), with mean 1 over the classes.
  constexpr double kBeta = 0.9999;
  double sum = 0;
  for (size_t c = 0; c < classes; ++c) {
    weight[c] = static_cast<float>((1 - kBeta) / (1 - std::pow(kBeta, std::max(positives[c], 1.0))));
    sum += weight[c];
  }
  for (float& w : weight) w *= static_cast<float>(static_cast<double>(classes) / sum);
  const Tensor balanced = Tensor::from(weight, {C}, device);
  return {balanced, balanced, 0.0f};
}

OptimizerOptions optimizer_options(const ClassifierRecipe& recipe) {
  OptimizerOptions options = optimizer_options(recipe.training);
  if (recipe.head_learning_rate)
    options.rate_factors = {{"head.", *recipe.head_learning_rate / recipe.training.learning_rate}};
  return options;
}

/// A last batch of one record is left out: it would weigh that record as much as a whole batch.
int64_t steps_per_epoch(const Fitting& f) {
  const auto batch = static_cast<size_t>(f.recipe.training.batch_size), records = f.training.size();
  const bool lone_record = records % batch == 1 && records > 1;
  return static_cast<int64_t>((records + batch - 1) / batch) - (lone_record ? 1 : 0);
}

}  // namespace

// By the metric that selects; where that ties or is undefined (rare classes, few labels), by the other.
bool is_better(const models::QuickMetrics& a, const models::QuickMetrics& b, const std::string& select) {
  const auto key = [&](const models::QuickMetrics& m) {
    const auto value = [](double metric) { return std::isnan(metric) ? -1.0 : metric; };
    const std::pair by_f1(value(m.macro_f1), value(m.macro_auroc));
    return select == "f1" ? by_f1 : std::pair(by_f1.second, by_f1.first);
  };
  return key(a) > key(b);
}

void add_recipe_options(CLI::App& command, ClassifierRecipe& recipe) {
  command
      .add_option("--loss", recipe.loss, "bce, focal (alpha 0.25, gamma 2), weighted or class_balanced (beta 0.9999)")
      ->check(CLI::IsMember({"bce", "focal", "weighted", "class_balanced"}))
      ->capture_default_str();
  command
      .add_option("--balance-strategy", recipe.balance_strategy,
                  "Order of the records: standard, stratified or oversample")
      ->check(CLI::IsMember({"standard", "stratified", "oversample"}))
      ->capture_default_str();
  command
      .add_option("--select", recipe.select,
                  "Which metric on fold 9 chooses the epoch whose weights are kept: f1 or auroc (both macro)")
      ->check(CLI::IsMember({"f1", "auroc"}))
      ->capture_default_str();
}

nlohmann::json to_json(const ClassifierRecipe& recipe) {
  return {{"loss", recipe.loss}, {"balance_strategy", recipe.balance_strategy}, {"select", recipe.select}};
}

int view_length(const data::Dataset& dataset, const Description& encoder, int signal_length) {
  const int trained = encoder.signal_length;
  const bool as_trained = signal_length == 0 && trained > 0 && trained <= dataset.length;
  return view_length(dataset, as_trained ? trained : signal_length);
}

void require_classes(const data::Dataset& dataset) {
  if (dataset.classes.empty())
    throw Error(fmt::format("{}: came without labels; --label-table gives them to any records", dataset.name));
}

void check_leads(const models::EncoderOptions& encoder, const data::Dataset& dataset, const std::string& file) {
  if (encoder.leads != 1 && encoder.leads != static_cast<int>(dataset.lead_count()))
    throw Error(fmt::format("{}: the encoder reads {} leads; the records of {} have {}", file, encoder.leads,
                            dataset.name, dataset.lead_count()));
}

models::Predictions predict(models::Classifier& classifier, const Batches& batches, const std::vector<size_t>& records,
                            const Batches::Views& how) {
  models::Predictions p = labelled(batches.dataset(), records);
  EvaluationPass pass(batches, how, [&](const Tensor& views) { return classifier.logits(views, Mode::evaluation()); });
  pass(records, [&](std::span<const size_t>, const std::vector<float>& logits) { append_probabilities(logits, p); });
  return p;
}

Trainee whole_classifier(models::Classifier& classifier, ParameterStore& store, const Batches& batches, uint64_t seed) {
  return {.store = store,
          .network = [&classifier](const Tensor& views, Mode mode) { return classifier.logits(views, mode); },
          .inputs =
              [&batches, seed](const Tensor& records, StepNumber step) {
                return batches.views(records, {.segment = augment::Segment::random, .seed = seed, .step = step});
              },
          .number = [](size_t record) { return static_cast<int32_t>(record); },
          .predict = [&classifier,
                      &batches](const std::vector<size_t>& records) { return predict(classifier, batches, records); }};
}

Trainee head_alone(FrozenHead& head, const Batches& batches) {
  return {.store = head.store(),
          .network = [&head](const Tensor& features, Mode) { return head.logits(features); },
          .inputs = [&head](const Tensor& rows, StepNumber) { return head.inputs(rows); },
          .number = [&head](size_t record) { return head.row_of(record); },
          .predict =
              [&head, &batches](const std::vector<size_t>& records) {
                const NoGradient no_gradient;
                std::vector<int32_t> rows;
                for (size_t record : records) rows.push_back(head.row_of(record));
                const Tensor numbers =
                    Tensor::from(rows, {static_cast<int64_t>(rows.size())}, head.store().values().device());
                models::Predictions p = labelled(batches.dataset(), records);
                append_probabilities(head.logits(head.inputs(numbers)).to_vector(), p);
                return p;
              }};
}

namespace {

/// How far training is, and the best that it has found.
struct Progressed {
  int64_t epoch = 1, step_of_epoch = 0, step = 0;  // epochs count from 1
  int64_t losses = 0;                              // of this epoch, of the steps that count
  double loss_sum = 0;
  EpochReport best{};
  ParameterStore::Snapshot best_weights;

  void show(RunState& state) {
    state.number("epoch", epoch);
    state.number("step_of_epoch", step_of_epoch);
    state.number("step", step);
    state.number("losses", losses);
    state.number("loss_sum", loss_sum);
    int64_t best_epoch = best.epoch;
    state.number("best.epoch", best_epoch);
    best.epoch = static_cast<int>(best_epoch);
    state.number("best.mean_loss", best.mean_loss);
    state.number("best.macro_auroc", best.validation.macro_auroc);
    state.number("best.macro_f1", best.validation.macro_f1);
    state.snapshot("best", best_weights);
  }
};

}  // namespace

EpochReport fit(const Trainee& trainee, const Fitting& f) {
  const TrainingOptions& t = f.recipe.training;
  const data::Dataset& dataset = f.batches.dataset();
  const int64_t steps = steps_per_epoch(f);
  const Schedule schedule = make_schedule(t, steps);
  models::ClassifierObjective objective(
      trainee.network, f.batches.targets(),
      make_weights(f.recipe.loss, dataset, f.training, trainee.store.values().device()));
  Optimizer optimizer(trainee.store, optimizer_options(f.recipe));
  models::TrainingStep step(trainee.store, objective, optimizer, trainee.inputs,
                            {.batch_size = t.batch_size, .steps_per_epoch = steps, .seed = f.seed});
  Progressed at;
  at.best_weights = trainee.store.snapshot();
  const StateParts parts = [&](RunState& state) {
    state.store("model", trainee.store);
    optimizer.state(state);
    at.show(state);
  };
  const auto input = [&](std::span<const size_t> records, int64_t number) {
    EpochSteps::Input result{.number = number, .learning_rate = schedule.at(number), .progress = 0};
    for (size_t record : records) {
      result.records.push_back(trainee.number(record));
      result.ids.push_back(static_cast<int32_t>(record));
    }
    return result;
  };
  if (f.run) f.run->begin(parts);
  for (; at.epoch <= t.epochs; ++at.epoch, at.step_of_epoch = at.losses = 0, at.loss_sum = 0) {
    const std::vector<size_t> order =
        data::epoch_order(dataset, f.training, data::parse_balance_strategy(f.recipe.balance_strategy), f.seed,
                          static_cast<uint32_t>(at.epoch - 1));
    const EpochSteps epoch{.step = step,
                           .parts = parts,
                           .dataset = dataset,
                           .run = f.run,
                           .order = order,
                           .batch_size = t.batch_size,
                           .steps = steps,
                           .log_every = t.log_every};
    epoch.make(at.step_of_epoch, at.step, input,
               [&](std::span<const size_t>, const std::optional<EpochSteps::Result>& result) {
                 ++at.step, ++at.step_of_epoch;
                 if (!result) return;
                 ++at.losses, at.loss_sum += result->loss;
                 if (f.monitor.on_step)
                   f.monitor.on_step({at.step, static_cast<int>(at.epoch), result->loss, schedule.at(at.step - 1),
                                      result->gradient_norm});
               });
    const models::QuickMetrics validation = models::quick_metrics(trainee.predict(f.validation));
    const EpochReport report{static_cast<int>(at.epoch), at.loss_sum / static_cast<double>(at.losses), validation};
    if (at.epoch == 1 || is_better(validation, at.best.validation, f.recipe.select)) {
      at.best = report;
      at.best_weights = trainee.store.snapshot();
    }
    if (f.monitor.on_epoch) f.monitor.on_epoch(report, at.best);
  }
  trainee.store.restore(at.best_weights);
  return at.best;
}

}  // namespace systole::tools
