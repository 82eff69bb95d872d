#include "data/record_check.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <string_view>

#include "data/lead_storage.h"

namespace systole::data {
namespace {

constexpr double kStretchSeconds = 0.02;
constexpr size_t kStretchSamples = 5;
constexpr double kSaturatedShare = 0.01;

struct Extremes {
  int32_t low = 0, high = 0;
};

Extremes extremes_of(const std::vector<int32_t>& samples) {
  Extremes e{kInvalidSample, kInvalidSample};
  for (const int32_t sample : samples) {
    if (sample == kInvalidSample) continue;
    e.low = e.low == kInvalidSample ? sample : std::min(e.low, sample);
    e.high = std::max(e.high, sample);
  }
  return e;
}

bool is_saturated(const std::vector<int32_t>& samples, const Extremes& extremes, double sampling_rate_hz) {
  const auto least = std::max(kStretchSamples, static_cast<size_t>(std::ceil(kStretchSeconds * sampling_rate_hz)));
  size_t held = 0;
  for (auto at = samples.begin(); at != samples.end();) {
    const auto end = std::find_if(at, samples.end(), [&](int32_t sample) { return sample != *at; });
    const auto stretch = static_cast<size_t>(end - at);
    if ((*at == extremes.low || *at == extremes.high) && stretch >= least) held += stretch;
    at = end;
  }
  return static_cast<double>(held) >= kSaturatedShare * static_cast<double>(samples.size());
}

uint64_t hash_of(const std::string& lead, const std::vector<int32_t>& samples) {
  std::string name = lead;
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
  const std::string_view bytes(reinterpret_cast<const char*>(samples.data()), samples.size() * sizeof(int32_t));
  return std::hash<std::string_view>()(bytes) * 0x9E3779B97F4A7C15u + std::hash<std::string>()(name);
}

void add_lead(const WfdbSignal& signal, const std::vector<int32_t>& samples, SignalFindings& to) {
  to.invalid_samples += static_cast<size_t>(std::count(samples.begin(), samples.end(), kInvalidSample));
  to.fingerprint += hash_of(signal.description, samples);  // a sum: in any order of leads
  const Extremes extremes = extremes_of(samples);
  if (extremes.low == extremes.high)
    to.constant_leads.push_back(signal.description);
  else if (is_saturated(samples, extremes, to.sampling_rate_hz * signal.samples_per_frame))
    to.saturated_leads.push_back(signal.description);
  if (const KeptUnit unit = kept_unit(signal.unit); unit.name == "mV")
    to.range_mv = std::max(to.range_mv,
                           (static_cast<double>(extremes.high) - extremes.low) / std::abs(signal.gain) * unit.factor);
}

}  // namespace

SignalFindings find_oddities(const WfdbRecord& record) {
  SignalFindings findings;
  findings.sampling_rate_hz = record.header.sampling_rate_hz;
  findings.length = record.length;
  for (size_t s = 0; s < record.samples.size(); ++s) add_lead(record.header.signals[s], record.samples[s], findings);
  return findings;
}

SignalFindings find_oddities(const Dataset& dataset, size_t record) {
  SignalFindings findings;
  findings.sampling_rate_hz = dataset.sampling_rate_hz;
  findings.length = dataset.length;
  const size_t leads = dataset.lead_count();
  for (size_t lead = 0; lead < leads; ++lead) {
    if (!dataset.has_lead(record, lead)) continue;
    WfdbSignal signal;
    signal.description = dataset.leads[lead];
    signal.unit = dataset.unit;
    signal.gain = 1 / static_cast<double>(dataset.scale[record * leads + lead]);
    std::vector<int32_t> samples;
    for (size_t l = 0; l < static_cast<size_t>(dataset.length); ++l)
      samples.push_back(dataset.record(record)[l * leads + lead]);
    add_lead(signal, samples, findings);
  }
  return findings;
}

}  // namespace systole::data
