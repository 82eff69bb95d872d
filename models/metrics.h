// How good the probabilities of a multi-label classifier are, with 95 % bootstrap intervals over patients.
//   AUROC = P(probability of a positive > probability of a negative) + P(equal) / 2, the rank statistic of Mann and
//   Whitney F1 = 2 TP / (2 TP + FP + FN), sensitivity = TP / (TP + FN), specificity = TN / (TN + FP); predicted is
//   probability ≥ 0.5
// Macro is the mean over the classes for which a metric is defined, micro adds the counts of all classes.
// Interval: patients are drawn with replacement, each with all of its records; the 2.5th and 97.5th percentile of the
// replicates (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace systole::models {

struct Predictions {
  size_t records = 0, classes = 0;
  std::vector<float> probability;        // [records, classes]
  std::vector<uint8_t> label;            // [records, classes], 0 or 1
  std::vector<int64_t> patient;          // [records]
  std::vector<std::string> class_names;  // [classes]
};

/// NaN where a metric is undefined: an AUROC without positives or without negatives, a quotient 0 / 0.
struct Metric {
  double value = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();  // of the 95 % interval
  double high = std::numeric_limits<double>::quiet_NaN();
};

struct ClassMetrics {
  std::string name;
  size_t positives = 0;
  Metric auroc, f1, sensitivity, specificity;
};

struct Evaluation {
  size_t records = 0, patients = 0;
  int replicates = 0;
  std::vector<ClassMetrics> classes;
  Metric macro_auroc, macro_f1, micro_sensitivity, micro_specificity;
};

struct EvaluateOptions {
  int replicates = 1000;  // of the bootstrap; 0: no intervals
  uint64_t seed = 42;
};

/// All metrics of the predictions. A replicate for which a metric is undefined is left out of its interval. The result
/// does not depend on the number of threads. Throws Error for arrays of the wrong size, labels other than 0 and 1, and
/// probabilities outside [0, 1].
Evaluation evaluate(const Predictions& predictions, const EvaluateOptions& options = {});

/// What a model is selected by after an epoch: evaluate without intervals.
struct QuickMetrics {
  double macro_auroc, macro_f1;
};
QuickMetrics quick_metrics(const Predictions& predictions);

/// Metrics of several predictions of the same records, for example of runs with several seeds, and of their
/// differences. The patients of a replicate are drawn once for all of them, so the interval of a difference is a paired
/// one. A mean of one prediction has the value and the interval that evaluate gives it.
class PairedBootstrap {
 public:
  /// Throws Error as evaluate does, and for predictions whose records, labels or patients differ.
  PairedBootstrap(const std::vector<Predictions>& predictions, const EvaluateOptions& options = {});

  enum Name { macro_auroc, macro_f1, first_class_auroc };  // of class c: first_class_auroc + c
  /// The mean of a metric over some of the predictions, by their place. NaN where it is undefined for one of them.
  Metric mean(size_t metric, const std::vector<size_t>& of) const;
  /// That, minus the mean over others.
  Metric difference(size_t metric, const std::vector<size_t>& of, const std::vector<size_t>& minus) const;
  double value(size_t metric, size_t prediction) const { return values_[0][prediction * metrics_ + metric]; }

 private:
  template <class Statistic>
  Metric with_interval(const Statistic& statistic) const;

  size_t metrics_;                           // per prediction: two macro ones, and the AUROC of each class
  std::vector<std::vector<double>> values_;  // of the predictions themselves, then of each replicate
};

/// The receiver operating characteristic of a class: a point per distinct probability, from (0, 0) to (1, 1), those in
/// the middle of a straight line left out. Empty without positives or without negatives.
struct RocCurve {
  std::vector<double> false_positive_rate, true_positive_rate;
};
RocCurve roc_curve(const Predictions& predictions, size_t c);

/// A table to read: a line per class, then macro and micro; "-" where a metric is undefined.
std::string to_table(const Evaluation& evaluation);

/// {"records", "patients", "replicates", "threshold", "macro": {"auroc", "f1"}, "micro": {"sensitivity",
/// "specificity"}, "classes":
/// [{"name", "positives", "auroc", …}]}, each metric {"value", "low", "high"} with null where it is undefined.
nlohmann::json to_json(const Evaluation& evaluation);

}  // namespace systole::models
