#include "tools/label_curve_run.h"

#include <chrono>
#include <cmath>

#include "data/label_fraction.h"

namespace systole::tools {
namespace {

/// A classifier as an arm begins with it.
struct Start {
  ParameterStore store;
  models::Classifier classifier;

  Start(const LabelCurve& curve, const Arm& arm, uint64_t seed)
      : classifier(store, curve.network, static_cast<int>(curve.dataset.classes.size())) {
    store.allocate(curve.device, seed);
    if (arm.encoder)
      store.load_state(arm.encoder->file.arrays, models::Classifier::kEncoderPrefix, arm.encoder->path.string());
  }
};

/// What is written is what is evaluated: probabilities of six digits.
void round_probabilities(models::Predictions& p) {
  for (float& probability : p.probability)
    probability = static_cast<float>(std::round(double{probability} * 1e6) / 1e6);
}

nlohmann::ordered_json rows_of(const models::Predictions& p) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (size_t record = 0; record < p.records; ++record) {
    nlohmann::ordered_json row = nlohmann::ordered_json::array();
    for (size_t c = 0; c < p.classes; ++c)
      row.push_back(std::round(double{p.probability[record * p.classes + c]} * 1e6) / 1e6);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

LabelCurveRunner::LabelCurveRunner(const LabelCurve& curve)
    : curve_(curve), batches_(curve.dataset, curve.normalization, curve.length, curve.device) {}

ClassifierRecipe LabelCurveRunner::recipe(Arm::Kind kind, size_t fraction) const {
  const LabelCurveOptions& o = curve_.options;
  ClassifierRecipe recipe = o.recipe;
  recipe.training.epochs = curve_.epochs(kind, fraction);
  switch (kind) {
    case Arm::Kind::scratch:
      recipe.training.learning_rate = o.lr_scratch;
      break;
    case Arm::Kind::frozen:
      recipe.training.learning_rate = o.lr_frozen;
      break;
    case Arm::Kind::finetuned:
      recipe.training.learning_rate = o.lr_finetune;
      recipe.head_learning_rate = o.lr_head;
      break;
  }
  return recipe;
}

/// Of all records, which takes no labels: neither does BatchNorm's calibration of a random encoder.
const Features& LabelCurveRunner::features(const Arm& arm, uint64_t seed) {
  const std::pair key(arm.encoder, arm.encoder ? 0 : seed);
  if (const auto found = features_.find(key); found != features_.end()) return found->second;
  Start start(curve_, arm, seed);
  models::Encoder& encoder = start.classifier.encoder();
  Arena arena(curve_.device);
  if (!arm.encoder) calibrate(encoder, batches_, curve_.training, arena);
  std::vector<size_t> records = curve_.training;
  for (const std::vector<size_t>* fold : {&curve_.validation, &curve_.test})
    records.insert(records.end(), fold->begin(), fold->end());
  return features_.emplace(key, compute_features(encoder, batches_, records)).first->second;
}

/// A head for each weight decay; the one that does best on the validation records. Features are standardised by all
/// training records, which takes no labels: mean and deviation of few labelled ones would be poor.
LabelCurveRunner::Head LabelCurveRunner::best_head(const Arm& arm, const Problem& problem) {
  Head best;
  ClassifierRecipe how = recipe(Arm::Kind::frozen, problem.run.fraction);
  for (const double weight_decay : curve_.options.frozen_weight_decay) {
    how.training.weight_decay = weight_decay;
    auto head =
        std::make_unique<FrozenHead>(features(arm, problem.run.seed), curve_.training,
                                     static_cast<int>(curve_.dataset.classes.size()), curve_.device, problem.run.seed);
    const EpochReport report = fit(head_alone(*head, batches_), problem.fitting(*this, how));
    if (!best.weights || is_better(report.validation, best.report.validation, how.select))
      best = {report, std::move(head)};
  }
  return best;
}

LabelCurveRunner::Trained LabelCurveRunner::train_head(const Arm& arm, const Problem& problem) {
  const Head head = best_head(arm, problem);
  return {head.report, head_alone(*head.weights, batches_).predict(curve_.test)};
}

LabelCurveRunner::Trained LabelCurveRunner::train_whole(const Arm& arm, const Problem& problem) {
  Start start(curve_, arm, problem.run.seed);
  if (curve_.options.probe_first && arm.encoder) best_head(arm, problem).weights->copy_to(start.classifier.head());
  const Trainee trainee = whole_classifier(start.classifier, start.store, batches_, problem.run.seed);
  const ClassifierRecipe how = recipe(arm.kind, problem.run.fraction);
  const EpochReport best = fit(trainee, problem.fitting(*this, how));
  return {best, trainee.predict(curve_.test)};
}

nlohmann::ordered_json LabelCurveRunner::run(const LabelCurveRun& run) {
  const auto begin = std::chrono::steady_clock::now();
  const Arm& arm = curve_.arms[run.arm];
  const double fraction = curve_.options.fractions[run.fraction];
  const std::vector<size_t> labelled = data::sample_label_fraction(curve_.dataset, curve_.training, fraction, run.seed);
  const Problem problem{run, labelled};
  Trained trained = arm.kind == Arm::Kind::frozen ? train_head(arm, problem) : train_whole(arm, problem);
  round_probabilities(trained.test);

  const models::QuickMetrics validation = trained.best.validation;
  nlohmann::ordered_json result{{"arm", arm.name},
                                {"fraction", fraction},
                                {"seed", run.seed},
                                {"epochs", curve_.epochs(arm.kind, run.fraction)},
                                {"labelled_records", labelled.size()},
                                {"best_epoch", trained.best.epoch},
                                {"validation", {{"auroc", validation.macro_auroc}, {"f1", validation.macro_f1}}}};
  result["test"] = models::to_json(models::evaluate(trained.test, {.replicates = 0}));
  result["probabilities"] = rows_of(trained.test);
  result["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

}  // namespace systole::tools
