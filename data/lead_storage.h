// How one lead of one record gets into a data set: samples of a WFDB signal become int16 with a scale and an offset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/wfdb.h"

namespace systole::data {

/// The unit in which Systole keeps a signal, and what its values are multiplied by: voltages are kept in mV.
/// The name of a voltage may be spelled in any case: some records of the PhysioNet challenges are in mv.
struct KeptUnit {
  std::string name;
  double factor;
};
KeptUnit kept_unit(const std::string& unit);

/// Replaces kInvalidSample by the line between its valid neighbours, or by the nearest valid sample at either end.
/// Returns how many there were; a lead without any valid sample is left as it is.
size_t fill_invalid(std::vector<int32_t>& samples);

/// Sets the number of records, of the data set's length and leads. What is new is zero, and lacks all leads.
void resize_records(Dataset& dataset, size_t records);

/// Moves the samples of a record to another place.
void move_record(Dataset& dataset, size_t from, size_t to);

/// Stores a lead without invalid samples, [L], exactly where all fit into 16 bits, and else with an offset or a coarser
/// step. Returns whether that was so.
bool store_samples(Dataset& dataset, size_t record, size_t lead, const WfdbSignal& signal,
                   std::span<const int32_t> samples);

/// Stores values between the integers, [L], in the steps of the signal's samples, with 65,534 steps over their range:
/// for a lead that was resampled.
void store_values(Dataset& dataset, size_t record, size_t lead, const WfdbSignal& signal,
                  std::span<const double> values);

}  // namespace systole::data
