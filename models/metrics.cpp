// The bootstrap sorts once: a replicate only changes how often each record counts, and with counts as weights one walk
// through the sorted records gives the AUROC (in whole numbers, so exactly) and the confusion matrix.

#include "models/metrics.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <numeric>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace systole::models {
namespace {

constexpr float kThreshold = 0.5f;
constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
constexpr double kLow = 0.025, kHigh = 0.975;

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : kUndefined;
}

struct Confusion {
  int64_t true_positives = 0, false_positives = 0, true_negatives = 0, false_negatives = 0;

  double f1() const { return ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives); }
  double sensitivity() const { return ratio(true_positives, true_positives + false_negatives); }
  double specificity() const { return ratio(true_negatives, true_negatives + false_positives); }

  Confusion& operator+=(const Confusion& other) {
    true_positives += other.true_positives;
    false_positives += other.false_positives;
    true_negatives += other.true_negatives;
    false_negatives += other.false_negatives;
    return *this;
  }
};

/// The records of one class by rising probability.
struct Ranking {
  struct Place {
    uint32_t record;
    bool positive;
    bool last_of_tie;  // the next record has a higher probability
  };
  std::vector<Place> places;
  size_t first_predicted;  // the place from which on the probability is at least kThreshold

  Ranking(const Predictions& p, size_t c) : places(p.records) {
    const auto probability = [&](uint32_t record) { return p.probability[record * p.classes + c]; };
    std::vector<uint32_t> order(p.records);
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::stable_sort(order, {}, probability);
    for (size_t i = 0; i < order.size(); ++i) {
      const bool last = i + 1 == order.size() || probability(order[i + 1]) > probability(order[i]);
      places[i] = {order[i], p.label[order[i] * p.classes + c] != 0, last};
    }
    first_predicted = static_cast<size_t>(std::ranges::lower_bound(order, kThreshold, {}, probability) - order.begin());
  }
};

/// The metrics of one (re)sample in a row: four for each class, then four over all classes.
enum PerClass { kAuroc, kF1, kSensitivity, kSpecificity, kPerClass };
enum Overall { kMacroAuroc, kMacroF1, kMicroSensitivity, kMicroSpecificity, kOverall };

/// Counts record r weight[r] times. Writes the AUROC and returns the confusion matrix.
Confusion measure(const Ranking& ranking, const std::vector<uint32_t>& weight, double& auroc) {
  int64_t positives = 0, negatives = 0;            // up to the last tie
  int64_t tied_positives = 0, tied_negatives = 0;  // in the present one
  int64_t twice_wins = 0;            // 2 · (pairs in which the positive is above) + (pairs that are equal)
  int64_t missed = 0, rejected = 0;  // positives and negatives below the threshold
  for (size_t i = 0; i < ranking.places.size(); ++i) {
    const Ranking::Place place = ranking.places[i];
    const int64_t count = weight[place.record];
    tied_positives += place.positive ? count : 0;
    tied_negatives += place.positive ? 0 : count;
    if (!place.last_of_tie) continue;
    twice_wins += tied_positives * (2 * negatives + tied_negatives);
    positives += tied_positives;
    negatives += tied_negatives;
    tied_positives = tied_negatives = 0;
    if (i < ranking.first_predicted) {
      missed = positives;
      rejected = negatives;
    }
  }
  auroc = ratio(twice_wins, 2 * positives * negatives);
  return {positives - missed, negatives - rejected, rejected, missed};
}

/// The mean of every `stride`-th value from `first` on, as far as they are defined.
double mean_of_defined(const std::vector<double>& values, size_t first, size_t stride, size_t count) {
  double sum = 0;
  int64_t defined = 0;
  for (size_t i = 0; i < count; ++i) {
    const double value = values[first + i * stride];
    if (std::isnan(value)) continue;
    sum += value;
    ++defined;
  }
  return defined ? sum / static_cast<double>(defined) : kUndefined;
}

