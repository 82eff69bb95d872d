// systole evaluate: a classifier on the test fold, with bootstrap intervals over patients.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>
#include <optional>

#include "engine/checkpoint/atomic_file.h"
#include "tools/classifier_training.h"
#include "tools/command.h"
#include "tools/robustness.h"

namespace systole::tools {
namespace {

struct EvaluateOptions {
  CommonOptions common;
  DataOptions data;
  std::filesystem::path checkpoint, json, plot;
  std::vector<int> folds{kTestFold};
  int bootstrap = 1000;
  bool robustness = false;
};

void check(const EvaluateOptions& o) {
  require_option(o.bootstrap >= 1 && o.bootstrap <= 1'000'000, "--bootstrap", "between 1 and 1000000",
                 std::to_string(o.bootstrap));
  if (!o.json.empty()) check_file_writable(o.json);
  if (o.plot.empty()) return;
  if (!o.robustness) throw UsageError("--plot draws what --robustness measures, and is used with it");
  require_option(o.plot.extension() == ".svg", "--plot", "a file with the extension .svg", o.plot.string());
  check_file_writable(o.plot);
}

/// The labels and the sampling rate of the run are those that the classifier was trained with.
void adopt_description(EvaluateOptions& o, const ClassifierFile& file) {
  if (!file.description.normalization || file.description.classes.empty())
    throw Error(
        fmt::format("{}: says nothing about the preprocessing of its signals; only files that finetune or supervised "
                    "wrote can be evaluated",
                    o.checkpoint.string()));
  adopt_signals(file.description, o.data);
  o.data.labels = file.description.label_set;
}

/// Figures of folds that had a part in the training are no test results.
void warn_about_folds(const std::vector<int>& folds) {
  for (int fold : folds)
    if (fold <= kValidationFold)
      fmt::print(stderr, "fold {} was {}: this is no test result\n", fold,
                 fold == kValidationFold ? "used for model selection" : "trained on");
}

void check_classes(const EvaluateOptions& o, const ClassifierFile& file, const data::Dataset& dataset) {
  if (file.classes != static_cast<int>(dataset.classes.size()))
    throw Error(fmt::format("{}: the classifier has {} classes; the label set {} of {} has {}", o.checkpoint.string(),
                            file.classes, o.data.labels, dataset.name, dataset.classes.size()));
  if (!file.description.classes.empty() && file.description.classes != dataset.classes)
    throw Error(fmt::format("{}: the classifier was trained on other classes than those of {}", o.checkpoint.string(),
                            dataset.name));
}

void write_json(const EvaluateOptions& o, Device device, const models::Evaluation& evaluation,
                const std::optional<Robustness>& robustness) {
  nlohmann::ordered_json report{
      {"checkpoint", o.checkpoint.string()},
      {"data", o.data.root.string()},
      {"sampling_rate_hz", o.data.sampling_rate_hz},
      {"label_set", o.data.labels},
      {"folds", o.folds},
      {"device", name(device)},
      {"precision", o.common.precision},
      {"records", evaluation.records},
      {"bootstrap", {{"replicates", o.bootstrap}, {"over", "patients"}, {"seed", o.common.seed}}}};
  report["metrics"] = models::to_json(evaluation);
  if (robustness) report["robustness"] = to_json(*robustness);
  write_file_atomically(o.json, report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void evaluate(EvaluateOptions o) {
  check(o);
  const Device device = prepare(o.common);
  const ClassifierFile file = read_classifier(o.checkpoint);
  adopt_description(o, file);
  warn_about_folds(o.folds);
  const data::Dataset dataset = load(o.data, o.folds);
  const std::vector<size_t> records = records_of_folds(dataset, o.folds);
  check_classes(o, file, dataset);
  check_matches(*file.description.normalization, dataset);
  const Batches batches(dataset, *file.description.normalization, view_length(dataset, file.description.signal_length),
                        device);

  ParameterStore store;
  models::Classifier classifier(store, file.description.encoder, file.classes);
  store.allocate(device, 0);
  store.load_state(file.arrays, "", o.checkpoint.string());
  const models::Predictions predictions = predict(classifier, batches, records);
  const models::EvaluateOptions how{.replicates = o.bootstrap, .seed = o.common.seed};
  const models::Evaluation evaluation = models::evaluate(predictions, how);
  fmt::print("{}", models::to_table(evaluation));
  std::optional<Robustness> robustness;
  if (o.robustness) {
    robustness = measure_robustness(classifier, batches, records, predictions, how);
    fmt::print("\n{}", to_table(*robustness));
  }
  if (!o.plot.empty())
    plot_robustness(o.plot, *robustness,
                    fmt::format("{}, {} records of {} patients; band: 95 % interval, dashed: as recorded",
                                o.checkpoint.filename().string(), evaluation.records, evaluation.patients));
  if (!o.json.empty()) write_json(o, device, evaluation, robustness);
}

}  // namespace

void add_evaluate(CLI::App& app) {
  auto options = std::make_shared<EvaluateOptions>();
  EvaluateOptions& o = *options;
  CLI::App& command =
      *app.add_subcommand("evaluate", "AUROC, F1, sensitivity and specificity of a classifier (fold 10)");
  add_signal_options(command, o.data);
  add_unlabelled_option(command, o.data);
  command.add_option("--checkpoint", o.checkpoint, "Classifier file of finetune or supervised")->required();
  command.add_option("--json", o.json, "Also write the result to this file");
  command.add_option("--folds", o.folds, "Folds to evaluate on")
      ->delimiter(',')
      ->check(CLI::Range(1, 10))
      ->capture_default_str();
  command.add_option("--bootstrap", o.bootstrap, "Replicates of the 95 % interval")->capture_default_str();
  command.add_flag("--robustness", o.robustness,
                   "Also measure the macro AUROC under white noise, baseline wander, lost leads and lost time");
  command.add_option("--plot", o.plot, "Also draw the robustness: a file .svg");
  add_common_options(command, o.common);
  command.callback([options] { evaluate(*options); });
}

}  // namespace systole::tools
