// Which records are shown, and in what order: the small labelled part of a training set, and the order of an epoch.
//
// Both rest on a stratified order: the items, shuffled by the seed, are split in two halves with equal parts of every
// class, and each half is split in the same way down to single items. So every stretch of the order, in particular
// every prefix and every batch, has nearly the class proportions of the whole. A split is iterative stratification
// (Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011): the rarest class first,
// each item to the half that lacks most of its class.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/dataset.h"

namespace systole::data {

/// A part of the training records with about fraction · records of them, in ascending order. Patients are drawn whole,
/// class proportions are kept, and the part of a smaller fraction is contained in that of a larger one with the same
/// seed; the order of training_records plays no role. Throws UsageError for a fraction outside (0, 1] and Error without
/// records.
std::vector<size_t> sample_label_fraction(const Dataset& dataset, const std::vector<size_t>& training_records,
                                          double fraction, uint64_t seed);

/// A fold from 1 to 10 for each record, [R]: patients are dealt whole, so that every fold has nearly the class
/// proportions of all. Labels and patients of the data set are read, nothing else of it; the order of the patients'
/// numbers matters.
std::vector<int> deal_folds(const Dataset& dataset);

enum class BalanceStrategy {
  none,        ///< the given order in every epoch
  standard,    ///< a plain shuffle
  stratified,  ///< a shuffle that spreads every class evenly, so that batches resemble each other
  oversample,  ///< as many draws as records, with replacement, by oversampling_weights
};

/// The strategy of a name as above. Throws UsageError that lists the names for any other.
BalanceStrategy parse_balance_strategy(std::string_view text);

/// How often each record is drawn by oversampling, relative to the others: the mean over its classes of 1 / (records of
/// that class among those given). Records without any class count as one further class, but are drawn no more often
/// than the mean of the others; where there is one class they are its negatives, and drawn as often as its positives.
/// The weights add up to 1.
std::vector<double> oversampling_weights(const Dataset& dataset, const std::vector<size_t>& records);

/// The records in the order of one epoch; a pure function of its arguments.
std::vector<size_t> epoch_order(const Dataset& dataset, const std::vector<size_t>& records, BalanceStrategy strategy,
                                uint64_t seed, uint32_t epoch);

}  // namespace systole::data