std::vector<double> metrics_of(const std::vector<Ranking>& rankings, const std::vector<uint32_t>& weight) {
  const size_t classes = rankings.size();
  std::vector<double> values(classes * kPerClass + kOverall);
  Confusion all;
  for (size_t c = 0; c < classes; ++c) {
    double* of_class = &values[c * kPerClass];
    const Confusion confusion = measure(rankings[c], weight, of_class[kAuroc]);
    of_class[kF1] = confusion.f1();
    of_class[kSensitivity] = confusion.sensitivity();
    of_class[kSpecificity] = confusion.specificity();
    all += confusion;
  }
  double* overall = &values[classes * kPerClass];
  overall[kMacroAuroc] = mean_of_defined(values, kAuroc, kPerClass, classes);
  overall[kMacroF1] = mean_of_defined(values, kF1, kPerClass, classes);
  overall[kMicroSensitivity] = all.sensitivity();
  overall[kMicroSpecificity] = all.specificity();
  return values;
}

void check(const Predictions& p) {
  const size_t cells = p.records * p.classes;
  if (p.records == 0 || p.classes == 0)
    throw Error(fmt::format("{} records and {} classes cannot be evaluated", p.records, p.classes));
  if (p.probability.size() != cells || p.label.size() != cells || p.patient.size() != p.records ||
      p.class_names.size() != p.classes)
    throw Error(fmt::format(
        "predictions of {} records and {} classes have {} probabilities, {} labels, {} patients and {} class names",
        p.records, p.classes, p.probability.size(), p.label.size(), p.patient.size(), p.class_names.size()));
  for (size_t i = 0; i < cells; ++i) {
    const std::string& name = p.class_names[i % p.classes];
    if (!(p.probability[i] >= 0 && p.probability[i] <= 1))
      throw Error(fmt::format("the probability of {} for record {} is {}, a number from 0 to 1 was expected", name,
                              i / p.classes, p.probability[i]));
    if (p.label[i] > 1)
      throw Error(fmt::format("the label {} of record {} is {}, 0 or 1 was expected", name, i / p.classes, p.label[i]));
  }
}

std::vector<Ranking> rankings_of(const Predictions& predictions) {
  std::vector<Ranking> rankings;
  for (size_t c = 0; c < predictions.classes; ++c) rankings.emplace_back(predictions, c);
  return rankings;
}

/// The patients numbered from 0 in the order of their ids; returns how many there are.
size_t number_patients(const std::vector<int64_t>& ids, std::vector<uint32_t>& number) {
  std::vector<int64_t> distinct = ids;
  std::ranges::sort(distinct);
  distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
  number.resize(ids.size());
  for (size_t i = 0; i < ids.size(); ++i)
    number[i] = static_cast<uint32_t>(std::ranges::lower_bound(distinct, ids[i]) - distinct.begin());
  return distinct.size();
}

/// How often each record counts in one replicate: as often as its patient was drawn.
std::vector<uint32_t> resample(const RandomStream& stream, const std::vector<uint32_t>& patient, size_t patients) {
  std::vector<uint32_t> drawn(patients, 0), weight(patient.size());
  const auto count = static_cast<uint32_t>(patients);
  for (uint32_t i = 0; i < count; ++i) ++drawn[stream.below(i, count)];
  for (size_t record = 0; record < weight.size(); ++record) weight[record] = drawn[patient[record]];
  return weight;
}

/// The quantile of sorted values, linear between neighbours (type 7 of Hyndman and Fan, 1996).
double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return kUndefined;
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], position - static_cast<double>(below));
}

/// A value with the percentiles of its replicates, as far as they are defined.
Metric interval(double value, std::vector<double> replicates) {
  if (std::isnan(value)) return {};
  std::erase_if(replicates, [](double replicate) { return std::isnan(replicate); });
  std::ranges::sort(replicates);
  return {value, quantile(replicates, kLow), quantile(replicates, kHigh)};
}

/// The mean of metric number `metric` over some predictions, which have `metrics` each.
double mean_over(const std::vector<double>& values, size_t metrics, size_t metric, const std::vector<size_t>& of) {
  double sum = 0;
  for (size_t prediction : of) sum += values[prediction * metrics + metric];
  return sum / static_cast<double>(of.size());
}

bool on_a_line(const std::pair<int64_t, int64_t>& a, const std::pair<int64_t, int64_t>& b,
               const std::pair<int64_t, int64_t>& c) {
  return (b.first - a.first) * (c.second - b.second) == (c.first - b.first) * (b.second - a.second);
}

std::string cell(const Metric& metric) {
  if (std::isnan(metric.value)) return "-";
  if (std::isnan(metric.low)) return fmt::format("{:.3f}", metric.value);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", metric.value, metric.low, metric.high);
}

