#include "data/label_fraction.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <map>
#include <numeric>
#include <span>

#include "data/joined.h"
#include "kernels/common/error.h"
#include "kernels/common/philox.h"

namespace systole::data {
namespace {

constexpr std::array<std::string_view, 4> kStrategyNames = {"none", "standard", "stratified", "oversample"};

constexpr size_t kFolds = 10;
constexpr uint64_t kFoldSeed = 42;

// What is ordered: patients or single records.
struct Items {
  size_t count = 0, classes = 0;
  std::vector<uint32_t> records;       // [count] records of the item
  std::vector<uint32_t> class_counts;  // [count, classes] of them with the class

  uint32_t of_class(size_t item, size_t c) const { return class_counts[item * classes + c]; }
};

// The draws of one stream, one after the other.
class Draws {
 public:
  explicit Draws(const RandomStream& stream) : stream_(stream) {}
  size_t below(size_t count) { return stream_.below(next_++, static_cast<uint32_t>(count)); }

 private:
  RandomStream stream_;
  uint32_t next_ = 0;
};

void shuffle(std::vector<size_t>& items, Draws& draws) {
  for (size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[draws.below(left)]);
}

// One split of some items in two halves. What a half still lacks may become negative.
class Halving {
 public:
  Halving(const Items& items, Draws& draws) : items_(items), draws_(draws) {}

  /// Reorders the items so that the first half comes first, both in their old order. Returns the size of the first
  /// half, which leaves at least one item to each.
  size_t split(std::span<size_t> order) {
    start(order);
    for (size_t c = rarest_class(); c < items_.classes; c = rarest_class()) {
      for (size_t i = 0; i < order.size(); ++i)
        if (half_[i] == kNone && items_.of_class(order[i], c)) assign(i, order[i], half_lacking(c));
    }
    for (size_t i = 0; i < order.size(); ++i)
      if (half_[i] == kNone) assign(i, order[i], half_lacking_records());
    return gather(order);
  }

 private:
  static constexpr uint8_t kNone = 2;

  void start(std::span<const size_t> order) {
    half_.assign(order.size(), kNone);
    remaining_.assign(items_.classes, 0);
    double records = 0;
    for (const size_t item : order) {
      records += items_.records[item];
      for (size_t c = 0; c < items_.classes; ++c) remaining_[c] += items_.of_class(item, c);
    }
    for (int half : {0, 1}) {
      lacking_records_[half] = records / 2;
      lacking_[half].assign(remaining_.begin(), remaining_.end());
      for (double& lacking : lacking_[half]) lacking /= 2;
    }
  }

  /// The class with the fewest records that are not assigned yet, or `classes` when all are.
  size_t rarest_class() const {
    size_t rarest = items_.classes;
    for (size_t c = 0; c < items_.classes; ++c)
      if (remaining_[c] && (rarest == items_.classes || remaining_[c] < remaining_[rarest])) rarest = c;
    return rarest;
  }

  int half_lacking(size_t c) {
    if (lacking_[0][c] != lacking_[1][c]) return lacking_[0][c] < lacking_[1][c];
    return half_lacking_records();
  }
  int half_lacking_records() {
    if (lacking_records_[0] != lacking_records_[1]) return lacking_records_[0] < lacking_records_[1];
    return static_cast<int>(draws_.below(2));
  }

  void assign(size_t position, size_t item, int half) {
    half_[position] = static_cast<uint8_t>(half);
    lacking_records_[half] -= items_.records[item];
    for (size_t c = 0; c < items_.classes; ++c) {
      lacking_[half][c] -= items_.of_class(item, c);
      remaining_[c] -= items_.of_class(item, c);
    }
  }

  size_t gather(std::span<size_t> order) {
    second_.clear();
    size_t first = 0;
    for (size_t i = 0; i < order.size(); ++i) {
      if (half_[i])
        second_.push_back(order[i]);
      else
        order[first++] = order[i];
    }
    std::copy(second_.begin(), second_.end(), order.begin() + static_cast<std::ptrdiff_t>(first));
    return first;
  }

