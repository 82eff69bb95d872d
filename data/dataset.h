// A data set in memory: all records with one length, one sampling rate and one order of leads, as int16 samples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace systole::data {

struct Dataset {
  std::string name;
  int length = 0;  // L, samples per record
  double sampling_rate_hz = 0;
  std::vector<std::string> leads;  // I, II, III, AVR, AVL, AVF, V1 … V6 for a standard ECG

  std::vector<int16_t> samples;  // [R, L, leads]: value = sample · scale + offset, in `unit`
  std::vector<float> scale;      // [R, leads]; 0: the record lacks the lead
  std::vector<float> offset;     // [R, leads]
  std::string unit;              // mV, or NU for signals that their source has normalised

  std::vector<int64_t> record_id;        // [R]
  std::vector<std::string> record_name;  // [R], as in messages: the path relative to the root, where it has one
  std::vector<int64_t> patient_id;       // [R]
  std::vector<int> fold;                 // [R], 1 … 10
  std::string label_set;                 // where the classes come from: superclass, low-lvef, table, aami …
  std::vector<std::string> classes;
  std::vector<uint8_t> labels;  // [R, classes], 0 or 1

  size_t records() const { return record_id.size(); }
  size_t lead_count() const { return leads.size(); }
  const int16_t* record(size_t r) const { return samples.data() + r * static_cast<size_t>(length) * leads.size(); }
  bool has_lead(size_t r, size_t lead) const { return scale[r * leads.size() + lead] != 0; }
  uint8_t label(size_t r, size_t c) const { return labels[r * classes.size() + c]; }
};

}  // namespace systole::data