nlohmann::json json_of(const Metric& metric) {
  const auto number = [](double value) { return std::isnan(value) ? nlohmann::json() : nlohmann::json(value); };
  return {{"value", number(metric.value)}, {"low", number(metric.low)}, {"high", number(metric.high)}};
}

}  // namespace

Evaluation evaluate(const Predictions& predictions, const EvaluateOptions& options) {
  check(predictions);
  const std::vector<Ranking> rankings = rankings_of(predictions);
  std::vector<uint32_t> patient;
  const size_t patients = number_patients(predictions.patient, patient);

  const std::vector<double> values = metrics_of(rankings, std::vector<uint32_t>(predictions.records, 1));
  std::vector<std::vector<double>> replicates(static_cast<size_t>(std::max(options.replicates, 0)));
  parallel_for(static_cast<int64_t>(replicates.size()), [&](int64_t i) {
    const RandomStream stream(options.seed, Purpose::bootstrap, 0, static_cast<uint32_t>(i));
    replicates[static_cast<size_t>(i)] = metrics_of(rankings, resample(stream, patient, patients));
  });

  const auto metric = [&](size_t i) {
    std::vector<double> replicated;
    for (const std::vector<double>& replicate : replicates) replicated.push_back(replicate[i]);
    return interval(values[i], std::move(replicated));
  };
  Evaluation evaluation{predictions.records, patients, static_cast<int>(replicates.size()), {}, {}, {}, {}, {}};
  for (size_t c = 0; c < predictions.classes; ++c) {
    size_t positives = 0;
    for (const Ranking::Place& place : rankings[c].places) positives += place.positive;
    const size_t first = c * kPerClass;
    evaluation.classes.push_back({predictions.class_names[c], positives, metric(first + kAuroc), metric(first + kF1),
                                  metric(first + kSensitivity), metric(first + kSpecificity)});
  }
  const size_t overall = predictions.classes * kPerClass;
  evaluation.macro_auroc = metric(overall + kMacroAuroc);
  evaluation.macro_f1 = metric(overall + kMacroF1);
  evaluation.micro_sensitivity = metric(overall + kMicroSensitivity);
  evaluation.micro_specificity = metric(overall + kMicroSpecificity);
  return evaluation;
}

QuickMetrics quick_metrics(const Predictions& predictions) {
  const Evaluation evaluation = evaluate(predictions, {.replicates = 0});
  return {evaluation.macro_auroc.value, evaluation.macro_f1.value};
}

PairedBootstrap::PairedBootstrap(const std::vector<Predictions>& predictions, const EvaluateOptions& options)
    : values_(1 + static_cast<size_t>(std::max(options.replicates, 0))) {
  if (predictions.empty()) throw Error("without predictions there is nothing to compare");
  const Predictions& first = predictions.front();
  const size_t classes = first.classes;
  metrics_ = first_class_auroc + classes;
  std::vector<std::vector<Ranking>> rankings;
  for (const Predictions& p : predictions) {
    check(p);
    if (p.label != first.label || p.patient != first.patient || p.classes != classes)
      throw Error("predictions of different records, labels or patients cannot be compared pair by pair");
    rankings.push_back(rankings_of(p));
  }
  std::vector<uint32_t> patient;
  const size_t patients = number_patients(first.patient, patient);
  parallel_for(static_cast<int64_t>(values_.size()), [&](int64_t i) {
    const RandomStream stream(options.seed, Purpose::bootstrap, 0, static_cast<uint32_t>(i - 1));
    const std::vector<uint32_t> weight =
        i == 0 ? std::vector<uint32_t>(first.records, 1) : resample(stream, patient, patients);
    for (const std::vector<Ranking>& ranking : rankings) {
      const std::vector<double> all = metrics_of(ranking, weight);
      std::vector<double>& values = values_[static_cast<size_t>(i)];
      values.push_back(all[classes * kPerClass + kMacroAuroc]);
      values.push_back(all[classes * kPerClass + kMacroF1]);
      for (size_t c = 0; c < classes; ++c) values.push_back(all[c * kPerClass + kAuroc]);
    }
  });
}

