#include "tools/classifier_training.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "data/label_fraction.h"
#include "engine/checkpoint/atomic_file.h"
#include "tools/frozen_encoder.h"
#include "tools/progress.h"

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

void append_probabilities(const Tensor& logits, models::Predictions& p) {
  for (float x : logits.to_vector()) p.probability.push_back(1.0f / (1.0f + std::exp(-x)));
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

/// By macro F1 at 0.5; where that ties or is undefined (rare classes, few labels), by macro AUROC.
bool is_better(const models::QuickMetrics& a, const models::QuickMetrics& b) {
  const auto value = [](double metric) { return std::isnan(metric) ? -1.0 : metric; };
  return std::pair(value(a.macro_f1), value(a.macro_auroc)) > std::pair(value(b.macro_f1), value(b.macro_auroc));
}

class ClassifierTraining {
 public:
  ClassifierTraining(const ClassifierOptions& options, const data::Dataset& dataset, const Batches& batches,
                     const models::EncoderOptions& encoder, Device device)
      : options_(options),
        dataset_(dataset),
        batches_(batches),
        device_(device),
        arena_(device),
        classifier_(store_, encoder, static_cast<int>(dataset.classes.size())) {
    store_.allocate(device, options.common.seed);
  }

  void load_encoder(const EncoderFile& file) {
    store_.load_state(file.arrays, models::Classifier::kEncoderPrefix, options_.ssl_checkpoint.string());
  }

  /// Trains on `training`, selects on `validation`; the store then holds the selected weights.
  void run(const std::vector<size_t>& training, const std::vector<size_t>& validation, RunLog& log) {
    weights_ = make_weights(options_.loss, dataset_, training, device_);
    options_.freeze_encoder ? run_frozen(training, validation, log) : run_whole(training, validation, log);
  }

  const ParameterStore& store() const { return store_; }

 private:
  void run_whole(const std::vector<size_t>& training, const std::vector<size_t>& validation, RunLog& log) {
    Optimizer optimizer(store_, optimizer_options(options_.training));
    ParameterStore::Snapshot best = store_.snapshot();
    epochs(
        store_, optimizer, training,
        [&](std::span<const size_t> rows, uint32_t step) {
          const Tensor views =
              batches_.views(rows, {.segment = augment::Segment::random, .seed = options_.common.seed, .step = step});
          return classifier_.logits(views, Mode::train().with_dropout(options_.common.seed, step));
        },
        [&] { return predict(classifier_, batches_, validation, device_); }, [&] { best = store_.snapshot(); }, log);
    store_.restore(best);
  }

  /// With a frozen encoder the features are computed once, and only the head is trained, on standardised features.
  void run_frozen(const std::vector<size_t>& training, const std::vector<size_t>& validation, RunLog& log) {
    if (options_.ssl_checkpoint.empty()) calibrate(classifier_.encoder(), batches_, training, arena_);
    Features train_features = compute_features(classifier_.encoder(), batches_, training, arena_);
    Features validation_features = compute_features(classifier_.encoder(), batches_, validation, arena_);
    const Standardization standardization(train_features);
    standardization.apply(train_features);
    standardization.apply(validation_features);
    std::vector<size_t> place(dataset_.records(), 0);  // of a record among the training features
    for (size_t i = 0; i < training.size(); ++i) place[training[i]] = i;

    ParameterStore head_store;
    const models::LinearLayer head = models::LinearLayer::declare(
        head_store, "head.", classifier_.encoder().latent_size(), static_cast<int>(dataset_.classes.size()));
    head_store.allocate(device_, options_.common.seed);
    Optimizer optimizer(head_store, optimizer_options(options_.training));
    ParameterStore::Snapshot best = head_store.snapshot();
    epochs(
        head_store, optimizer, training,
        [&](std::span<const size_t> rows, uint32_t) { return head.forward(gather(train_features, rows, place)); },
        [&] {
          models::Predictions p = labelled(dataset_, validation);
          const NoGradient no_gradient;
          append_probabilities(head.forward(to_tensor(validation_features)), p);
          return p;
        },
        [&] { best = head_store.snapshot(); }, log);
    head_store.restore(best);
    standardization.fold_into(head);
    classifier_.head().weight.value.copy_from(head.weight.value);
    classifier_.head().bias.value.copy_from(head.bias.value);
  }

  Tensor to_tensor(const Features& f) const {
    const auto size = static_cast<int64_t>(f.size);
    return Tensor::from(f.values, {static_cast<int64_t>(f.values.size()) / size, size}, device_);
  }

  Tensor gather(const Features& f, std::span<const size_t> rows, const std::vector<size_t>& place) const {
    std::vector<float> values;
    for (size_t r : rows) {
      const auto begin = f.values.begin() + static_cast<std::ptrdiff_t>(place[r] * f.size);
      values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(f.size));
    }
    return Tensor::from(values, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(f.size)}, device_);
  }

  /// The loop over epochs and batches. `logits` runs the model on records, `validate` predicts the validation fold,
  /// `keep` copies the weights of the best epoch so far.
  template <class Logits, class Validate, class Keep>
  void epochs(ParameterStore& trained, Optimizer& optimizer, const std::vector<size_t>& training, const Logits& logits,
              const Validate& validate, const Keep& keep, RunLog& log) {
    const TrainingOptions& t = options_.training;
    const auto batch = static_cast<size_t>(t.batch_size);
    const size_t tail = training.size() % batch;
    const bool drop_tail =
        tail == 1 && training.size() > 1;  // a batch of one would weigh that record as much as a whole batch
    const auto steps_per_epoch = static_cast<int64_t>((training.size() + batch - 1) / batch) - (drop_tail ? 1 : 0);
    const Schedule schedule = make_schedule(t, steps_per_epoch);
    Progress progress(options_.command, t.epochs, "epochs");
    models::QuickMetrics best{};
    for (int epoch = 0; epoch < t.epochs; ++epoch) {
      std::vector<size_t> order =
          data::epoch_order(dataset_, training, data::parse_balance_strategy(options_.balance_strategy),
                            options_.common.seed, static_cast<uint32_t>(epoch));
      if (drop_tail) order.pop_back();
      double loss_sum = 0;
      for_each_batch(order, batch, [&](std::span<const size_t> rows) {
        const ArenaScope scope(arena_);
        const auto step = static_cast<uint32_t>(optimizer.steps());
        trained.zero_gradients();
        const Tensor loss = bce_with_logits(logits(rows, step), batches_.targets(rows), weights_);
        backward(loss);
        const double value = loss.item();  // a wait for the device: once forward and backward pass are on their way
        require_finite("loss", value, step + 1);
        const double rate = schedule.at(step);
        const double norm = optimizer.step(static_cast<float>(rate));
        require_finite("gradient's norm", norm, step + 1);
        loss_sum += value;
        if ((step + 1) % static_cast<uint32_t>(t.log_every) == 0)
          log.write({{"step", step + 1}, {"epoch", epoch + 1}, {"loss", value}, {"lr", rate}, {"gradient_norm", norm}});
      });
      const models::QuickMetrics validation = models::quick_metrics(validate());
      if (best_epoch_ == 0 || is_better(validation, best)) {
        best = validation;
        best_epoch_ = epoch + 1;
        keep();
      }
      log.write({{"epoch", epoch + 1},
                 {"mean_loss", loss_sum / static_cast<double>(steps_per_epoch)},
                 {"validation_macro_auroc", validation.macro_auroc},
                 {"validation_macro_f1", validation.macro_f1},
                 {"best_epoch", best_epoch_},
                 {"seconds", progress.seconds()}});
      progress.update(epoch + 1, fmt::format("loss {:.4f} validation AUROC {:.4f} F1 {:.4f}",
                                             loss_sum / static_cast<double>(steps_per_epoch), validation.macro_auroc,
                                             validation.macro_f1));
    }
    progress.finish();
    fmt::print(stderr, "best epoch {} of {}: macro F1 {:.4f} on fold {}\n", best_epoch_, t.epochs, best.macro_f1,
               kValidationFold);
  }

  const ClassifierOptions& options_;
  const data::Dataset& dataset_;
  const Batches& batches_;
  Device device_;
  Arena arena_;
  ParameterStore store_;
  models::Classifier classifier_;
  BceWeights weights_;
  int best_epoch_ = 0;
};

