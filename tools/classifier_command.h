// What the commands finetune and supervised share: their options, and the run from data set to classifier file.
#pragma once

#include <filesystem>
#include <string>

#include "tools/classifier_training.h"
#include "tools/command.h"
#include "tools/ecg_data.h"
#include "tools/encoder_options.h"

namespace systole::tools {

struct ClassifierOptions {
  std::string command;  // finetune or supervised
  CommonOptions common;
  DataOptions data;
  ClassifierRecipe recipe;
  double label_fraction = 1;
  std::filesystem::path ssl_checkpoint;  // finetune; empty: a random encoder
  bool freeze_encoder = false;
  EncoderChoice encoder;  // where no checkpoint gives one
  RunOptions run;
  std::filesystem::path out;
};

/// Adds what both commands have in common.
void add_classifier_options(CLI::App& command, ClassifierOptions& options);

/// Trains on a fraction of the labels of folds 1–8, keeps a copy of the weights that were best on fold 9, and writes
/// it.
void train_classifier(const CLI::App& command, ClassifierOptions options);

}  // namespace systole::tools
