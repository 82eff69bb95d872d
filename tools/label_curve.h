// systole label-curve: how much pre-training is worth at which number of labels. For every fraction of the labelled
// records (folds 1–8), every seed and every arm a classifier is trained, chosen on fold 9 and tested once on fold 10.
// The arms: from scratch; a head on a frozen random encoder; and for each pre-trained encoder a head on it frozen, and
// the whole of it fine-tuned. Fractions, epochs and learning rates are those of Dade et al. (Heart Rhythm O2 2026,
// 10.1016/j.hroo.2026.01.016); the choice on a validation fold is ours, theirs was the best epoch on the test split.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/encoder.h"
#include "tools/classifier_training.h"
#include "tools/command.h"
#include "tools/ecg_data.h"
#include "tools/encoder_options.h"
#include "tools/model_file.h"

namespace systole::tools {

struct LabelCurveOptions {
  CommonOptions common;
  DataOptions data;
  EncoderChoice encoder;                                   // where there are no checkpoints
  std::vector<std::string> checkpoints;                    // FILE or NAME=FILE
  std::vector<double> fractions{0.01, 0.05, 0.1, 0.5, 1};  // ascending
  std::vector<int> epochs;         // of each fraction; given as one for each or one for all, empty: as published
  std::vector<int> frozen_epochs;  // of the heads on frozen encoders; empty: the same
  std::vector<uint64_t> seeds{42, 43, 44, 45, 46};
  std::vector<std::string> arms{"scratch", "frozen-random", "frozen", "finetuned"};
  double lr_scratch = 1e-3, lr_frozen = 0.02, lr_finetune = 1e-4, lr_head = 0.02;
  std::vector<double> frozen_weight_decay{0.001, 0.01, 0.1, 1};  // all are tried
  bool probe_first = false;  // fine-tuning starts with the head of the frozen encoder
  ClassifierRecipe recipe{.training = {.epochs = 0, .batch_size = 64}, .loss = "bce", .select = "auroc"};
  int bootstrap = 1000;  // replicates
  int jobs = 0;
  std::filesystem::path out;
  int worker_threads = 0;  // of a worker process; 0: this is the command itself
};

struct PretrainedEncoder {
  std::string name;
  std::filesystem::path path;
  EncoderFile file;
  std::string digest;  // of the file's bytes
};

struct Arm {
  enum class Kind { scratch, frozen, finetuned } kind;
  std::string name, label;
  const PretrainedEncoder* encoder = nullptr;  // null: random weights
};

/// One classifier to train.
struct LabelCurveRun {
  size_t arm, fraction;  // places
  uint64_t seed;
};

/// What all runs share.
struct LabelCurve {
  LabelCurve() = default;
  LabelCurve(LabelCurve&&) = default;  // and no copies: arms point to encoders

  LabelCurveOptions options;
  Device device = Device::cpu;
  std::vector<PretrainedEncoder> encoders;
  std::vector<Arm> arms;
  data::Dataset dataset;
  std::vector<size_t> training, validation, test;  // records of folds 1–8, 9 and 10
  data::Normalization normalization;
  models::EncoderOptions network;
  int length = 0;  // L, samples of a view

  /// By fraction, then by seed, then by arm: an interrupted curve has whole points at few labels.
  std::vector<LabelCurveRun> runs() const;
  int epochs(Arm::Kind kind, size_t fraction) const;
  std::filesystem::path file(const LabelCurveRun& run) const;
  std::string fraction_name(size_t fraction) const;
};

/// "scratch_0.1_42.json", what the file of a run is named.
std::string run_file_name(const std::string& arm, double fraction, uint64_t seed);

/// Checks the options and reads encoders and data. Throws UsageError for options that do not go together, and Error for
/// files that do not.
LabelCurve prepare_label_curve(LabelCurveOptions options);

}  // namespace systole::tools
