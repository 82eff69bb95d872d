#include "data/patient_batches.h"

#include <algorithm>
#include <fmt/format.h>
#include <unordered_map>
#include <unordered_set>

#include "data/label_fraction.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

/// Partners among the records: each has at most one, of the same patient.
std::unordered_map<size_t, size_t> find_partners(const Dataset& dataset, const std::vector<size_t>& order) {
  std::unordered_map<int64_t, size_t> waiting;  // patient → a record without a partner
  std::unordered_map<size_t, size_t> partner;
  for (const size_t record : order) {
    const auto [place, is_first] = waiting.try_emplace(dataset.patient_id[record], record);
    if (is_first) continue;
    partner.emplace(place->second, record);
    waiting.erase(place);
  }
  return partner;
}

/// Pairs for each of the batches: up to `patients`, as evenly as `available` allows.
std::vector<size_t> shares(size_t records, size_t batch_size, size_t patients, size_t available) {
  const size_t batches = (records + batch_size - 1) / batch_size, total = std::min(available, batches * patients);
  std::vector<size_t> result;
  for (size_t b = 0; b < batches; ++b) {
    const size_t room = std::min(batch_size, records - b * batch_size) / 2;
    result.push_back(std::min((b + 1) * total / batches - b * total / batches, room));
  }
  return result;
}

}  // namespace

std::vector<int32_t> patient_numbers(const Dataset& dataset) {
  std::unordered_map<int64_t, int32_t> number;
  std::vector<int32_t> result;
  for (const int64_t patient : dataset.patient_id)
    result.push_back(number.try_emplace(patient, static_cast<int32_t>(number.size())).first->second);
  return result;
}

std::vector<size_t> patient_batches(const Dataset& dataset, const std::vector<size_t>& records, int64_t batch_size,
                                    int64_t patients, uint64_t seed, uint32_t epoch) {
  if (patients < 1 || 2 * patients > batch_size)
    throw UsageError(fmt::format("a batch of {} records cannot hold two records each of {} patients; expected 1 to {}",
                                 batch_size, patients, batch_size / 2));
  const auto shuffled = [&](const std::vector<size_t>& items) {
    return epoch_order(dataset, items, BalanceStrategy::standard, seed, epoch);
  };
  const std::vector<size_t> order = shuffled(records);
  const std::unordered_map<size_t, size_t> partner = find_partners(dataset, order);
  std::vector<size_t> firsts;
  for (const size_t record : order)
    if (partner.contains(record)) firsts.push_back(record);
  firsts = shuffled(firsts);  // patients with many records would come first

  const auto size = static_cast<size_t>(batch_size);
  const std::vector<size_t> share = shares(order.size(), size, static_cast<size_t>(patients), firsts.size());
  std::unordered_set<size_t> placed;
  std::vector<size_t> result;
  auto first = firsts.begin();
  std::vector<std::vector<size_t>> batches;
  for (const size_t pairs : share) {
    std::vector<size_t>& batch = batches.emplace_back();
    for (size_t i = 0; i < pairs; ++i, ++first)
      for (const size_t record : {*first, partner.at(*first)}) batch.push_back(record), placed.insert(record);
  }
  auto next = order.begin();
  for (const std::vector<size_t>& batch : batches) {
    const size_t end = std::min(result.size() + size, order.size());
    result.insert(result.end(), batch.begin(), batch.end());
    for (; result.size() < end; ++next)
      if (!placed.contains(*next)) result.push_back(*next);
  }
  return result;
}

int64_t same_patient_pairs(std::span<const int32_t> patients) {
  std::unordered_map<int32_t, int64_t> count;
  int64_t pairs = 0;
  for (const int32_t patient : patients) pairs += count[patient]++;
  return pairs;
}

}  // namespace systole::data
