// Training and running a classifier: what finetune, supervised and evaluate share.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "models/classifier.h"
#include "models/metrics.h"
#include "tools/command.h"
#include "tools/ecg_data.h"
#include "tools/encoder_options.h"
#include "tools/model_file.h"
#include "tools/run_log.h"
#include "tools/training.h"

namespace systole::tools {

struct ClassifierOptions {
  std::string command;  // finetune or supervised
  CommonOptions common;
  DataOptions data;
  TrainingOptions training;
  double label_fraction = 1;
  std::string loss = "focal";                   // bce, focal, weighted or class_balanced
  std::string balance_strategy = "oversample";  // standard, stratified or oversample
  std::filesystem::path ssl_checkpoint;         // finetune; empty: a random encoder
  bool freeze_encoder = false;
  EncoderChoice encoder;  // where no checkpoint gives one
  std::filesystem::path out;
};

/// Adds what both commands have in common.
void add_classifier_options(CLI::App& command, ClassifierOptions& options);

/// Trains on a fraction of the labels of folds 1–8, keeps a copy of the weights with the best macro F1 on fold 9, and
/// writes it.
void train_classifier(ClassifierOptions options);

/// The probabilities of the records, in evaluation mode.
models::Predictions predict(models::Classifier& classifier, const Batches& batches, const std::vector<size_t>& records,
                            Device device);

}  // namespace systole::tools
