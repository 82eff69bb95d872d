#include "data/patient_batches.h"

#include <algorithm>
#include <numeric>

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

/// Patients with the given numbers of records, which are spread over the data set.
Dataset patients_with(const std::vector<int>& records_of_patient) {
  Dataset d;
  for (int round = 0; round < *std::max_element(records_of_patient.begin(), records_of_patient.end()); ++round)
    for (size_t patient = 0; patient < records_of_patient.size(); ++patient)
      if (round < records_of_patient[patient]) {
        d.record_id.push_back(static_cast<int64_t>(d.records()));
        d.patient_id.push_back(7000 + static_cast<int64_t>(patient));
      }
  return d;
}

std::vector<size_t> all_of(const Dataset& d) {
  std::vector<size_t> records(d.records());
  std::iota(records.begin(), records.end(), size_t{0});
  return records;
}

/// Pairs of one patient, batch after batch.
std::vector<int64_t> pairs_of_batches(const Dataset& d, const std::vector<size_t>& order, size_t batch_size) {
  const std::vector<int32_t> patients = patient_numbers(d);
  std::vector<int64_t> result;
  for (size_t begin = 0; begin < order.size(); begin += batch_size) {
    std::vector<int32_t> batch;
    for (size_t i = begin; i < std::min(begin + batch_size, order.size()); ++i) batch.push_back(patients[order[i]]);
    result.push_back(same_patient_pairs(batch));
  }
  return result;
}

TEST_CASE("patient batches: every batch has its pairs, and every record is used once") {
  std::vector<int> records(400, 1);
  for (size_t patient = 0; patient < 120; ++patient) records[patient * 3] = 2 + static_cast<int>(patient % 3);
  const Dataset d = patients_with(records);  // 640 records
  const std::vector<size_t> order = patient_batches(d, all_of(d), 50, 5, 42, 0);
  std::vector<size_t> sorted = order;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == all_of(d));
  for (const int64_t pairs : pairs_of_batches(d, order, 50)) CHECK(pairs >= 5);

  CHECK(order == patient_batches(d, all_of(d), 50, 5, 42, 0));
  CHECK(order != patient_batches(d, all_of(d), 50, 5, 42, 1));
  CHECK(order != patient_batches(d, all_of(d), 50, 5, 43, 0));
}

TEST_CASE("patient batches: too few pairs are shared out evenly") {
  std::vector<int> records(90, 1);
  for (size_t patient = 0; patient < 7; ++patient) records[patient] = 2;
  const Dataset d = patients_with(records);  // 97 records, 7 pairs for ten batches
  for (const int64_t pairs : pairs_of_batches(d, patient_batches(d, all_of(d), 10, 4, 1, 0), 10)) CHECK(pairs <= 1);
}

TEST_CASE("patient batches: the last batch may be too small for its pairs") {
  const Dataset d = patients_with(std::vector<int>(11, 2));
  const std::vector<size_t> order = patient_batches(d, all_of(d), 7, 3, 1, 0);  // batches of 7, 7, 7 and 1
  CHECK(order.size() == 22);
  const std::vector<int64_t> pairs = pairs_of_batches(d, order, 7);
  for (size_t b = 0; b < 3; ++b) CHECK(pairs[b] >= 2);
}

TEST_CASE("patient batches: no patient is preferred for having many records") {
  std::vector<int> records(60, 2);
  for (size_t patient = 0; patient < 30; ++patient) records[patient] = 6;
  const Dataset d = patients_with(records);  // 90 pairs of the first patients, 30 of the others
  int64_t of_many = 0, of_two = 0;
  for (uint32_t epoch = 0; epoch < 40; ++epoch) {
    const std::vector<size_t> order = patient_batches(d, all_of(d), 24, 1, 5, epoch);
    for (size_t begin = 0; begin < order.size(); begin += 24) ++(d.patient_id[order[begin]] < 7030 ? of_many : of_two);
  }
  CHECK(static_cast<double>(of_many) / static_cast<double>(of_two) == doctest::Approx(3).epsilon(0.2));
}

TEST_CASE("patient batches: more patients than fit are refused") {
  const Dataset d = patients_with({2, 2});
  CHECK(test::sentence_of<UsageError>([&] { patient_batches(d, all_of(d), 8, 5, 1, 0); }) ==
        "a batch of 8 records cannot hold two records each of 5 patients; expected 1 to 4");
}

}  // namespace
}  // namespace systole::data
