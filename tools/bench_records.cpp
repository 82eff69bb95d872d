#include "tools/bench_records.h"

#include <fmt/format.h>
#include <numeric>

#include "kernels/common/memory.h"
#include "kernels/common/philox.h"

namespace systole::tools {

RandomRecords::RandomRecords(int count, int length, int leads, double sampling_rate_hz, uint64_t seed, Device device)
    : queue_(device), source_{} {
  const auto N = static_cast<size_t>(count), C = static_cast<size_t>(leads);
  const RandomStream stream(seed, Purpose::test);
  std::vector<int16_t> samples(N * static_cast<size_t>(length) * C);
  for (size_t i = 0; i < samples.size(); ++i)
    samples[i] = static_cast<int16_t>(stream.below(static_cast<uint32_t>(i), 400)) - 200;
  std::vector<uint32_t> records(N);
  std::iota(records.begin(), records.end(), 0u);
  source_ = {upload(samples),
             upload(std::vector<float>(N * C, 0.005f)),
             upload(std::vector<float>(N * C, 0.0f)),
             upload(std::vector<float>(C, 0.0f)),
             upload(std::vector<float>(C, 0.2f)),
             upload(records),
             sampling_rate_hz};
}

template <class T>
const T* RandomRecords::upload(const std::vector<T>& values) {
  memory_.push_back(allocate_memory(queue_.device(), values.size() * sizeof(T)));
  copy_to_device(queue_, memory_.back().get(), values.data(), values.size() * sizeof(T));
  return reinterpret_cast<const T*>(memory_.back().get());
}

std::vector<std::string> lead_names(int count) {
  if (count == 8) return {"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"};
  if (count == 12) return {"I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"};
  std::vector<std::string> names;
  for (int c = 0; c < count; ++c) names.push_back(fmt::format("lead {}", c + 1));
  return names;
}

}  // namespace systole::tools