  const Items& items_;
  Draws& draws_;
  std::vector<uint8_t> half_;        // [items to split] 0, 1 or kNone
  std::vector<uint64_t> remaining_;  // [classes] records not assigned yet
  std::array<std::vector<double>, 2> lacking_;
  std::array<double, 2> lacking_records_{};
  std::vector<size_t> second_;
};

std::vector<size_t> stratified_order(const Items& items, const RandomStream& stream) {
  Draws draws(stream);
  std::vector<size_t> order(items.count);
  std::iota(order.begin(), order.end(), size_t{0});
  shuffle(order, draws);

  Halving halving(items, draws);
  std::vector<std::span<size_t>> to_split = {order};
  while (!to_split.empty()) {
    const std::span<size_t> part = to_split.back();
    to_split.pop_back();
    if (part.size() < 2) continue;
    const size_t first = halving.split(part);
    to_split.push_back(part.subspan(first));
    to_split.push_back(part.first(first));
  }
  return order;
}

void add_labels(const Dataset& dataset, size_t record, Items& items, size_t item) {
  ++items.records[item];
  for (size_t c = 0; c < items.classes; ++c) items.class_counts[item * items.classes + c] += dataset.label(record, c);
}

Items make_items(const Dataset& dataset, size_t count) {
  const size_t classes = dataset.classes.size();
  return {count, classes, std::vector<uint32_t>(count), std::vector<uint32_t>(count * classes)};
}

// The records of each patient, by the patients' numbers, so that the order of the records plays no role.
struct Patients {
  Items items;
  std::vector<std::vector<size_t>> records;  // [items.count]
};
Patients group(const Dataset& dataset, const std::vector<size_t>& records) {
  std::map<int64_t, std::vector<size_t>> records_of;
  for (const size_t record : records) records_of[dataset.patient_id[record]].push_back(record);
  Patients patients{make_items(dataset, records_of.size()), {}};
  for (const auto& [patient, own] : records_of) {
    for (const size_t record : own) add_labels(dataset, record, patients.items, patients.records.size());
    patients.records.push_back(own);
  }
  return patients;
}

std::vector<size_t> stratified_shuffle(const Dataset& dataset, const std::vector<size_t>& records,
                                       const RandomStream& stream) {
  Items items = make_items(dataset, records.size());
  for (size_t i = 0; i < records.size(); ++i) add_labels(dataset, records[i], items, i);
  std::vector<size_t> order = stratified_order(items, stream);
  for (size_t& i : order) i = records[i];
  return order;
}

bool is_labelled(const Dataset& dataset, size_t record) {
  for (size_t c = 0; c < dataset.classes.size(); ++c)
    if (dataset.label(record, c)) return true;
  return false;
}

// Draws with replacement: the record where the running sum of weights passes a uniform number.
std::vector<size_t> oversampled(const Dataset& dataset, const std::vector<size_t>& records,
                                const RandomStream& stream) {
  std::vector<double> sum = oversampling_weights(dataset, records);
  std::partial_sum(sum.begin(), sum.end(), sum.begin());
  std::vector<size_t> order(records.size());
  for (size_t i = 0; i < order.size(); ++i) {
    const Philox4 words = stream.block(static_cast<uint32_t>(i));
    const uint64_t bits = uint64_t{words.word[0]} << 32 | words.word[1];
    const double uniform = static_cast<double>(bits >> 11) * 0x1p-53;
    const auto passed = std::upper_bound(sum.begin(), sum.end(), uniform * sum.back());
    order[i] = records[static_cast<size_t>(passed - sum.begin())];
  }
  return order;
}

}  // namespace

std::vector<size_t> sample_label_fraction(const Dataset& dataset, const std::vector<size_t>& training_records,
                                          double fraction, uint64_t seed) {
  if (!(fraction > 0 && fraction <= 1))
    throw UsageError(
        fmt::format("The label fraction is {}, a number above 0 and up to 1 was expected (0.1 is 10 %).", fraction));
  if (training_records.empty()) throw Error("There are no training records to take a label fraction of.");

  const Patients patients = group(dataset, training_records);
  const auto wanted =
      static_cast<size_t>(std::max(1.0, std::round(fraction * static_cast<double>(training_records.size()))));
  std::vector<size_t> chosen;
  for (const size_t patient : stratified_order(patients.items, RandomStream(seed, Purpose::label_fraction))) {
    if (chosen.size() >= wanted) break;
    chosen.insert(chosen.end(), patients.records[patient].begin(), patients.records[patient].end());
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<int> deal_folds(const Dataset& dataset) {
  std::vector<size_t> all(dataset.patient_id.size());
  std::iota(all.begin(), all.end(), size_t{0});
  const Patients patients = group(dataset, all);
  std::vector<int> folds(all.size());
  size_t dealt = 0;  // records; a fold is a tenth of the order
  for (const size_t patient : stratified_order(patients.items, RandomStream(kFoldSeed, Purpose::label_fraction, 1))) {
    const std::vector<size_t>& records = patients.records[patient];
    for (const size_t record : records) folds[record] = 1 + static_cast<int>(kFolds * dealt / all.size());
    dealt += records.size();
  }
  return folds;
}

BalanceStrategy parse_balance_strategy(std::string_view text) {
  const auto found = std::find(kStrategyNames.begin(), kStrategyNames.end(), text);
  if (found == kStrategyNames.end())
    throw UsageError(
        fmt::format("There is no balance strategy {}; the strategies are {}.", text, joined(kStrategyNames)));
  return static_cast<BalanceStrategy>(found - kStrategyNames.begin());
}

std::vector<double> oversampling_weights(const Dataset& dataset, const std::vector<size_t>& records) {
  const size_t classes = dataset.classes.size();
  std::vector<double> frequency(classes);
  double labelled = 0;
  for (const size_t record : records) {
    for (size_t c = 0; c < classes; ++c) frequency[c] += dataset.label(record, c);
    labelled += is_labelled(dataset, record);
  }

  std::vector<double> weights(records.size());
  double sum = 0;
  for (size_t i = 0; i < records.size(); ++i) {
    int count = 0;
    for (size_t c = 0; c < classes; ++c)
      if (dataset.label(records[i], c)) weights[i] += 1 / frequency[c], ++count;
    if (count) sum += weights[i] /= count;
  }

  const double unlabelled = static_cast<double>(records.size()) - labelled;
  const bool are_negatives = classes == 1;
  const double most = labelled > 0 && !are_negatives ? sum / labelled : std::numeric_limits<double>::infinity();
  for (double& weight : weights)
    if (weight == 0) weight = std::min(1 / unlabelled, most);
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= total;
  return weights;
}

std::vector<size_t> epoch_order(const Dataset& dataset, const std::vector<size_t>& records, BalanceStrategy strategy,
                                uint64_t seed, uint32_t epoch) {
  const RandomStream stream(seed, Purpose::shuffle, epoch);
  switch (strategy) {
    case BalanceStrategy::none:
      break;
    case BalanceStrategy::standard: {
      std::vector<size_t> order = records;
      Draws draws(stream);
      shuffle(order, draws);
      return order;
    }
    case BalanceStrategy::stratified:
      return stratified_shuffle(dataset, records, stream);
    case BalanceStrategy::oversample:
      return oversampled(dataset, records, RandomStream(seed, Purpose::oversample, epoch));
  }
  return records;
}

}  // namespace systole::data
