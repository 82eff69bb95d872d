// The rate of multiplying and adding that the CPU's threads reach together: every thread has chains x = x·a + b of
// vectors in registers, enough of them that none waits for its last result. (Two units with a latency of four clocks,
// as in most processors, need eight chains.)
//
// And the rate of reading: every thread adds up a buffer of its own, again and again, that fits into half of a cache.
//
// Samples are short and many, and the fastest counts: one of them then falls between two turns of whatever else runs on
// the machine.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "benchmarks/ceilings.h"
#include "benchmarks/timing.h"
#include "kernels/common/parallel.h"
#include "kernels/common/simd.h"

namespace systole::benchmarks {
namespace {

using kernels::cpu::kWidth;
using kernels::cpu::load;
using kernels::cpu::multiply_add;
using kernels::cpu::Vector;

constexpr int kChains = 12;  // of 16 registers
constexpr int64_t kRounds = 1 << 18;
constexpr int kSamples = 60;
constexpr double kSampleSeconds = 1e-3;

/// The shortest of the samples, of body(thread, turn) on every thread: a number, so that the compiler keeps the work.
template <class Body>
double fastest(const Body& body) {
  Queue queue(Device::cpu);
  std::atomic<float> sink;
  const auto on_all_threads = [&](int64_t turn) {
    parallel_for(threads(), [&](int64_t thread) { sink = body(thread, turn); });
  };
  return measure(queue, on_all_threads, kSamples, kSampleSeconds).fastest;
}

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

#if defined(__x86_64__)
/// Chains x = x + a·b, 16 sums of two products each.
__attribute__((target("avx512f,avx512bf16"))) float dot_product_chains(int64_t rounds, float first) {
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.9f), _mm512_set1_ps(-0.7f));
  const __m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.3f), _mm512_set1_ps(0.4f));
  __m512 x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = _mm512_set1_ps(first + static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) x[i] = _mm512_dpbf16_ps(x[i], a, b);
  __m512 sum = _mm512_setzero_ps();
  for (const __m512& chain : x) sum = _mm512_add_ps(sum, chain);
  float lanes[16];
  _mm512_storeu_ps(lanes, sum);
  return std::accumulate(lanes, lanes + 16, 0.0f);
}
#endif

/// The sum of `count` floats, a multiple of 8 vectors, so that it is loads that take the time.
float sum_of(const float* from, int64_t count) {
  Vector sums[8] = {};
  for (int64_t i = 0; i < count; i += 8 * kWidth)
#pragma GCC unroll 8
    for (int64_t v = 0; v < 8; ++v) sums[v] += load(from + i + v * kWidth);
  Vector sum = 0;
  for (const Vector& s : sums) sum += s;
  return std::experimental::reduce(sum);
}

/// Bytes that all threads read in a second, each of `share` bytes of its own, which it goes through piece by piece.
double read_rate(int64_t share) {
  constexpr int64_t kCallBytes = int64_t{2} << 20;  // of a thread: much longer than starting the threads takes
  constexpr int64_t kUnit = 8 * kWidth;             // floats
  const int64_t piece = std::max(kUnit, std::min(share, kCallBytes) / (kUnit * 4) * kUnit), pieces = share / (piece * 4),
                rounds = std::max<int64_t>(1, kCallBytes / share);
  std::vector<std::unique_ptr<float[]>> buffers(static_cast<size_t>(threads()));
  parallel_for(threads(), [&](int64_t thread) {  // each thread's own, from its own part of the memory
    auto& buffer = buffers[static_cast<size_t>(thread)];
    buffer = std::make_unique<float[]>(static_cast<size_t>(pieces * piece));
    std::iota(buffer.get(), buffer.get() + pieces * piece, 1.0f);
  });
  const double seconds = fastest([&](int64_t thread, int64_t turn) {
    const float* from = buffers[static_cast<size_t>(thread)].get() + turn % pieces * piece;
    float sum = 0;
    for (int64_t round = 0; round < rounds; ++round) {
      sum += sum_of(from, piece);
      asm volatile("" ::: "memory");  // or the compiler would read once for all rounds
    }
    return sum;
  });
  return static_cast<double>(threads() * rounds * piece) * sizeof(float) / seconds;
}

struct Cache {
  int level;
  int64_t bytes;  // of all that serve threads() threads
};

/// "0-3,8" are 5 processors.
int64_t count_processors(const std::string& list) {
  int64_t count = 0;
  std::istringstream stream(list);
  for (std::string range; std::getline(stream, range, ',');) {
    const size_t dash = range.find('-');
    count += dash == std::string::npos ? 1 : std::stoll(range.substr(dash + 1)) - std::stoll(range) + 1;
  }
  return count;
}

/// The data caches of the first processor, the nearest first, by Linux's /sys; none where it does not say.
std::vector<Cache> caches() {
  std::vector<Cache> found;
  for (int index = 0;; ++index) {
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", index);
    const auto word = [&](const char* file) {
      std::string text;
      std::ifstream(folder + file) >> text;
      return text;
    };
    const std::string level = word("level"), size = word("size"), sharers = word("shared_cpu_list");
    if (level.empty() || size.empty() || sharers.empty()) return found;
    if (word("type") == "Instruction") continue;
    const int64_t unit = size.ends_with('K') ? 1024 : size.ends_with('M') ? 1024 * 1024 : 1;
    const int64_t sharing = count_processors(sharers), serving = (threads() + sharing - 1) / sharing;
    found.push_back({std::stoi(level), std::stoll(size) * unit * serving});
  }
}

}  // namespace

double cpu_fma_rate() {
  const double flop = 2.0 * kWidth * kChains * static_cast<double>(kRounds) * threads();
  return flop / fastest([](int64_t thread, int64_t) { return chains(kRounds, static_cast<float>(thread)); });
}

double cpu_bf16_rate() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16")) {
    const double flop = 2.0 * 32 * kChains * static_cast<double>(kRounds) * threads();
    return flop /
           fastest([](int64_t thread, int64_t) { return dot_product_chains(kRounds, static_cast<float>(thread)); });
  }
#endif
  return 0;
}

std::vector<MemoryLevel> cpu_memory_levels() {
  constexpr int64_t kMemory = int64_t{256} << 20;
  std::vector<MemoryLevel> levels;
  int64_t largest = 0;  // of a thread, so far
  for (const Cache& cache : caches()) {
    const int64_t share = cache.bytes / threads();
    if (share / 2 <= largest) continue;  // what would be read is in the cache before it
    levels.push_back({fmt::format("L{}", cache.level), static_cast<double>(cache.bytes), read_rate(share / 2)});
    largest = share;
  }
  levels.push_back({"DRAM", INFINITY, read_rate(std::max(kMemory / threads(), 4 * largest))});
  return levels;
}

}  // namespace systole::benchmarks
