#include "models/metrics.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "tests/support.h"

namespace systole::models {
namespace {

using test::sentence_of;

/// One class, one record per patient.
Predictions one_class(std::vector<float> probability, std::vector<uint8_t> label) {
  Predictions p{probability.size(), 1, std::move(probability), std::move(label), {}, {"MI"}};
  for (size_t i = 0; i < p.records; ++i) p.patient.push_back(static_cast<int64_t>(i));
  return p;
}

/// Random labels, and probabilities that know a little about them; `steps` sets how many values they take, so how many
/// ties there are.
Predictions random_predictions(size_t records, size_t classes, uint32_t which, int steps,
                               size_t records_per_patient = 2) {
  const RandomStream random(test::seed(), Purpose::test, 0, which);
  Predictions p{records, classes, {}, {}, {}, {}};
  uint32_t draw = 0;
  for (size_t i = 0; i < records * classes; ++i) {
    p.label.push_back(random.uniform(draw++) < 0.3f);
    const float score = 0.7f * random.uniform(draw++) + 0.3f * p.label.back();
    p.probability.push_back(std::round(score * static_cast<float>(steps)) / static_cast<float>(steps));
  }
  for (size_t i = 0; i < records; ++i) p.patient.push_back(static_cast<int64_t>(1000 - i / records_per_patient));
  for (size_t c = 0; c < classes; ++c) p.class_names.push_back(fmt::format("class{}", c));
  return p;
}

/// AUROC by its definition: all pairs of a positive and a negative.
double pair_counting(const Predictions& p, size_t c) {
  double wins = 0, pairs = 0;
  for (size_t i = 0; i < p.records; ++i)
    for (size_t j = 0; j < p.records; ++j) {
      if (!p.label[i * p.classes + c] || p.label[j * p.classes + c]) continue;
      const float positive = p.probability[i * p.classes + c], negative = p.probability[j * p.classes + c];
      wins += positive > negative ? 1 : positive == negative ? 0.5 : 0;
      ++pairs;
    }
  return wins / pairs;
}

std::vector<Metric> all_metrics(const Evaluation& e) {
  std::vector<Metric> metrics{e.macro_auroc, e.macro_f1, e.micro_sensitivity, e.micro_specificity};
  for (const ClassMetrics& c : e.classes) metrics.insert(metrics.end(), {c.auroc, c.f1, c.sensitivity, c.specificity});
  return metrics;
}

}  // namespace

TEST_CASE("metrics: the AUROC is the share of ordered pairs, ties counting half") {
  uint32_t which = 0;
  for (const int steps : {1, 2, 7, 100, 1'000'000}) {
    const Predictions p = random_predictions(157, 3, which++, steps);
    const Evaluation e = evaluate(p, {.replicates = 0});
    double sum = 0;
    for (size_t c = 0; c < p.classes; ++c) {
      CHECK(e.classes[c].auroc.value == doctest::Approx(pair_counting(p, c)).epsilon(1e-12));
      sum += e.classes[c].auroc.value;
    }
    CHECK(e.macro_auroc.value == doctest::Approx(sum / 3).epsilon(1e-12));
  }
}

TEST_CASE("metrics: counts at the threshold 0.5, which is itself positive") {
  //                        TP    FN    TP    FP    TN    TN    FP    TN
  const Predictions p = one_class({0.9f, 0.4f, 0.5f, 0.7f, 0.2f, 0.1f, 0.5f, 0.4999f}, {1, 1, 1, 0, 0, 0, 0, 0});
  const Evaluation e = evaluate(p, {.replicates = 0});
  CHECK(e.classes[0].positives == 3);
  CHECK(e.classes[0].sensitivity.value == doctest::Approx(2.0 / 3));
  CHECK(e.classes[0].specificity.value == doctest::Approx(3.0 / 5));
  CHECK(e.classes[0].f1.value == doctest::Approx(4.0 / 7));
  CHECK(e.classes[0].auroc.value == doctest::Approx((5 + 2 + 3.5) / 15));
  CHECK(e.macro_f1.value == e.classes[0].f1.value);
  CHECK(e.micro_sensitivity.value == e.classes[0].sensitivity.value);
  CHECK(std::isnan(e.classes[0].auroc.low));
}

TEST_CASE("metrics: micro adds the counts of all classes, macro averages their quotients") {
  Predictions p{4,         2, {0.9f, 0.9f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f, 0.1f}, {1, 1, 0, 1, 0, 1, 0, 0}, {1, 2, 3, 4},
                {"a", "b"}};
  const Evaluation e = evaluate(p, {.replicates = 0});
  CHECK(e.micro_sensitivity.value == doctest::Approx(2.0 / 4));  // 1 of 1 and 1 of 3
  CHECK(e.micro_specificity.value == 1);
  CHECK(e.macro_f1.value == doctest::Approx((1 + 0.5) / 2));
  const QuickMetrics quick = quick_metrics(p);
  CHECK(quick.macro_auroc == e.macro_auroc.value);
  CHECK(quick.macro_f1 == e.macro_f1.value);
}

TEST_CASE("metrics: what is undefined is NaN, null and a dash, and stays out of the means") {
  // class "none" has no positive and none is predicted; class "all" has no negative
  const Predictions p{3,
                      3,
                      {0.9f, 0.1f, 0.9f, 0.2f, 0.1f, 0.8f, 0.6f, 0.3f, 0.2f},
                      {1, 0, 1, 0, 0, 1, 1, 0, 1},
                      {1, 2, 3},
                      {"x", "none", "all"}};
  const Evaluation e = evaluate(p, {.replicates = 50});
  CHECK(e.classes[0].auroc.value == 1);
  for (const Metric& undefined :
       {e.classes[1].auroc, e.classes[1].f1, e.classes[1].sensitivity, e.classes[2].auroc, e.classes[2].specificity}) {
    CHECK(std::isnan(undefined.value));
    CHECK(std::isnan(undefined.low));
    CHECK(std::isnan(undefined.high));
  }
  CHECK(e.macro_auroc.value == 1);
  CHECK(e.macro_f1.value == doctest::Approx((1 + 0.8) / 2));
  const nlohmann::json json = to_json(e);
  CHECK(json["classes"][1]["auroc"]["value"].is_null());
  CHECK(json["classes"][1]["name"] == "none");
  CHECK(json["macro"]["auroc"]["value"] == 1.0);
  CHECK(json["micro"]["sensitivity"]["high"] == e.micro_sensitivity.high);
  CHECK(json["patients"] == 3);
  const std::string table = to_table(e);
  CHECK_MESSAGE(table.find("none           0  -                     -                     -                     1.000 "
                           "[1.000, 1.000]\n") != std::string::npos,
                table);
  CHECK(table.find("macro             1.000 [1.000, 1.000]") != std::string::npos);
}

TEST_CASE("metrics: the interval is that of a bootstrap over patients written out") {
  const Predictions p = random_predictions(60, 2, 20, 50, 3);
  const Evaluation e = evaluate(p, {.replicates = 200, .seed = 9});
  CHECK(e.patients == 20);
  std::vector<double> auroc;
  for (uint32_t replicate = 0; replicate < 200; ++replicate) {
    const RandomStream stream(9, Purpose::bootstrap, 0, replicate);
    Predictions sample{0, 2, {}, {}, {}, p.class_names};
    for (uint32_t i = 0; i < 20; ++i) {
      const int64_t patient = 1000 - 19 + stream.below(i, 20);
      for (size_t record = 0; record < p.records; ++record) {
        if (p.patient[record] != patient) continue;
        ++sample.records;
        for (size_t c = 0; c < 2; ++c) {
          sample.probability.push_back(p.probability[record * 2 + c]);
          sample.label.push_back(p.label[record * 2 + c]);
        }
      }
    }
    auroc.push_back((pair_counting(sample, 0) + pair_counting(sample, 1)) / 2);
  }
  std::ranges::sort(auroc);  // 0.025 · 199 = 4.975, 0.975 · 199 = 194.025
  CHECK(e.macro_auroc.low == doctest::Approx(0.025 * auroc[4] + 0.975 * auroc[5]).epsilon(1e-9));
  CHECK(e.macro_auroc.high == doctest::Approx(0.975 * auroc[194] + 0.025 * auroc[195]).epsilon(1e-9));
}

TEST_CASE("metrics: intervals contain the value and widen when the records of a patient repeat each other") {
  const Predictions alone = random_predictions(150, 3, 30, 1000, 1);
  Predictions repeated = alone;  // the same 150 records, four times each
  for (int copy = 1; copy < 4; ++copy) {
    repeated.records += alone.records;
    repeated.probability.insert(repeated.probability.end(), alone.probability.begin(), alone.probability.end());
    repeated.label.insert(repeated.label.end(), alone.label.begin(), alone.label.end());
    repeated.patient.insert(repeated.patient.end(), alone.patient.begin(), alone.patient.end());
  }
  const Evaluation e = evaluate(alone), same = evaluate(repeated);
  Predictions as_if_independent = repeated;
  for (size_t i = 0; i < repeated.records; ++i) as_if_independent.patient[i] = static_cast<int64_t>(i);
  const Evaluation narrow = evaluate(as_if_independent);
  for (const Metric& metric : all_metrics(e)) {
    CHECK(metric.low < metric.value);
    CHECK(metric.value < metric.high);
  }
  CHECK(same.macro_auroc.value == doctest::Approx(e.macro_auroc.value));
  CHECK(same.macro_auroc.low == doctest::Approx(e.macro_auroc.low));
  CHECK(same.macro_auroc.high == doctest::Approx(e.macro_auroc.high));
  CHECK(narrow.macro_auroc.high - narrow.macro_auroc.low < 0.7 * (e.macro_auroc.high - e.macro_auroc.low));
}

TEST_CASE("metrics: about 95 of 100 intervals cover the true AUROC") {
  // Normal scores one standard deviation apart: AUROC = Φ(1 / √2).
  const double truth = 0.5 * std::erfc(-0.5);
  int covered = 0;
  for (uint32_t trial = 0; trial < 200; ++trial) {
    const std::vector<float> normal = test::random_normal(120, 100 + trial);
    std::vector<float> probability;
    std::vector<uint8_t> label;
    for (size_t i = 0; i < normal.size(); ++i) {
      label.push_back(i % 2 == 0);
      probability.push_back(1 / (1 + std::exp(-normal[i] - static_cast<float>(label.back()))));
    }
    const Metric auroc = evaluate(one_class(probability, label), {.replicates = 300, .seed = trial}).classes[0].auroc;
    covered += auroc.low <= truth && truth <= auroc.high;
  }
  // 190 expected; 176 is four and a half standard deviations below
  CHECK_MESSAGE(covered >= 176, covered << " of 200 covered, SYSTOLE_TEST_SEED=" << test::seed());
}

TEST_CASE("metrics: the result does not depend on the number of threads, and does on the seed") {
  const Predictions p = random_predictions(200, 4, 40, 1000);
  const int before = threads();
  set_threads(1);
  const std::string one = to_json(evaluate(p, {.replicates = 101})).dump();
  set_threads(3);
  CHECK(to_json(evaluate(p, {.replicates = 101})).dump() == one);
  set_threads(before);
  CHECK(to_json(evaluate(p, {.replicates = 101, .seed = 43})).dump() != one);
}

/// Three predictions of the same records, the last one the worst.
std::vector<Predictions> three_runs() {
  std::vector<Predictions> runs(3, random_predictions(60, 2, 50, 40, 3));
  for (uint32_t run = 1; run < 3; ++run)
    for (size_t i = 0; i < runs[run].probability.size(); ++i)
      runs[run].probability[i] =
          std::clamp(runs[0].probability[i] + 0.1f * float(run) * test::random_normal(120, 50 + run)[i], 0.0f, 1.0f);
  return runs;
}

TEST_CASE("metrics: paired bootstrap of one prediction gives the intervals of evaluate") {
  const std::vector<Predictions> runs = three_runs();
  const PairedBootstrap paired(runs, {.replicates = 80, .seed = 4});
  for (size_t run = 0; run < runs.size(); ++run) {
    const Evaluation e = evaluate(runs[run], {.replicates = 80, .seed = 4});
    const std::vector<Metric> expected{e.macro_auroc, e.macro_f1, e.classes[0].auroc, e.classes[1].auroc};
    for (size_t metric = 0; metric < expected.size(); ++metric) {
      const Metric m = paired.mean(metric, {run});
      CHECK(m.value == expected[metric].value);
      CHECK(m.low == expected[metric].low);
      CHECK(m.high == expected[metric].high);
      CHECK(paired.value(metric, run) == m.value);
    }
  }
}

TEST_CASE("metrics: means and paired differences are those of a bootstrap written out") {
  const std::vector<Predictions> runs = three_runs();
  const PairedBootstrap paired(runs, {.replicates = 200, .seed = 9});
  const auto macro = [](const Predictions& p) { return (pair_counting(p, 0) + pair_counting(p, 1)) / 2; };
  std::vector<double> means, differences;
  for (uint32_t replicate = 0; replicate < 200; ++replicate) {
    double auroc[3];
    for (size_t run = 0; run < 3; ++run) {
      const RandomStream stream(9, Purpose::bootstrap, 0, replicate);
      Predictions sample{0, 2, {}, {}, {}, runs[run].class_names};
      for (uint32_t i = 0; i < 20; ++i) {
        const int64_t patient = 1000 - 19 + stream.below(i, 20);
        for (size_t record = 0; record < 60; ++record) {
          if (runs[run].patient[record] != patient) continue;
          ++sample.records;
          for (size_t c = 0; c < 2; ++c) {
            sample.probability.push_back(runs[run].probability[record * 2 + c]);
            sample.label.push_back(runs[run].label[record * 2 + c]);
          }
        }
      }
      auroc[run] = macro(sample);
    }
    means.push_back((auroc[0] + auroc[1]) / 2);
    differences.push_back((auroc[0] + auroc[1]) / 2 - auroc[2]);
  }
  const auto check = [](const Metric& metric, double value, std::vector<double> replicates) {
    std::ranges::sort(replicates);
    CHECK(metric.value == doctest::Approx(value).epsilon(1e-9));
    CHECK(metric.low == doctest::Approx(0.025 * replicates[4] + 0.975 * replicates[5]).epsilon(1e-9));
    CHECK(metric.high == doctest::Approx(0.975 * replicates[194] + 0.025 * replicates[195]).epsilon(1e-9));
  };
  const double better = (macro(runs[0]) + macro(runs[1])) / 2;
  check(paired.mean(PairedBootstrap::macro_auroc, {0, 1}), better, means);
  check(paired.difference(PairedBootstrap::macro_auroc, {0, 1}, {2}), better - macro(runs[2]), differences);
}

TEST_CASE("metrics: a prediction does not differ from itself, and the pairing makes intervals narrow") {
  const std::vector<Predictions> runs = three_runs();
  const PairedBootstrap paired(runs);
  const Metric none = paired.difference(PairedBootstrap::macro_auroc, {1}, {1});
  CHECK(none.low == 0);
  CHECK(none.high == 0);
  const Metric first = paired.mean(PairedBootstrap::macro_auroc, {0}), second = paired.mean(0, {1});
  const Metric difference = paired.difference(PairedBootstrap::macro_auroc, {0}, {1});
  CHECK(difference.value == doctest::Approx(first.value - second.value));
  CHECK(difference.high - difference.low < 0.7 * (first.high - first.low));
}

TEST_CASE("metrics: predictions of other labels or patients cannot be paired") {
  std::vector<Predictions> runs = three_runs();
  runs[1].label[3] ^= 1;
  CHECK(sentence_of<Error>([&] { PairedBootstrap paired(runs); }) ==
        "predictions of different records, labels or patients cannot be compared pair by pair");
  runs = three_runs();
  runs[2].patient[0] = 1;
  CHECK_THROWS_AS(PairedBootstrap(runs, {}), Error);
  CHECK_THROWS_AS(PairedBootstrap({}, {}), Error);
}

TEST_CASE("metrics: the area below the ROC curve is the AUROC, and its points are those of all thresholds") {
  uint32_t which = 60;
  for (const int steps : {1, 2, 7, 100, 1'000'000}) {
    const Predictions p = random_predictions(157, 2, which++, steps);
    const RocCurve curve = roc_curve(p, 1);
    const auto& x = curve.false_positive_rate;
    const auto& y = curve.true_positive_rate;
    double area = 0;
    for (size_t i = 1; i < x.size(); ++i) {
      CHECK((x[i] > x[i - 1] || y[i] > y[i - 1]));
      area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
    }
    CHECK(area == doctest::Approx(pair_counting(p, 1)).epsilon(1e-12));
    CHECK(std::pair(x.front(), y.front()) == std::pair(0.0, 0.0));
    CHECK(std::pair(x.back(), y.back()) == std::pair(1.0, 1.0));
  }
  const RocCurve small = roc_curve(one_class({0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f}, {1, 0, 1, 0, 0, 1}), 0);
  CHECK(small.false_positive_rate == std::vector<double>{0, 0, 1 / 3.0, 1 / 3.0, 1, 1});
  CHECK(small.true_positive_rate == std::vector<double>{0, 1 / 3.0, 1 / 3.0, 2 / 3.0, 2 / 3.0, 1});
  CHECK(roc_curve(one_class({0.1f, 0.2f}, {1, 1}), 0).true_positive_rate.empty());
}

TEST_CASE("metrics: impossible predictions are refused with what is wrong") {
  Predictions p = one_class({0.1f, 0.9f}, {0, 1});
  p.probability[1] = NAN;
  CHECK(sentence_of<Error>([&] { evaluate(p); }) ==
        "the probability of MI for record 1 is nan, a number from 0 to 1 was expected");
  p.probability[1] = 1.5f;
  CHECK_THROWS_AS(evaluate(p), Error);
  p = one_class({0.1f, 0.9f}, {0, 2});
  CHECK(sentence_of<Error>([&] { evaluate(p); }) == "the label MI of record 1 is 2, 0 or 1 was expected");
  p = one_class({0.1f, 0.9f}, {0, 1});
  p.patient.pop_back();
  CHECK(sentence_of<Error>([&] { evaluate(p); }).find("1 patients") != std::string::npos);
  CHECK_THROWS_AS(evaluate(Predictions{}), Error);
}

}  // namespace systole::models