nlohmann::json to_json(const ClassifierOptions& o) {
  nlohmann::json json{{"command", o.command},
                      {"training", to_json(o.training)},
                      {"label_fraction", o.label_fraction},
                      {"loss", o.loss},
                      {"balance_strategy", o.balance_strategy},
                      {"ssl_checkpoint", o.ssl_checkpoint.string()},
                      {"freeze_encoder", o.freeze_encoder}};
  json.update(to_json(o.common));
  return json;
}

void check(const ClassifierOptions& o) {
  check(o.training);
  require_option(o.label_fraction > 0 && o.label_fraction <= 1, "--label-fraction", "above 0 and at most 1",
                 fmt::to_string(o.label_fraction));
  check(o.encoder);
  if (!o.ssl_checkpoint.empty() && o.encoder.is_given())
    throw UsageError("--encoder, --width and --lead-groups go without --ssl-checkpoint: its file says what it holds");
  check_writable(o.out);
  check_file_writable(beside(o.out, "metrics.jsonl"));
  require_option(o.out != o.ssl_checkpoint, "--out", "another file than --ssl-checkpoint", o.out.string());
}

}  // namespace

void add_classifier_options(CLI::App& command, ClassifierOptions& o) {
  add_data_options(command, o.data);
  command.add_option("--out", o.out, "Classifier file to write: .pt or .safetensors")->required();
  add_training_options(command, o.training);
  command
      .add_option("--label-fraction", o.label_fraction,
                  "Share of the records of folds 1-8 whose labels are used, above 0 to 1; patients are taken whole")
      ->capture_default_str();
  command.add_option("--loss", o.loss, "bce, focal (alpha 0.25, gamma 2), weighted or class_balanced (beta 0.9999)")
      ->check(CLI::IsMember({"bce", "focal", "weighted", "class_balanced"}))
      ->capture_default_str();
  command
      .add_option("--balance-strategy", o.balance_strategy, "Order of the records: standard, stratified or oversample")
      ->check(CLI::IsMember({"standard", "stratified", "oversample"}))
      ->capture_default_str();
  add_common_options(command, o.common);
}

