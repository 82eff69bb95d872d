#include "data/lead_storage.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <type_traits>

namespace systole::data {
namespace {

// The integers that stand for a lead in int16: value in adu = stored · step + centre.
struct Storage {
  double step = 1, centre = 0;
};
constexpr double kSteps = 2.0 * INT16_MAX - 1;  // one less than there are: the centre may lie half a sample low

Storage storage_of_samples(std::span<const int32_t> samples) {
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  if (*low >= INT16_MIN && *high <= INT16_MAX) return {};
  const double range = static_cast<double>(*high) - *low;
  return {std::max(1.0, range / kSteps), std::floor(*low + range / 2)};
}

Storage storage_of_values(std::span<const double> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double range = *high - *low;
  return {range > 0 ? range / kSteps : 1, *low + range / 2};
}

template <class Value>
void store(Dataset& dataset, size_t record, size_t lead, const WfdbSignal& signal, std::span<const Value> values,
           const Storage& storage) {
  const size_t leads = dataset.lead_count(), place = record * leads + lead;
  const double unit_per_adu = kept_unit(signal.unit).factor / signal.gain;
  dataset.scale[place] = static_cast<float>(storage.step * unit_per_adu);
  dataset.offset[place] = static_cast<float>((storage.centre - signal.baseline) * unit_per_adu);
  int16_t* stored = dataset.samples.data() + record * static_cast<size_t>(dataset.length) * leads + lead;
  const auto store_all = [&](const auto& stored_of) {
    for (const Value value : values) {
      *stored = stored_of(value);
      stored += leads;
    }
  };
  if (std::is_integral_v<Value> && storage.step == 1 && storage.centre == 0)  // nearly always
    store_all([](Value value) { return static_cast<int16_t>(value); });
  else
    store_all([&](Value value) { return static_cast<int16_t>(std::lround((value - storage.centre) / storage.step)); });
}

}  // namespace

KeptUnit kept_unit(const std::string& unit) {
  std::string spelled = unit;
  std::transform(spelled.begin(), spelled.end(), spelled.begin(), [](unsigned char c) { return std::tolower(c); });
  if (spelled == "v") return {"mV", 1e3};
  if (spelled == "mv") return {"mV", 1};
  if (spelled == "uv" || spelled == "µv") return {"mV", 1e-3};
  return {unit, 1};
}

size_t fill_invalid(std::vector<int32_t>& samples) {
  if (std::find(samples.begin(), samples.end(), kInvalidSample) == samples.end()) return 0;  // nearly always
  size_t filled = 0;
  std::optional<size_t> last_valid;
  for (size_t i = 0; i <= samples.size(); ++i) {
    if (i < samples.size() && samples[i] == kInvalidSample) continue;
    const size_t begin = last_valid ? *last_valid + 1 : 0;
    if (i == samples.size() && !last_valid) return samples.size();
    const double after = samples[i < samples.size() ? i : *last_valid];
    const double before = samples[last_valid ? *last_valid : i];
    for (size_t gap = begin; gap < i; ++gap, ++filled) {
      const double part = static_cast<double>(gap + 1 - begin) / static_cast<double>(i + 1 - begin);
      samples[gap] = static_cast<int32_t>(std::lround(before + part * (after - before)));
    }
    last_valid = i;
  }
  return filled;
}

void resize_records(Dataset& dataset, size_t records) {
  dataset.samples.resize(records * static_cast<size_t>(dataset.length) * dataset.lead_count());
  dataset.scale.resize(records * dataset.lead_count());
  dataset.offset.resize(records * dataset.lead_count());
}

void move_record(Dataset& dataset, size_t from, size_t to) {
  const auto move = [&](auto& values, size_t count) {
    std::copy_n(values.data() + from * count, count, values.data() + to * count);
  };
  if (from == to) return;
  move(dataset.samples, static_cast<size_t>(dataset.length) * dataset.lead_count());
  move(dataset.scale, dataset.lead_count());
  move(dataset.offset, dataset.lead_count());
}

bool store_samples(Dataset& dataset, size_t record, size_t lead, const WfdbSignal& signal,
                   std::span<const int32_t> samples) {
  const Storage storage = storage_of_samples(samples);
  store(dataset, record, lead, signal, samples, storage);
  return storage.step != 1 || storage.centre != 0;
}

void store_values(Dataset& dataset, size_t record, size_t lead, const WfdbSignal& signal,
                  std::span<const double> values) {
  store(dataset, record, lead, signal, values, storage_of_values(values));
}

}  // namespace systole::data
