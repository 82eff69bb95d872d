// What comes of a label curve: for every arm and fraction the mean over the seeds with its interval, and the gain over
// training from scratch.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/metrics.h"
#include "tools/label_curve.h"

namespace systole::tools {

/// A finished run, as its file says.
struct LabelCurveResult {
  LabelCurveRun run;
  int64_t labelled_records;
  int best_epoch;
  models::QuickMetrics validation;
  double seconds;
  models::Predictions test;
};

/// Reads the runs of a curve, all of which are there.
std::vector<LabelCurveResult> read_results(const LabelCurve& curve);

/// The object of label_curve.json. Intervals: the patients of the test fold are drawn once per replicate, for all runs.
nlohmann::ordered_json summarize(const LabelCurve& curve, const std::vector<LabelCurveResult>& results);

/// A line for each run: label_curve.csv.
std::string to_csv(const LabelCurve& curve, const std::vector<LabelCurveResult>& results);

/// The means and gains of a summary, to read: arms by fractions.
std::string to_table(const nlohmann::ordered_json& summary);

}  // namespace systole::tools
