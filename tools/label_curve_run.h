// One run of a label curve: a classifier trained on the labels of some records, and what it says about the test
// records.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "tools/label_curve.h"

namespace systole::tools {

/// Trains the classifiers of a label curve, one after the other. The features of a frozen encoder are computed once.
class LabelCurveRunner {
 public:
  explicit LabelCurveRunner(const LabelCurve& curve);
  LabelCurveRunner(const LabelCurveRunner&) = delete;

  /// {"arm", "fraction", "seed", "epochs", "labelled_records", "best_epoch", "validation": {"auroc", "f1"}, "test": as
  /// models::to_json, "probabilities": [test record][class] with six digits, "seconds"}. It depends on nothing but the
  /// curve and the run, except for the seconds. Test labels have no part in training or choice.
  nlohmann::ordered_json run(const LabelCurveRun& run);

 private:
  struct Trained {
    EpochReport best;
    models::Predictions test;
  };
  struct Problem {
    const LabelCurveRun& run;
    const std::vector<size_t>& labelled;  // records
    Fitting fitting(const LabelCurveRunner& runner, const ClassifierRecipe& recipe) const {
      return {recipe, runner.batches_, labelled, runner.curve_.validation, run.seed};
    }
  };
  struct Head {
    EpochReport report;
    std::unique_ptr<FrozenHead> weights;
  };
  Head best_head(const Arm& arm, const Problem& problem);
  Trained train_head(const Arm& arm, const Problem& problem);
  Trained train_whole(const Arm& arm, const Problem& problem);
  ClassifierRecipe recipe(Arm::Kind kind, size_t fraction) const;
  const Features& features(const Arm& arm, uint64_t seed);

  const LabelCurve& curve_;
  Batches batches_;
  std::map<std::pair<const PretrainedEncoder*, uint64_t>, Features> features_;  // by encoder and seed of random ones
};

}  // namespace systole::tools
