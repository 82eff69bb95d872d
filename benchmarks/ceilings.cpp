#include "benchmarks/ceilings.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <vector>

#include "benchmarks/timing.h"
#include "kernels/common/memory.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

namespace systole::benchmarks {
namespace {

constexpr int kSamples = 10;

/// `bytes` of memory filled with random numbers: a copy of zeros may take less power and so be faster.
std::shared_ptr<std::byte> random_memory(Queue& queue, size_t bytes) {
  std::vector<float> values(1 << 18);
  const RandomStream stream(1, Purpose::test);
  for (size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(static_cast<uint32_t>(i));
  const auto memory = allocate_memory(queue.device(), bytes);
  size_t filled = values.size() * sizeof(float);
  copy_to_device(queue, memory.get(), values.data(), filled);
  for (; filled < bytes; filled *= 2) copy_on_device(queue, memory.get() + filled, memory.get(), filled);
  return memory;
}

#if defined(SYSTOLE_CUDA)
double fastest(Queue& queue, const std::function<void()>& call) {
  return measure(
             queue, [&](int64_t) { call(); }, kSamples, 0)
      .fastest;
}

constexpr int kBlocks = 4096;

Ceilings cuda_arithmetic() {
  constexpr int kFmaRounds = 8192, kMmaRounds = 2048;  // some milliseconds
  Queue queue(Device::cuda);
  const auto memory = allocate_memory(Device::cuda, size_t{kBlocks} * kCeilingThreads * sizeof(float));
  auto* const sink = reinterpret_cast<float*>(memory.get());
  Ceilings c{.device = Device::cuda};
  c.fma_flop_per_second = kFmaFlop * kBlocks * kFmaRounds /
                          fastest(queue, [&] { kernels::cuda::ceilings.fma(queue, kBlocks, kFmaRounds, sink); });
  c.bf16_flop_per_second = kMmaFlop * kBlocks * kMmaRounds /
                           fastest(queue, [&] { kernels::cuda::ceilings.mma_bf16(queue, kBlocks, kMmaRounds, sink); });
  return c;
}

/// L2 reads half of what it holds, again and again; HBM 1 GB.
std::vector<MemoryLevel> cuda_memory_levels() {
  constexpr size_t kMemoryBytes = size_t{1} << 30;
  Queue queue(Device::cuda);
  const auto from = random_memory(queue, kMemoryBytes),
             sinks = allocate_memory(Device::cuda, size_t{kBlocks} * kCeilingThreads * sizeof(float));
  const auto rate = [&](size_t bytes, int rounds) {
    const auto count = static_cast<int64_t>(bytes / sizeof(float) / 4 * 4);
    const auto read = [&] {
      kernels::cuda::ceilings.read(queue, kBlocks, rounds, reinterpret_cast<const float*>(from.get()), count,
                                   reinterpret_cast<float*>(sinks.get()));
    };
    return static_cast<double>(count) * sizeof(float) * rounds / fastest(queue, read);
  };
  const size_t l2 = kernels::cuda::l2_cache_bytes();
  std::vector<MemoryLevel> levels;
  if (l2 > 0) levels.push_back({"L2", static_cast<double>(l2), rate(std::min(l2 / 2, kMemoryBytes), 64)});
  levels.push_back({"HBM", INFINITY, rate(kMemoryBytes, 1)});
  return levels;
}
#endif

}  // namespace

double copy_rate(Queue& queue) {
  const bool cuda = queue.device() == Device::cuda;
  const size_t bytes = size_t{cuda ? 1024u : 256u} << 20;
  const auto from = random_memory(queue, bytes), to = allocate_memory(queue.device(), bytes);
  if (cuda) {
    const auto copy = [&](int64_t) { copy_on_device(queue, to.get(), from.get(), bytes); };
    return 2.0 * static_cast<double>(bytes) / measure(queue, copy, kSamples, 0.02).fastest;
  }
  fill_zero(queue, to.get(), bytes);  // or the system would clear each page when it is first written
  // Short samples, as in ceilings_cpu.cpp: a call goes on where the last one ended.
  constexpr size_t kPiece = size_t{2} << 20;
  const auto pieces = static_cast<int64_t>(bytes / kPiece), count = int64_t{threads()};
  const auto copy = [&](int64_t turn) {
    parallel_for(count, [&](int64_t thread) {
      const auto begin = static_cast<size_t>((turn * count + thread) % pieces) * kPiece;
      std::memcpy(to.get() + begin, from.get() + begin, kPiece);
    });
  };
  return 2.0 * static_cast<double>(kPiece) * static_cast<double>(count) / measure(queue, copy, 60, 1e-3).fastest;
}

double Ceilings::flop_per_second(Precision precision) const {
  // The tensor cores multiply tf32 at half the rate of bf16.
  return precision == Precision::f32    ? fma_flop_per_second
         : precision == Precision::tf32 ? bf16_flop_per_second / 2
                                        : bf16_flop_per_second;
}

std::string Ceilings::unit(Precision precision) const {
  if (precision == Precision::f32) return "FMA";
  return device == Device::cpu ? "bf16 dot product" : fmt::format("mma.sync {}", name(precision));
}

const MemoryLevel* Ceilings::level_of(double bytes) const {
  for (const MemoryLevel& level : levels)
    if (bytes <= level.bytes) return &level;
  return nullptr;
}

std::optional<Floor> Ceilings::floor(double flop, double bytes, double footprint, Precision precision) const {
  const MemoryLevel* level = level_of(footprint);
  const double rate = flop_per_second(precision);
  if (!level || rate == 0) return std::nullopt;
  const double arithmetic = flop / rate, traffic = bytes / level->bytes_per_second;
  return arithmetic > traffic ? Floor{arithmetic, unit(precision)} : Floor{traffic, level->name};
}

void Ceilings::raise(const Ceilings& again) {
  fma_flop_per_second = std::max(fma_flop_per_second, again.fma_flop_per_second);
  bf16_flop_per_second = std::max(bf16_flop_per_second, again.bf16_flop_per_second);
  copy_bytes_per_second = std::max(copy_bytes_per_second, again.copy_bytes_per_second);
  for (size_t i = 0; i < levels.size(); ++i)
    levels[i].bytes_per_second = std::max(levels[i].bytes_per_second, again.levels.at(i).bytes_per_second);
}

Ceilings measure_arithmetic(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return cuda_arithmetic();
#endif
  Ceilings c{.device = device};
  if (device != Device::cpu) return c;
  c.fma_flop_per_second = cpu_fma_rate();
  c.bf16_flop_per_second = cpu_bf16_rate();
  return c;
}

Ceilings measure_ceilings(Device device) {
  Ceilings c = measure_arithmetic(device);
  if (device == Device::simt) return c;
  Queue queue(device);
  c.copy_bytes_per_second = copy_rate(queue);
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) c.levels = cuda_memory_levels();
#endif
  if (device == Device::cpu) c.levels = cpu_memory_levels();
  return c;
}

}  // namespace systole::benchmarks
