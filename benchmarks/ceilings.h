// The highest rates that a device reaches, for a benchmark's numbers to be held against: measured in the same run
// rather than read off a data sheet.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::benchmarks {

/// A cache, or the memory behind all of them.
struct MemoryLevel {
  std::string name;         // "L1", "L2", "L3", "DRAM", "HBM"
  double bytes;             // what it holds, the private caches of all threads together; infinite for the memory
  double bytes_per_second;  // read by all threads together
};

/// The least time that work takes, and what it is bound by.
struct Floor {
  double seconds;
  std::string by;  // "FMA", "bf16 dot product", "mma.sync tf32", or the name of a MemoryLevel
};

/// Rates that nothing on this device can exceed, measured now. 0: not measured, or the device does not have it.
struct Ceilings {
  Device device = Device::cpu;
  double fma_flop_per_second = 0;     // chains of fused multiply-adds in f32
  double bf16_flop_per_second = 0;    // cuda: chains of mma.sync; cpu: of AVX512_BF16's dot product
  double copy_bytes_per_second = 0;   // from memory to memory, read and write counted
  std::vector<MemoryLevel> levels{};  // the nearest first

  /// FLOP/s of products in a precision.
  double flop_per_second(Precision precision) const;
  /// The unit that has this rate: "FMA".
  std::string unit(Precision precision) const;
  /// What holds `bytes` that are read again and again. Null when nothing was measured.
  const MemoryLevel* level_of(double bytes) const;
  /// For work whose buffers, all that take turns, have `footprint` bytes together. None unless the rates are known.
  std::optional<Floor> floor(double flop, double bytes, double footprint, Precision precision) const;
  /// Keeps the higher of each rate: what else runs on a machine lowers a measurement, and nothing raises it.
  void raise(const Ceilings& again);
};

/// All of them; on simt, whose times mean nothing, none.
Ceilings measure_ceilings(Device device);
/// Only the rates of arithmetic.
Ceilings measure_arithmetic(Device device);

/// FLOP/s of fused multiply-adds on threads() threads, which keep all operands in registers.
double cpu_fma_rate();
/// FLOP/s of bf16 dot products with f32 sums on threads() threads; 0 where the processor has no AVX512_BF16.
double cpu_bf16_rate();
/// The caches that the system knows of, and DRAM, read by threads() threads.
std::vector<MemoryLevel> cpu_memory_levels();
/// Bytes read and written in a second by a copy within the device's memory, larger than any cache.
double copy_rate(Queue& queue);

/// Kernels that do nothing but arithmetic, or nothing but read.
inline constexpr int kCeilingThreads = 256, kCeilingWarps = kCeilingThreads / 32;  // of a block
/// What one block does in one round.
inline constexpr double kFmaFlop = 2.0 * 16 * kCeilingThreads;
inline constexpr double kMmaFlop = 2.0 * 16 * 8 * 16 * 8 * kCeilingWarps;

struct CeilingKernels {
  /// sink [blocks, kCeilingThreads], so that the compiler keeps the arithmetic.
  kernels::Entry<"ceilings.fma", void(int blocks, int rounds, float* sink)> fma;
  kernels::Entry<"ceilings.mma_bf16", void(int blocks, int rounds, float* sink)> mma_bf16;
  /// Reads from [count], a multiple of 4, `rounds` times.
  kernels::Entry<"ceilings.read", void(int blocks, int rounds, const float* from, int64_t count, float* sink)> read;
};

}  // namespace systole::benchmarks

namespace systole::kernels {
namespace simt {
extern const benchmarks::CeilingKernels ceilings;
}
namespace cuda {
extern const benchmarks::CeilingKernels ceilings;
}
}  // namespace systole::kernels
