// What is odd about the signal of a record, beyond what makes it useless: for a report on a data set.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/wfdb.h"

namespace systole::data {

struct SignalFindings {
  std::vector<std::string> constant_leads;   // one value throughout
  std::vector<std::string> saturated_leads;  // held at their largest or smallest value, as a clipped signal is
  size_t invalid_samples = 0;                // without value
  double range_mv = 0;                       // the largest of a lead, smallest to largest value; 0: not a voltage
  double sampling_rate_hz = 0;
  int64_t length = 0;
  uint64_t fingerprint = 0;  // equal for records of the same samples, whatever the order and gain of their leads
};

/// A lead counts as saturated when 1 % of its samples stand in stretches of at least 20 ms and 5 samples that have its
/// largest or its smallest value.
SignalFindings find_oddities(const WfdbRecord& record);

/// The same of a record of a data set in memory; leads that it lacks count for nothing.
SignalFindings find_oddities(const Dataset& dataset, size_t record);

}  // namespace systole::data
