// How finetune, supervised and label-curve train a classifier: on the labels of some records, whole or its head alone,
// keeping a copy of the weights of the epoch that was best on the validation records.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/classifier.h"
#include "models/metrics.h"
#include "models/training_step.h"
#include "tools/ecg_data.h"
#include "tools/frozen_encoder.h"
#include "tools/model_file.h"
#include "tools/resumable_run.h"
#include "tools/training.h"

namespace systole::tools {

struct ClassifierRecipe {
  TrainingOptions training;
  std::optional<double> head_learning_rate{};   // of the head, where it is another than the encoder's
  std::string loss = "focal";                   // bce, focal, weighted or class_balanced
  std::string balance_strategy = "oversample";  // standard, stratified or oversample
  std::string select = "f1";                    // the validation metric: f1 or auroc
};

/// Adds --loss, --balance-strategy and --select.
void add_recipe_options(CLI::App& command, ClassifierRecipe& recipe);
/// Those, for the description of a run.
nlohmann::json to_json(const ClassifierRecipe& recipe);

/// What is trained. Records are places in the data set.
struct Trainee {
  ParameterStore& store;  // the parameters of the head start with "head."
  models::ClassifierObjective::Network network;
  models::TrainingStep::Views inputs;                                              // of the network, in a training step
  std::function<int32_t(size_t record)> number;                                    // by which `inputs` knows a record
  std::function<models::Predictions(const std::vector<size_t>& records)> predict;  // in evaluation mode
};
/// All parameters of a classifier. Everything that is handed over must outlive the trainee, here and below.
Trainee whole_classifier(models::Classifier& classifier, ParameterStore& store, const Batches& batches, uint64_t seed);
Trainee head_alone(FrozenHead& head, const Batches& batches);

struct StepReport {
  int64_t step;  // 1 for the first, as the epoch
  int epoch;
  double loss, learning_rate, gradient_norm;
};
struct EpochReport {
  int epoch;
  double mean_loss;
  models::QuickMetrics validation;
};
/// Whether a is better than b by the metric `select`, or, where that ties or is undefined, by the other one.
bool is_better(const models::QuickMetrics& a, const models::QuickMetrics& b, const std::string& select);

/// Is told how training goes.
struct TrainingMonitor {
  std::function<void(const StepReport&)> on_step;
  std::function<void(const EpochReport&, const EpochReport& best)> on_epoch;
};

struct Fitting {
  const ClassifierRecipe& recipe;
  const Batches& batches;
  const std::vector<size_t>& training;
  const std::vector<size_t>& validation;
  uint64_t seed;
  TrainingMonitor monitor{};
  ResumableRun* run = nullptr;  // where training can be stopped and go on
};
/// Trains, and leaves the weights of the best epoch on the validation records, which is returned. Throws Error when the
/// loss or the gradient becomes infinite.
EpochReport fit(const Trainee& trainee, const Fitting& fitting);

/// The length of views for an encoder of a file: what --signal-length asks for, or else what the encoder was trained on
/// where records are that long. Throws UsageError when records are shorter than --signal-length.
int view_length(const data::Dataset& dataset, const Description& encoder, int signal_length);

/// Throws Error when the data set came without labels.
void require_classes(const data::Dataset& dataset);

/// Throws Error, naming the encoder's file, when records do not have the leads that an encoder reads.
void check_leads(const models::EncoderOptions& encoder, const data::Dataset& dataset, const std::string& file);

/// The probabilities of the records, in evaluation mode, as they are or in the views of a recipe.
models::Predictions predict(models::Classifier& classifier, const Batches& batches, const std::vector<size_t>& records,
                            const Batches::Views& how = {});

}  // namespace systole::tools
