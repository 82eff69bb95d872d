#include "data/label_fraction.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "data/ptbxl.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;

constexpr double kPrevalence[] = {0.45, 0.2, 0.1, 0.02};

// Labels without signals: patients with one to four records, whose classes are drawn independently.
Dataset random_labels(size_t records, uint32_t which) {
  const RandomStream stream(test::seed(), Purpose::test, 0, which);
  Dataset d;
  d.classes = {"A", "B", "C", "D"};
  uint32_t draw = 0;
  for (int64_t patient = 1000; d.records() < records; ++patient)
    for (uint32_t left = 1 + stream.below(draw++, 4); left-- && d.records() < records;) {
      d.record_id.push_back(static_cast<int64_t>(d.records()));
      d.patient_id.push_back(patient);
      for (const double prevalence : kPrevalence) d.labels.push_back(stream.uniform(draw++) < prevalence);
    }
  return d;
}

std::vector<size_t> all_of(const Dataset& d) {
  std::vector<size_t> records(d.records());
  std::iota(records.begin(), records.end(), size_t{0});
  return records;
}

double count_of(const Dataset& d, const std::vector<size_t>& records, size_t c) {
  double count = 0;
  for (const size_t r : records) count += d.label(r, c);
  return count;
}

std::vector<size_t> sorted(std::vector<size_t> records) {
  std::sort(records.begin(), records.end());
  return records;
}

TEST_CASE("label fraction: the size is right, patients stay whole, class proportions are kept") {
  const Dataset d = random_labels(3000, 1);
  const std::vector<size_t> all = all_of(d);
  for (const double fraction : {0.01, 0.05, 0.1, 0.5}) {
    CAPTURE(fraction);
    const std::vector<size_t> part = sample_label_fraction(d, all, fraction, 42);
    CHECK(part == sorted(part));
    CHECK(part.size() >= std::round(fraction * 3000));
    CHECK(part.size() <= std::round(fraction * 3000) + 3);  // the last patient may have up to four records
    const std::set<size_t> chosen(part.begin(), part.end());
    CHECK(chosen.size() == part.size());
    for (size_t r = 1; r < d.records(); ++r)
      if (d.patient_id[r] == d.patient_id[r - 1]) REQUIRE(chosen.count(r) == chosen.count(r - 1));
    for (size_t c = 0; c < 4; ++c)
      CHECK(std::abs(count_of(d, part, c) - fraction * count_of(d, all, c)) <= (fraction < 0.5 ? 8 : 5));
  }
}

TEST_CASE("label fraction: the parts of one seed are nested, and fraction 1 is everything") {
  const Dataset d = random_labels(500, 2);
  std::vector<size_t> smaller;
  for (const double fraction : {0.001, 0.01, 0.05, 0.1, 0.33, 0.5, 0.9, 1.0}) {
    const std::vector<size_t> part = sample_label_fraction(d, all_of(d), fraction, 7);
    CHECK(std::includes(part.begin(), part.end(), smaller.begin(), smaller.end()));
    CHECK(part.size() > 0);
    smaller = part;
  }
  CHECK(smaller == all_of(d));
}

TEST_CASE("label fraction: only the seed decides, not the order of the training records") {
  const Dataset d = random_labels(800, 3);
  std::vector<size_t> backwards = all_of(d);
  backwards.erase(backwards.begin(), backwards.begin() + 100);
  const std::vector<size_t> part = sample_label_fraction(d, backwards, 0.1, 5);
  CHECK(part.front() >= 100);
  std::reverse(backwards.begin(), backwards.end());
  CHECK(sample_label_fraction(d, backwards, 0.1, 5) == part);
  CHECK(sample_label_fraction(d, backwards, 0.1, 6) != part);
}

TEST_CASE("label fraction: over many seeds every patient has the same chance") {
  const Dataset d = random_labels(60, 4);
  std::vector<double> hits(d.records());
  constexpr int kSeeds = 4000;
  for (uint64_t seed = 0; seed < kSeeds; ++seed)
    for (const size_t r : sample_label_fraction(d, all_of(d), 0.5, seed)) ++hits[r];
  for (size_t r = 0; r < d.records(); ++r) {
    CAPTURE(r);
    CHECK(hits[r] / kSeeds == doctest::Approx(0.5).epsilon(0.2));
  }
}

TEST_CASE("label fraction: a value outside (0, 1] is wrong usage, no records an error") {
  const Dataset d = random_labels(10, 5);
  for (const double fraction : {0.0, -0.1, 1.5, 10.0, std::nan("")})
    CHECK(sentence_of<UsageError>([&] { sample_label_fraction(d, all_of(d), fraction, 1); }) ==
          fmt::format("The label fraction is {}, a number above 0 and up to 1 was expected (0.1 is 10 %).", fraction));
  CHECK(sentence_of<Error>([&] { sample_label_fraction(d, {}, 0.5, 1); }) ==
        "There are no training records to take a label fraction of.");
}