models::Predictions predict(models::Classifier& classifier, const Batches& batches, const std::vector<size_t>& records,
                            Device device) {
  const NoGradient no_gradient;
  Arena arena(device);
  models::Predictions p = labelled(batches.dataset(), records);
  for_each_batch(records, kEvaluationBatch, [&](std::span<const size_t> rows) {
    const ArenaScope scope(arena);
    append_probabilities(classifier.logits(batches.views(rows, {}), Mode::evaluation()), p);
  });
  return p;
}

void train_classifier(ClassifierOptions o) {
  check(o);
  const Device device = prepare(o.common);
  std::optional<EncoderFile> encoder;
  if (!o.ssl_checkpoint.empty()) encoder = read_encoder(o.ssl_checkpoint);
  if (encoder) adopt_sampling_rate(encoder->description, o.data);

  std::vector<int> folds = kTrainingFolds;
  folds.push_back(kValidationFold);
  const data::Dataset dataset = load(o.data, folds);
  const std::vector<size_t> validation = records_of_folds(dataset, {kValidationFold});
  const std::vector<size_t> training =
      data::sample_label_fraction(dataset, records_of_folds(dataset, kTrainingFolds), o.label_fraction, o.common.seed);

  // An encoder keeps the preprocessing that it was trained with.
  const data::Normalization normalization = encoder && encoder->description.normalization
                                                ? *encoder->description.normalization
                                                : data::measure_normalization(dataset, training);
  check_matches(normalization, dataset);
  const models::EncoderOptions network =
      encoder ? encoder->description.encoder : encoder_options(o.encoder, dataset.leads);
  if (network.leads != 1 && network.leads != static_cast<int>(dataset.lead_count()))
    throw Error(fmt::format("{}: the encoder reads {} leads; the records of {} have {}", o.ssl_checkpoint.string(),
                            network.leads, dataset.name, dataset.lead_count()));
  const int trained_length = encoder ? encoder->description.signal_length : 0;
  const int length =
      view_length(dataset, o.training.signal_length == 0 && trained_length > 0 && trained_length <= dataset.length
                               ? trained_length
                               : o.training.signal_length);
  const Batches batches(dataset, normalization, length, device);
  ClassifierTraining run(o, dataset, batches, network, device);
  if (encoder) run.load_encoder(*encoder);

  RunLog log(beside(o.out, "metrics.jsonl"));
  fmt::print(stderr, "{} of {} on the labels of {} ECGs ({:g} of folds 1-8), {} parameters{}\n", o.command,
             network.name, training.size(), o.label_fraction, run.store().parameter_count(),
             o.freeze_encoder ? ", encoder frozen" : "");
  run.run(training, validation, log);
  write_model(o.out, run.store(), "model", "",
              {.encoder = network,
               .normalization = normalization,
               .signal_length = length,
               .label_set = o.data.labels,
               .classes = dataset.classes,
               .run = to_json(o)});
  fmt::print("classifier: {}\nmetrics: {}\n", o.out.string(), beside(o.out, "metrics.jsonl").string());
}

}  // namespace systole::tools