template <class Statistic>
Metric PairedBootstrap::with_interval(const Statistic& statistic) const {
  std::vector<double> replicates;
  for (size_t i = 1; i < values_.size(); ++i) replicates.push_back(statistic(values_[i]));
  return interval(statistic(values_[0]), std::move(replicates));
}

Metric PairedBootstrap::mean(size_t metric, const std::vector<size_t>& of) const {
  return with_interval([&](const std::vector<double>& values) { return mean_over(values, metrics_, metric, of); });
}

Metric PairedBootstrap::difference(size_t metric, const std::vector<size_t>& of,
                                   const std::vector<size_t>& minus) const {
  return with_interval([&](const std::vector<double>& values) {
    return mean_over(values, metrics_, metric, of) - mean_over(values, metrics_, metric, minus);
  });
}

RocCurve roc_curve(const Predictions& predictions, size_t c) {
  check(predictions);
  const Ranking ranking(predictions, c);
  const auto positives = std::ranges::count_if(ranking.places, &Ranking::Place::positive);
  const auto negatives = static_cast<int64_t>(ranking.places.size()) - positives;
  if (positives == 0 || negatives == 0) return {};
  std::vector<std::pair<int64_t, int64_t>> counts{{0, 0}};  // false and true positives as the threshold falls
  int64_t false_positives = 0, true_positives = 0;
  for (size_t i = ranking.places.size(); i-- > 0;) {
    ++(ranking.places[i].positive ? true_positives : false_positives);
    if (i > 0 && !ranking.places[i - 1].last_of_tie) continue;
    if (counts.size() > 1 && on_a_line(counts[counts.size() - 2], counts.back(), {false_positives, true_positives}))
      counts.pop_back();
    counts.emplace_back(false_positives, true_positives);
  }
  RocCurve curve;
  for (const auto& [fp, tp] : counts) {
    curve.false_positive_rate.push_back(ratio(fp, negatives));
    curve.true_positive_rate.push_back(ratio(tp, positives));
  }
  return curve;
}

std::string to_table(const Evaluation& evaluation) {
  size_t width = 5;
  for (const ClassMetrics& c : evaluation.classes) width = std::max(width, c.name.size());
  const auto line = [&](const std::string& name, const std::string& positives, const std::string& auroc,
                        const std::string& f1, const std::string& sensitivity, const std::string& specificity) {
    std::string text = fmt::format("{:<{}}  {:>9}  {:<20}  {:<20}  {:<20}  {}", name, width, positives, auroc, f1,
                                   sensitivity, specificity);
    text.erase(text.find_last_not_of(' ') + 1);
    return text + '\n';
  };
  std::string table = fmt::format("{} records of {} patients", evaluation.records, evaluation.patients);
  if (evaluation.replicates)
    table +=
        fmt::format("; in brackets the 95 % interval, {} bootstrap replicates over patients", evaluation.replicates);
  table += "\n\n" + line("class", "positives", "AUROC", "F1", "sensitivity", "specificity");
  for (const ClassMetrics& c : evaluation.classes)
    table += line(c.name, fmt::format("{}", c.positives), cell(c.auroc), cell(c.f1), cell(c.sensitivity),
                  cell(c.specificity));
  table += line("macro", "", cell(evaluation.macro_auroc), cell(evaluation.macro_f1), "", "");
  table += line("micro", "", "", "", cell(evaluation.micro_sensitivity), cell(evaluation.micro_specificity));
  return table;
}

nlohmann::json to_json(const Evaluation& evaluation) {
  nlohmann::json classes = nlohmann::json::array();
  for (const ClassMetrics& c : evaluation.classes)
    classes.push_back({{"name", c.name},
                       {"positives", c.positives},
                       {"auroc", json_of(c.auroc)},
                       {"f1", json_of(c.f1)},
                       {"sensitivity", json_of(c.sensitivity)},
                       {"specificity", json_of(c.specificity)}});
  return {{"records", evaluation.records},
          {"patients", evaluation.patients},
          {"replicates", evaluation.replicates},
          {"threshold", kThreshold},
          {"macro", {{"auroc", json_of(evaluation.macro_auroc)}, {"f1", json_of(evaluation.macro_f1)}}},
          {"micro",
           {{"sensitivity", json_of(evaluation.micro_sensitivity)},
            {"specificity", json_of(evaluation.micro_specificity)}}},
          {"classes", std::move(classes)}};
}

}  // namespace systole::models
