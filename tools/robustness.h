// systole evaluate --robustness: the macro AUROC of a classifier when its records are corrupted, one corruption at a
// time and at stated levels. Signals are corrupted in millivolts, before they are normalised, by the augmentations of
// the views (augment/README.md), each at p = 1 and with a fixed strength:
//   white noise       each lead gets normal noise; level = 10 log10(variance of the lead in this record / of the noise)
//   baseline wander   each lead gets a sine of 0.3 Hz with a phase of its own; level = its amplitude
//   leads lost        so many leads, drawn for each record, are their mean throughout
//   time lost         one stretch of all leads, drawn for each record, is their mean; level = its share of the record
// What is drawn depends on the seed, the record's place in the data set and nothing else: neither on the classifier nor
// on the level, so that two classifiers see the same records, and the noise of one level is that of another, scaled.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "augment/recipe.h"
#include "models/classifier.h"
#include "models/metrics.h"
#include "tools/ecg_data.h"

namespace systole::tools {

struct Corruption {
  std::string name;            // white_noise
  std::string meaning;         // white noise
  std::string unit;            // dB
  std::string axis;            // signal-to-noise ratio, dB
  std::vector<double> levels;  // from mild to severe
  augment::Recipe (*recipe)(double level);
};
/// Those of records of so many leads, of which at least one is kept.
std::vector<Corruption> corruptions(int leads);

struct CorruptedResult {
  double level;
  models::Metric macro_auroc;
};
struct Robustness {
  models::Metric clean;  // macro AUROC
  std::vector<Corruption> corruptions;
  std::vector<std::vector<CorruptedResult>> results;  // of each corruption, at each of its levels
};

/// `clean` are the predictions of the records as they are. The seed of `options` draws the corruptions too.
Robustness measure_robustness(models::Classifier& classifier, const Batches& batches,
                              const std::vector<size_t>& records, const models::Predictions& clean,
                              const models::EvaluateOptions& options);

/// A table to read.
std::string to_table(const Robustness& robustness);
/// {"clean": metric, "corruptions": [{"name", "meaning", "axis", "unit", "levels": [{"level", "auroc": metric}]}]},
/// each metric
/// {"value", "low", "high"} with null where it is undefined.
nlohmann::ordered_json to_json(const Robustness& robustness);
/// A panel for each corruption, with the 95 % intervals as bands.
void plot_robustness(const std::filesystem::path& svg, const Robustness& robustness, const std::string& subtitle);

}  // namespace systole::tools
