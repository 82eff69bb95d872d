#include "tools/label_curve_summary.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

#include "benchmarks/origin.h"
#include "tools/label_curve_settings.h"

namespace systole::tools {
namespace {

using models::Metric;
using models::PairedBootstrap;
using nlohmann::ordered_json;

constexpr size_t kRocPoints = 200;  // at most, of one curve

ordered_json number(double value) {
  return std::isnan(value) ? ordered_json() : ordered_json(value);
}
double number(const ordered_json& value) {
  return value.is_null() ? std::nan("") : value.get<double>();
}

ordered_json json_of(const Metric& metric) {
  return {{"mean", number(metric.value)}, {"low", number(metric.low)}, {"high", number(metric.high)}};
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Of a sample, so with n − 1; undefined for a single value.
double standard_deviation(const std::vector<double>& values) {
  const double centre = mean(values);
  double squares = 0;
  for (double value : values) squares += std::pow(value - centre, 2);
  return values.size() > 1 ? std::sqrt(squares / static_cast<double>(values.size() - 1)) : std::nan("");
}

models::Predictions test_predictions(const LabelCurve& curve, const ordered_json& rows) {
  models::Predictions p{curve.test.size(), curve.dataset.classes.size(), {}, {}, {}, curve.dataset.classes};
  for (size_t record : curve.test) {
    p.patient.push_back(curve.dataset.patient_id[record]);
    for (size_t c = 0; c < p.classes; ++c) p.label.push_back(curve.dataset.label(record, c));
  }
  for (const ordered_json& row : rows)
    for (const ordered_json& probability : row) p.probability.push_back(probability.get<float>());
  return p;
}

/// The runs of one arm at one fraction: one for each seed, by their place.
std::vector<size_t> runs_of(const std::vector<LabelCurveResult>& results, size_t arm, size_t fraction) {
  std::vector<size_t> places;
  for (size_t i = 0; i < results.size(); ++i)
    if (results[i].run.arm == arm && results[i].run.fraction == fraction) places.push_back(i);
  return places;
}

ordered_json with_deviation(const PairedBootstrap& bootstrap, size_t metric, const std::vector<size_t>& of) {
  std::vector<double> values;
  for (size_t i : of) values.push_back(bootstrap.value(metric, i));
  const Metric m = bootstrap.mean(metric, of);
  return {{"mean", number(m.value)},
          {"sd", number(standard_deviation(values))},
          {"low", number(m.low)},
          {"high", number(m.high)}};
}

/// Everything about one arm at one fraction.
ordered_json point(const LabelCurve& curve, const std::vector<LabelCurveResult>& results,
                   const PairedBootstrap& bootstrap, size_t arm, size_t fraction) {
  const std::vector<size_t> of = runs_of(results, arm, fraction);
  std::vector<double> labelled, validation;
  for (size_t i : of) {
    labelled.push_back(static_cast<double>(results[i].labelled_records));
    validation.push_back(results[i].validation.macro_auroc);
  }
  ordered_json json{{"arm", curve.arms[arm].name},
                    {"fraction", curve.options.fractions[fraction]},
                    {"labelled_records", mean(labelled)},
                    {"seeds", of.size()},
                    {"auroc", with_deviation(bootstrap, PairedBootstrap::macro_auroc, of)},
                    {"f1", with_deviation(bootstrap, PairedBootstrap::macro_f1, of)},
                    {"class_auroc", ordered_json::array()},
                    {"validation_auroc", number(mean(validation))}};
  for (size_t c = 0; c < curve.dataset.classes.size(); ++c)
    json["class_auroc"].push_back(json_of(bootstrap.mean(PairedBootstrap::first_class_auroc + c, of)));
  const auto scratch = std::ranges::find(curve.arms, Arm::Kind::scratch, &Arm::kind);
  if (scratch != curve.arms.end() && curve.arms[arm].kind != Arm::Kind::scratch)
    json["gain"] =
        json_of(bootstrap.difference(PairedBootstrap::macro_auroc, of,
                                     runs_of(results, static_cast<size_t>(scratch - curve.arms.begin()), fraction)));
  return json;
}

/// At most kRocPoints of the values, evenly spread, with the first and the last.
std::vector<double> thinned(const std::vector<double>& values) {
  if (values.size() <= kRocPoints) return values;
  std::vector<double> kept;
  for (size_t i = 0; i < kRocPoints; ++i) kept.push_back(values[i * (values.size() - 1) / (kRocPoints - 1)]);
  return kept;
}

/// The curves of the mean probabilities over the seeds, one for each class.
void append_roc(const LabelCurve& curve, const std::vector<LabelCurveResult>& results, size_t arm, size_t fraction,
                ordered_json& roc) {
  const std::vector<size_t> of = runs_of(results, arm, fraction);
  models::Predictions p = results[of.front()].test;
  for (size_t i = 0; i < p.probability.size(); ++i) {
    double sum = 0;
    for (size_t run : of) sum += results[run].test.probability[i];
    p.probability[i] = static_cast<float>(sum / static_cast<double>(of.size()));
  }
  for (size_t c = 0; c < p.classes; ++c) {
    const models::RocCurve line = models::roc_curve(p, c);
    roc.push_back({{"arm", curve.arms[arm].name},
                   {"fraction", curve.options.fractions[fraction]},
                   {"class", p.class_names[c]},
                   {"false_positive_rate", thinned(line.false_positive_rate)},
                   {"true_positive_rate", thinned(line.true_positive_rate)}});
  }
}

size_t patients(const data::Dataset& dataset, const std::vector<size_t>& records) {
  std::set<int64_t> ids;
  for (size_t r : records) ids.insert(dataset.patient_id[r]);
  return ids.size();
}

std::vector<size_t> positives(const data::Dataset& dataset, const std::vector<size_t>& records) {
  std::vector<size_t> count(dataset.classes.size(), 0);
  for (size_t r : records)
    for (size_t c = 0; c < count.size(); ++c) count[c] += dataset.label(r, c);
  return count;
}

/// For the reader of the results: what the runs depend on, where the encoders come from, when and by what it was made.
ordered_json description(const LabelCurve& curve) {
  ordered_json settings{{"command", fmt::format("{}", fmt::join(command_line(), " "))}};
  settings.update(settings_of(curve));
  settings.erase("classes");
  settings.erase("normalisation");
  settings.erase("--ssl-checkpoint");
  for (const PretrainedEncoder& e : curve.encoders) {
    settings["encoder " + e.name] = e.path.string();
    settings["pre-training of " + e.name] = ordered_json(e.file.description.run);
  }
  settings["bootstrap replicates"] = curve.options.bootstrap;
  settings["data set"] = curve.dataset.name;
  settings["date"] = benchmarks::now();
  settings["version"] = fmt::format("systole {}, commit {}", SYSTOLE_VERSION, benchmarks::commit());
  return settings;
}

ordered_json run_json(const LabelCurve& curve, const LabelCurveResult& r, const PairedBootstrap& bootstrap, size_t i) {
  return {{"arm", curve.arms[r.run.arm].name},
          {"fraction", curve.options.fractions[r.run.fraction]},
          {"seed", r.run.seed},
          {"labelled_records", r.labelled_records},
          {"best_epoch", r.best_epoch},
          {"validation_auroc", number(r.validation.macro_auroc)},
          {"test_auroc", number(bootstrap.value(PairedBootstrap::macro_auroc, i))},
          {"test_f1", number(bootstrap.value(PairedBootstrap::macro_f1, i))},
          {"seconds", r.seconds}};
}

}  // namespace

std::vector<LabelCurveResult> read_results(const LabelCurve& curve) {
  std::vector<LabelCurveResult> results;
  for (const LabelCurveRun& run : curve.runs()) {
    const ordered_json json = read_run(curve, run);
    results.push_back({run,
                       json["labelled_records"],
                       json["best_epoch"],
                       {number(json["validation"]["auroc"]), number(json["validation"]["f1"])},
                       json["seconds"],
                       test_predictions(curve, json["probabilities"])});
  }
  return results;
}

ordered_json summarize(const LabelCurve& curve, const std::vector<LabelCurveResult>& results) {
  std::vector<models::Predictions> predictions;
  for (const LabelCurveResult& r : results) predictions.push_back(r.test);
  const PairedBootstrap bootstrap(predictions, {.replicates = curve.options.bootstrap});

  ordered_json json{
      {"title", fmt::format("Label efficiency on {}: {}", curve.dataset.name, curve.network.name)},
      {"settings", description(curve)},
      {"classes", curve.dataset.classes},
      {"fractions", curve.options.fractions},
      {"seeds", curve.options.seeds},
      {"records",
       {{"training", curve.training.size()}, {"validation", curve.validation.size()}, {"test", curve.test.size()}}},
      {"patients",
       {{"training", patients(curve.dataset, curve.training)},
        {"validation", patients(curve.dataset, curve.validation)},
        {"test", patients(curve.dataset, curve.test)}}},
      {"test_positives", positives(curve.dataset, curve.test)}};
  for (const char* list : {"arms", "points", "roc", "runs"}) json[list] = ordered_json::array();
  for (size_t arm = 0; arm < curve.arms.size(); ++arm) {
    json["arms"].push_back({{"name", curve.arms[arm].name}, {"label", curve.arms[arm].label}});
    if (curve.arms[arm].encoder) json["arms"].back()["encoder"] = curve.arms[arm].encoder->name;
    for (size_t fraction = 0; fraction < curve.options.fractions.size(); ++fraction) {
      json["points"].push_back(point(curve, results, bootstrap, arm, fraction));
      append_roc(curve, results, arm, fraction, json["roc"]);
    }
  }
  for (size_t i = 0; i < results.size(); ++i) json["runs"].push_back(run_json(curve, results[i], bootstrap, i));
  return json;
}

std::string to_csv(const LabelCurve& curve, const std::vector<LabelCurveResult>& results) {
  std::string csv =
      "arm,fraction,seed,labelled_records,best_epoch,validation_auroc,validation_f1,test_auroc,test_f1,"
      "test_sensitivity,test_specificity";
  for (const std::string& name : curve.dataset.classes) csv += ",test_auroc_" + name;
  csv += ",seconds\n";
  const auto cell = [](double value) { return std::isnan(value) ? std::string() : fmt::format("{:.6f}", value); };
  for (const LabelCurveResult& r : results) {
    const models::Evaluation e = models::evaluate(r.test, {.replicates = 0});
    csv += fmt::format("{},{},{},{},{}", curve.arms[r.run.arm].name, curve.fraction_name(r.run.fraction), r.run.seed,
                       r.labelled_records, r.best_epoch);
    for (double value : {r.validation.macro_auroc, r.validation.macro_f1, e.macro_auroc.value, e.macro_f1.value,
                         e.micro_sensitivity.value, e.micro_specificity.value})
      csv += "," + cell(value);
    for (const models::ClassMetrics& c : e.classes) csv += "," + cell(c.auroc.value);
    csv += fmt::format(",{:.1f}\n", r.seconds);
  }
  return csv;
}

}  // namespace systole::tools
