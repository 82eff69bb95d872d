#include "benchmarks/ceilings.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "benchmarks/timing.h"
#include "kernels/common/memory.h"
#include "kernels/common/philox.h"

namespace systole::benchmarks {
namespace {

#if defined(SYSTOLE_CUDA)
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

Ceilings cuda_ceilings() {
  constexpr int kBlocks = 4096, kSamples = 10;
  constexpr int kFmaRounds = 8192, kMmaRounds = 2048;  // some milliseconds
  constexpr size_t kCopyBytes = size_t{1} << 30;
  Queue queue(Device::cuda);
  const auto from = random_memory(queue, kCopyBytes), to = allocate_memory(Device::cuda, kCopyBytes);
  auto* const sink = reinterpret_cast<float*>(to.get());
  const auto fastest = [&](const std::function<void()>& call) {
    return measure(
               queue, [&](int64_t) { call(); }, kSamples, 0)
        .fastest;
  };
  Ceilings ceilings;
  ceilings.bytes_per_second =
      2.0 * kCopyBytes / fastest([&] { copy_on_device(queue, to.get(), from.get(), kCopyBytes); });
  ceilings.fma_flop_per_second =
      kFmaFlop * kBlocks * kFmaRounds / fastest([&] { kernels::cuda::ceilings.fma(queue, kBlocks, kFmaRounds, sink); });
  ceilings.bf16_flop_per_second = kMmaFlop * kBlocks * kMmaRounds /
                                  fastest([&] { kernels::cuda::ceilings.mma_bf16(queue, kBlocks, kMmaRounds, sink); });
  return ceilings;
}
#endif

}  // namespace

double Ceilings::flop_per_second(Precision precision) const {
  // The tensor cores multiply tf32 at half the rate of bf16.
  return precision == Precision::f32    ? fma_flop_per_second
         : precision == Precision::tf32 ? bf16_flop_per_second / 2
                                        : bf16_flop_per_second;
}

double Ceilings::floor(double flop, double bytes, Precision precision) const {
  if (bytes_per_second == 0) return 0;
  return std::max(flop / flop_per_second(precision), bytes / bytes_per_second);
}

Ceilings measure_ceilings(Device device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) return cuda_ceilings();
#endif
  Ceilings ceilings;
  if (device == Device::cpu) ceilings.fma_flop_per_second = cpu_fma_rate();
  return ceilings;
}

}  // namespace systole::benchmarks
