// The rate of multiplying and adding that the CPU's threads reach together: every thread has chains x = x·a + b of
// vectors in registers, enough of them that none waits for its last result. (Two units with a latency of four clocks,
// as in most processors, need eight chains.)

#include <atomic>

#include "benchmarks/ceilings.h"
#include "benchmarks/timing.h"
#include "kernels/common/parallel.h"
#include "kernels/common/simd.h"

namespace systole::benchmarks {
namespace {

using kernels::cpu::kWidth;
using kernels::cpu::multiply_add;
using kernels::cpu::Vector;

constexpr int kChains = 12;  // of 16 registers
constexpr int64_t kRounds = 1 << 20;
constexpr int kSamples = 5;
constexpr double kSampleSeconds = 0.02;

float chains(int64_t rounds, float first) {
  const Vector factor = 0.999f, term = 0.5f;
  Vector x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = first + static_cast<float>(i);
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = multiply_add(x[i], factor, term);
  Vector sum = 0;
  for (const Vector& chain : x) sum += chain;
  return std::experimental::reduce(sum);
}

}  // namespace

double cpu_fma_rate() {
  Queue queue(Device::cpu);
  std::atomic<float> sink;  // so that the compiler keeps the arithmetic
  const int count = threads();
  const auto on_all_threads = [&](int64_t turn) {
    parallel_for(count, [&](int64_t thread) { sink = chains(kRounds, static_cast<float>(turn + thread)); });
  };
  const double flop = 2.0 * kWidth * kChains * static_cast<double>(kRounds) * count;
  return flop / measure(queue, on_all_threads, kSamples, kSampleSeconds).fastest;
}

}  // namespace systole::benchmarks