TEST_CASE("epoch order: strategies have names") {
  CHECK(parse_balance_strategy("none") == BalanceStrategy::none);
  CHECK(parse_balance_strategy("standard") == BalanceStrategy::standard);
  CHECK(parse_balance_strategy("stratified") == BalanceStrategy::stratified);
  CHECK(parse_balance_strategy("oversample") == BalanceStrategy::oversample);
  CHECK(sentence_of<UsageError>([] { parse_balance_strategy("smote"); }) ==
        "There is no balance strategy smote; the strategies are none, standard, stratified, oversample.");
}

TEST_CASE("epoch order: shuffles are permutations of their own per epoch and seed; none keeps the order") {
  const Dataset d = random_labels(300, 6);
  std::vector<size_t> records = all_of(d);
  records.erase(records.begin(), records.begin() + 50);
  CHECK(epoch_order(d, records, BalanceStrategy::none, 1, 3) == records);
  for (const BalanceStrategy strategy : {BalanceStrategy::standard, BalanceStrategy::stratified}) {
    const std::vector<size_t> order = epoch_order(d, records, strategy, 1, 0);
    CHECK(sorted(order) == records);
    CHECK(order != records);
    CHECK(epoch_order(d, records, strategy, 1, 0) == order);
    CHECK(epoch_order(d, records, strategy, 1, 1) != order);
    CHECK(epoch_order(d, records, strategy, 2, 0) != order);
  }
}

// The largest difference between the records of a class in a batch and their share, over all batches and classes.
double worst_batch(const Dataset& d, const std::vector<size_t>& order, size_t batch) {
  double worst = 0;
  for (size_t begin = 0; begin + batch <= order.size(); begin += batch) {
    const std::vector<size_t> part(order.begin() + static_cast<std::ptrdiff_t>(begin),
                                   order.begin() + static_cast<std::ptrdiff_t>(begin + batch));
    for (size_t c = 0; c < d.classes.size(); ++c) {
      const double share = count_of(d, order, c) * static_cast<double>(batch) / static_cast<double>(order.size());
      worst = std::max(worst, std::abs(count_of(d, part, c) - share));
    }
  }
  return worst;
}

TEST_CASE("epoch order: stratified batches have the class counts of the whole to a few records, plain ones do not") {
  const Dataset d = random_labels(2000, 7);
  for (const size_t batch : {50, 64}) {
    CHECK(worst_batch(d, epoch_order(d, all_of(d), BalanceStrategy::stratified, 1, 2), batch) <= 4.5);
    CHECK(worst_batch(d, epoch_order(d, all_of(d), BalanceStrategy::standard, 1, 2), batch) > 4.5);
  }
}

Dataset labels_of(const std::vector<std::vector<uint8_t>>& rows) {
  Dataset d;
  for (size_t c = 0; c < rows[0].size(); ++c) d.classes.push_back(std::string(1, static_cast<char>('A' + c)));
  for (const auto& row : rows) {
    d.record_id.push_back(static_cast<int64_t>(d.records()));
    d.patient_id.push_back(d.record_id.back());
    d.labels.insert(d.labels.end(), row.begin(), row.end());
  }
  return d;
}

TEST_CASE("oversampling: a weight is the mean of 1 / frequency over the classes, among the records given") {
  const Dataset d = labels_of({{1, 0}, {1, 0}, {1, 0}, {1, 1}, {1, 1}, {1, 1}, {0, 1}});
  const std::vector<double> weights = oversampling_weights(d, {0, 1, 2, 3});  // A: 4 records, B: 1
  const double sum = 0.25 * 3 + (0.25 + 1) / 2;
  test::check_close(weights, std::vector<double>{0.25 / sum, 0.25 / sum, 0.25 / sum, 0.625 / sum}, 1e-12, "weights");
}

TEST_CASE("oversampling: records without a class are the negatives of one class, and rare ones are not blown up") {
  const Dataset binary = labels_of({{1}, {0}, {0}, {0}});
  test::check_close(oversampling_weights(binary, all_of(binary)), std::vector<double>{3. / 6, 1. / 6, 1. / 6, 1. / 6},
                    1e-12, "binary");
  const Dataset rare = labels_of({{1, 0}, {1, 0}, {0, 1}, {0, 1}, {0, 0}});
  test::check_close(oversampling_weights(rare, all_of(rare)), std::vector<double>{0.2, 0.2, 0.2, 0.2, 0.2}, 1e-12,
                    "rare");
  const Dataset none = labels_of({{0}, {0}});
  test::check_close(oversampling_weights(none, all_of(none)), std::vector<double>{0.5, 0.5}, 1e-12, "none");
}

