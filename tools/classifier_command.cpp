#include "tools/classifier_command.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>

#include "data/label_fraction.h"
#include "engine/checkpoint/atomic_file.h"
#include "tools/model_file.h"
#include "tools/progress.h"
#include "tools/run_lock.h"
#include "tools/run_record.h"

namespace systole::tools {
namespace {

nlohmann::json to_json(const ClassifierOptions& o) {
  nlohmann::json json{{"command", o.command},
                      {"training", to_json(o.recipe.training)},
                      {"label_fraction", o.label_fraction},
                      {"ssl_checkpoint", o.ssl_checkpoint.string()},
                      {"freeze_encoder", o.freeze_encoder}};
  json.update(to_json(o.recipe));
  json.update(to_json(o.common));
  return json;
}

void check(const ClassifierOptions& o) {
  check(o.recipe.training);
  if (const auto rate = o.recipe.head_learning_rate)
    require_option(*rate > 0 && std::isfinite(*rate), "--head-lr", "positive", fmt::to_string(*rate));
  require_option(o.label_fraction > 0 && o.label_fraction <= 1, "--label-fraction", "above 0 and at most 1",
                 fmt::to_string(o.label_fraction));
  check(o.encoder);
  if (!o.ssl_checkpoint.empty() && o.encoder.is_given())
    throw UsageError("--encoder, --width and --lead-groups go without --ssl-checkpoint: its file says what it holds");
  check_writable(o.out);
  check(o.run, o.out);
  require_option(o.out != o.ssl_checkpoint, "--out", "another file than --ssl-checkpoint", o.out.string());
}

/// The steps and epochs of a run: into its log, and the epochs on standard error.
class Reporter {
 public:
  Reporter(const ClassifierOptions& o, ResumableRun& run)
      : run_(run), log_every_(o.recipe.training.log_every), progress_(o.command, o.recipe.training.epochs, "epochs") {}

  TrainingMonitor monitor() {
    return {[this](const StepReport& step) { write(step); },
            [this](const EpochReport& epoch, const EpochReport& best) { write(epoch, best); }};
  }
  void finish() { progress_.finish(); }

 private:
  void write(const StepReport& r) {
    if (r.step % log_every_ != 0) return;
    run_.log().write({{"step", r.step},
                      {"epoch", r.epoch},
                      {"loss", r.loss},
                      {"lr", r.learning_rate},
                      {"gradient_norm", r.gradient_norm}});
  }
  void write(const EpochReport& r, const EpochReport& best) {
    nlohmann::ordered_json line{{"epoch", r.epoch},
                                {"mean_loss", r.mean_loss},
                                {"validation_macro_auroc", r.validation.macro_auroc},
                                {"validation_macro_f1", r.validation.macro_f1},
                                {"best_epoch", best.epoch},
                                {"seconds", run_.seconds()}};
    if (run_.skipped_steps() > 0) line["skipped_steps"] = run_.skipped_steps();
    run_.log().write(line);
    progress_.update(r.epoch, fmt::format("loss {:.4f} validation AUROC {:.4f} F1 {:.4f}", r.mean_loss,
                                          r.validation.macro_auroc, r.validation.macro_f1));
  }

