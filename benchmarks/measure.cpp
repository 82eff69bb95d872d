#include "benchmarks/measure.h"

#include <algorithm>

#include "benchmarks/ceilings.h"
#include "kernels/common/memory.h"

namespace systole::benchmarks {
namespace {

constexpr size_t kMoreThanACache = size_t{256} << 20;  // bytes; the largest L2 and L3 caches have about 100 MB
constexpr size_t kMostCopies = 64;
constexpr size_t kAlignment = 256;  // bytes: what cudaMalloc gives

}  // namespace

DeviceMemory::DeviceMemory(Queue& queue, const Problem& problem, bool rotating) {
  size_t bytes = 0;
  for (const auto& buffer : problem.buffers) bytes += buffer.size() * sizeof(float);
  const size_t wanted = std::clamp((kMoreThanACache + bytes) / std::max(bytes, size_t{1}), size_t{1}, kMostCopies);
  copies_.resize(rotating ? wanted : 1);
  for (const auto& buffer : problem.buffers) {
    const size_t size = buffer.size() * sizeof(float), stride = (size + kAlignment - 1) / kAlignment * kAlignment;
    memory_.push_back(allocate_memory(queue.device(), (copies_.size() - 1) * stride + size));
    std::byte* const first = memory_.back().get();
    copy_to_device(queue, first, buffer.data(), size);
    for (size_t i = 0; i < copies_.size(); ++i) {
      if (i > 0) copy_on_device(queue, first + i * stride, first, size);
      copies_[i].push_back(reinterpret_cast<float*>(first + i * stride));
    }
  }
}

std::vector<std::vector<float>> DeviceMemory::results(Queue& queue, const Problem& problem) const {
  std::vector<std::vector<float>> found;
  for (int b : problem.results) {
    found.emplace_back(problem.buffers[static_cast<size_t>(b)].size());
    copy_to_host(queue, found.back().data(), copies_[0][static_cast<size_t>(b)], found.back().size() * sizeof(float));
  }
  return found;
}

double Ceilings::floor(double flop, double bytes, Precision precision) const {
  if (bytes_per_second == 0) return 0;
  // The tensor cores multiply tf32 at half the rate of bf16.
  const double rate = precision == Precision::f32    ? fma_flop_per_second
                      : precision == Precision::tf32 ? bf16_flop_per_second / 2
                                                     : bf16_flop_per_second;
  return std::max(flop / rate, bytes / bytes_per_second);
}

Ceilings measure_ceilings([[maybe_unused]] Device device) {
  Ceilings ceilings;
#if defined(SYSTOLE_CUDA)
  if (device != Device::cuda) return ceilings;
  constexpr int kBlocks = 4096, kSamples = 10;
  constexpr size_t kCopyBytes = size_t{1} << 30;
  Queue queue(device);
  const auto from = allocate_memory(device, kCopyBytes), to = allocate_memory(device, kCopyBytes);
  Problem random;
  random.normal(1 << 18);
  size_t filled = random.buffers[0].size() * sizeof(float);
  copy_to_device(queue, from.get(), random.buffers[0].data(), filled);
  for (; filled < kCopyBytes; filled *= 2) copy_on_device(queue, from.get() + filled, from.get(), filled);
  auto* const sink = reinterpret_cast<float*>(to.get());
  const auto fastest = [&](const std::function<void()>& call) {
    return measure(
               queue, [&](int64_t) { call(); }, kSamples, 0)
        .fastest;
  };
  ceilings.bytes_per_second =
      2.0 * kCopyBytes / fastest([&] { copy_on_device(queue, to.get(), from.get(), kCopyBytes); });
  constexpr int kFmaRounds = 8192, kMmaRounds = 2048;  // some milliseconds
  ceilings.fma_flop_per_second =
      kFmaFlop * kBlocks * kFmaRounds / fastest([&] { kernels::cuda::ceilings.fma(queue, kBlocks, kFmaRounds, sink); });
  ceilings.bf16_flop_per_second = kMmaFlop * kBlocks * kMmaRounds /
                                  fastest([&] { kernels::cuda::ceilings.mma_bf16(queue, kBlocks, kMmaRounds, sink); });
#endif
  return ceilings;
}

}  // namespace systole::benchmarks
