// systole evaluate: a classifier on the test fold, with bootstrap intervals over patients.

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

#include "engine/checkpoint/atomic_file.h"
#include "tools/classifier_training.h"

namespace systole::tools {
namespace {

struct EvaluateOptions {
  CommonOptions common;
  DataOptions data;
  std::filesystem::path checkpoint, json;
  std::vector<int> folds{kTestFold};
  int bootstrap = 1000;
};

/// The labels and the sampling rate of the run are those that the classifier was trained with.
void adopt_description(EvaluateOptions& o, const ClassifierFile& file) {
  if (!file.description.normalization || file.description.classes.empty())
    throw Error(
        fmt::format("{}: says nothing about the preprocessing of its signals; only files that finetune or supervised "
                    "wrote can be evaluated",
                    o.checkpoint.string()));
  adopt_sampling_rate(file.description, o.data);
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

void evaluate(EvaluateOptions o) {
  require_option(o.bootstrap >= 1 && o.bootstrap <= 1'000'000, "--bootstrap", "between 1 and 1000000",
                 std::to_string(o.bootstrap));
  if (!o.json.empty()) check_file_writable(o.json);
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
  const models::Evaluation evaluation = models::evaluate(predict(classifier, batches, records, device),
                                                         {.replicates = o.bootstrap, .seed = o.common.seed});
  fmt::print("{}", models::to_table(evaluation));
  if (o.json.empty()) return;
  nlohmann::ordered_json report{
      {"checkpoint", o.checkpoint.string()},
      {"data", o.data.root.string()},
      {"sampling_rate_hz", o.data.sampling_rate_hz},
      {"label_set", o.data.labels},
      {"folds", o.folds},
      {"device", name(device)},
      {"precision", o.common.precision},
      {"records", records.size()},
      {"bootstrap", {{"replicates", o.bootstrap}, {"over", "patients"}, {"seed", o.common.seed}}}};
  report["metrics"] = models::to_json(evaluation);
  write_file_atomically(o.json, report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
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
  add_common_options(command, o.common);
  command.callback([options] { evaluate(*options); });
}

}  // namespace systole::tools
