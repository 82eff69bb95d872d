// Normalisation per lead: z = (value − mean) / std, with mean and standard deviation of the training records in the
// unit of the data set. It belongs to a model and is stored in every checkpoint.
#pragma once

#include <string>
#include <vector>

#include "data/dataset.h"

namespace systole::data {

struct Normalization {
  std::vector<std::string> leads;
  std::vector<float> mean;  // [leads], in `unit`
  std::vector<float> std;   // [leads], in `unit`; 1 for a lead that is constant or absent, which then becomes zero
  std::string unit;
  double sampling_rate_hz = 0;
  int length = 0;  // samples per record

  bool operator==(const Normalization&) const = default;
};

/// Mean and standard deviation of each lead over all samples of the records that have it, in double and in a fixed
/// order; 0 and 1 for a lead that none has. Throws Error without records.
Normalization measure_normalization(const Dataset& dataset, const std::vector<size_t>& records);

/// Why a network's own normalisation cannot hold for a data set, as the end of a sentence; empty where it can.
std::string reason_to_measure(const Normalization& of_network, const Dataset& dataset);
/// What a network with a normalisation of its own gets on a data set that it was not trained on: its own, with the
/// length of these records; or, where there is a reason to measure, since the unit is another, or records lack leads
/// that none lacked in its training, the one that is measured on the training records. Throws Error as check_matches
/// for other leads and another sampling rate.
struct Adapted {
  Normalization normalization;
  std::string reason;  // a sentence where it is not the network's own, or the length is another; else empty
};
Adapted adapt_normalization(const Normalization& of_network, const Dataset& dataset,
                            const std::vector<size_t>& training_records);

/// As a JSON object, and back without loss. The reader throws Error that names `source` (a file) and what is wrong.
std::string to_json(const Normalization& normalization);
Normalization normalization_from_json(const std::string& text, const std::string& source);

/// Throws Error that names the difference when the data set has other leads, another sampling rate, unit or length.
void check_matches(const Normalization& normalization, const Dataset& dataset);

}  // namespace systole::data