TEST_CASE("oversampling: draws follow the weights, within five standard deviations") {
  const Dataset d = random_labels(200, 8);
  const std::vector<size_t> records = all_of(d);
  const std::vector<double> weights = oversampling_weights(d, records);
  std::vector<double> drawn(records.size());
  constexpr uint32_t kEpochs = 500;
  for (uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
    const std::vector<size_t> order = epoch_order(d, records, BalanceStrategy::oversample, 3, epoch);
    REQUIRE(order.size() == records.size());
    for (const size_t r : order) ++drawn[r];
  }
  for (const size_t r : records) {
    const double expected = weights[r] * kEpochs * 200;
    CAPTURE(r);
    CHECK(std::abs(drawn[r] - expected) <= 5 * std::sqrt(expected) + 1);
  }
  CHECK(epoch_order(d, records, BalanceStrategy::oversample, 3, 1) ==
        epoch_order(d, records, BalanceStrategy::oversample, 3, 1));
  CHECK(epoch_order(d, records, BalanceStrategy::oversample, 3, 1) !=
        epoch_order(d, records, BalanceStrategy::oversample, 3, 2));
}

TEST_CASE("label fraction: one percent of the real training folds has every superclass in proportion") {
  const auto root = test::real_data("ptbxl_metadata");
  if (root.empty()) return;
  const PtbxlMetadata metadata = read_ptbxl_metadata(root, LabelSet::superclass);
  Dataset d;
  d.classes = metadata.classes;
  std::vector<size_t> training;
  for (const PtbxlRow& row : metadata.rows) {
    if (row.fold <= 8) training.push_back(d.records());
    d.record_id.push_back(row.record_id);
    d.patient_id.push_back(row.patient_id);
    d.labels.insert(d.labels.end(), row.labels.begin(), row.labels.end());
  }
  const std::vector<size_t> part = sample_label_fraction(d, training, 0.01, 42);
  CHECK(part.size() == doctest::Approx(0.01 * static_cast<double>(training.size())).epsilon(0.06));
  for (size_t c = 0; c < 5; ++c) CHECK(std::abs(count_of(d, part, c) - 0.01 * count_of(d, training, c)) <= 5);
}

TEST_CASE("folds: patients stay whole, and every fold has a tenth of the records and of each class") {
  const Dataset d = random_labels(3000, 8);
  const std::vector<int> folds = deal_folds(d);
  REQUIRE(folds.size() == 3000);
  for (size_t r = 1; r < d.records(); ++r)
    if (d.patient_id[r] == d.patient_id[r - 1]) REQUIRE(folds[r] == folds[r - 1]);
  for (int fold = 1; fold <= 10; ++fold) {
    std::vector<size_t> members;
    for (size_t r = 0; r < d.records(); ++r)
      if (folds[r] == fold) members.push_back(r);
    CAPTURE(fold);
    CHECK(std::abs(static_cast<double>(members.size()) - 300) <= 3);
    for (size_t c = 0; c < 4; ++c) CHECK(std::abs(count_of(d, members, c) - count_of(d, all_of(d), c) / 10) <= 8);
  }
}

TEST_CASE("folds: ten patients fill ten folds, whatever the order of their records") {
  Dataset d;
  d.classes = {"x"};
  for (int64_t patient = 0; patient < 10; ++patient) {
    d.patient_id.push_back(patient);
    d.labels.push_back(patient % 2);
  }
  const std::vector<int> folds = deal_folds(d);
  CHECK(std::set<int>(folds.begin(), folds.end()).size() == 10);
  Dataset backwards = d;
  std::reverse(backwards.patient_id.begin(), backwards.patient_id.end());
  std::reverse(backwards.labels.begin(), backwards.labels.end());
  std::vector<int> again = deal_folds(backwards);
  std::reverse(again.begin(), again.end());
  CHECK(again == folds);
}

TEST_CASE("oversampling: with one class, positives and negatives are drawn equally often, whichever are rarer") {
  for (const size_t positives : {1u, 7u, 15u, 19u}) {
    Dataset d;
    d.classes = {"x"};
    for (size_t r = 0; r < 20; ++r) {
      d.record_id.push_back(static_cast<int64_t>(r));
      d.labels.push_back(r < positives);
    }
    const std::vector<double> weights = oversampling_weights(d, all_of(d));
    CHECK(std::accumulate(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(positives), 0.0) ==
          doctest::Approx(0.5));
  }
}

}  // namespace
}  // namespace systole::data
