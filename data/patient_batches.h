// Batches that hold several records of one patient. In a plain shuffle these are rare: with two ECGs per patient a
// batch of 512 out of a million has 0.13 such pairs, and losses whose positives are patients learn from them alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace systole::data {

/// The patients of all records as numbers 0 … P − 1, in the order of their first record. [R]
std::vector<int32_t> patient_numbers(const Dataset& dataset);

/// The records in the order of one epoch: each batch_size of them hold two records each of `patients` patients, and are
/// filled up by chance. Every record is used once; what a batch cannot get, since too few patients have two records, is
/// shared out evenly over the epoch. A pure function of its arguments. Throws UsageError unless 2 · patients ≤
/// batch_size.
std::vector<size_t> patient_batches(const Dataset& dataset, const std::vector<size_t>& records, int64_t batch_size,
                                    int64_t patients, uint64_t seed, uint32_t epoch);

/// How many pairs of the records are of one patient.
int64_t same_patient_pairs(std::span<const int32_t> patients);

}  // namespace systole::data