  ResumableRun& run_;
  int log_every_;
  Progress progress_;
};

/// The head alone, on features that are computed once. A random encoder has no running statistics yet: they are taken
/// from the training records.
EpochReport train_frozen(const ClassifierOptions& o, models::Classifier& classifier, ParameterStore& store,
                         const Fitting& fitting) {
  const Device device = store.values().device();
  Arena arena(device);
  if (o.ssl_checkpoint.empty()) calibrate(classifier.encoder(), fitting.batches, fitting.training, arena);
  std::vector<size_t> records = fitting.training;
  records.insert(records.end(), fitting.validation.begin(), fitting.validation.end());
  const Features features = compute_features(classifier.encoder(), fitting.batches, records);
  FrozenHead head(features, fitting.training, static_cast<int>(fitting.batches.dataset().classes.size()), device,
                  fitting.seed);
  const EpochReport best = fit(head_alone(head, fitting.batches), fitting);
  head.copy_to(classifier.head());
  return best;
}

}  // namespace

void add_classifier_options(CLI::App& command, ClassifierOptions& o) {
  add_data_options(command, o.data);
  command.add_option("--out", o.out, "Classifier file to write: .pt or .safetensors")->required();
  add_training_options(command, o.recipe.training);
  command
      .add_option("--label-fraction", o.label_fraction,
                  "Share of the records of folds 1-8 whose labels are used, above 0 to 1; patients are taken whole")
      ->capture_default_str();
  add_recipe_options(command, o.recipe);
  add_run_options(command, o.run);
  add_common_options(command, o.common);
}

void train_classifier(const CLI::App& command, ClassifierOptions o) {
  check(o);
  const RunLock lock(beside(o.out, "lock"), o.out.string());
  const Device device = prepare(o.common);
  std::optional<EncoderFile> encoder;
  if (!o.ssl_checkpoint.empty()) encoder = read_encoder(o.ssl_checkpoint);
  if (encoder) adopt_signals(encoder->description, o.data);

  std::vector<int> folds = kTrainingFolds;
  folds.push_back(kValidationFold);
  const data::Dataset dataset = load(o.data, folds);
  require_classes(dataset);
  const std::vector<size_t> validation = records_of_folds(dataset, {kValidationFold});
  const std::vector<size_t> training =
      data::sample_label_fraction(dataset, records_of_folds(dataset, kTrainingFolds), o.label_fraction, o.common.seed);

  const data::Normalization normalization =
      normalization_for(dataset, training, encoder ? encoder->description.normalization : std::nullopt);
  const models::EncoderOptions network =
      encoder ? encoder->description.encoder : encoder_options(o.encoder, dataset.leads);
  check_leads(network, dataset, o.ssl_checkpoint.string());
  const int length = encoder ? view_length(dataset, encoder->description, o.recipe.training.signal_length)
                             : view_length(dataset, o.recipe.training.signal_length);
  nlohmann::ordered_json more{{"normalisation", nlohmann::json::parse(data::to_json(normalization))},
                              {"encoder", tools::to_json(network)},
                              {"length of a view", length}};
  if (encoder) more["checksum of --ssl-checkpoint"] = file_checksum(o.ssl_checkpoint);
  ResumableRun run(o.out, o.run, begin_record(command, o.common, device, dataset, more));
  if (run.is_complete()) return;
  const Batches batches(dataset, normalization, length, device);
  ParameterStore store;
  models::Classifier classifier(store, network, static_cast<int>(dataset.classes.size()));
  store.allocate(device, o.common.seed);
  if (encoder) store.load_state(encoder->arrays, models::Classifier::kEncoderPrefix, o.ssl_checkpoint.string());

  fmt::print(stderr, "{} of {} on the labels of {} ECGs ({:g} of folds 1-8), {} parameters{}\n", o.command,
             network.name, training.size(), o.label_fraction, store.parameter_count(),
             o.freeze_encoder ? ", encoder frozen" : "");
  Reporter reporter(o, run);
  const Fitting fitting{o.recipe, batches, training, validation, o.common.seed, reporter.monitor(), &run};
  const EpochReport best = o.freeze_encoder ? train_frozen(o, classifier, store, fitting)
                                            : fit(whole_classifier(classifier, store, batches, o.common.seed), fitting);
  reporter.finish();
  const bool by_f1 = o.recipe.select == "f1";
  fmt::print(stderr, "best epoch {} of {}: macro {} {:.4f} on fold {}\n", best.epoch, o.recipe.training.epochs,
             by_f1 ? "F1" : "AUROC", by_f1 ? best.validation.macro_f1 : best.validation.macro_auroc, kValidationFold);
  write_model(o.out, store, "model", "",
              {.encoder = network,
               .normalization = normalization,
               .signal_length = length,
               .label_set = dataset.label_set,
               .classes = dataset.classes,
               .run = to_json(o)});
  run.finish();
  fmt::print("classifier: {}\nmetrics: {}\n", o.out.string(), beside(o.out, "metrics.jsonl").string());
}

}  // namespace systole::tools
