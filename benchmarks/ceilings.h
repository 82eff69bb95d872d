// The highest rates that a device reaches, for a benchmark's numbers to be held against: measured in the same run
// rather than read off a data sheet.
#pragma once

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::benchmarks {

/// Rates that nothing on this device can exceed, measured now. 0: not measured.
struct Ceilings {
  double bytes_per_second = 0;      // cuda: copies within the device's memory, read and write counted
  double fma_flop_per_second = 0;   // cuda: chains of fused multiply-adds; cpu: the same on threads() threads
  double bf16_flop_per_second = 0;  // cuda: chains of mma.sync

  /// FLOP/s of products in a precision.
  double flop_per_second(Precision precision) const;
  /// The seconds that a case needs at least, in a precision of products; 0 unless all rates are known.
  double floor(double flop, double bytes, Precision precision) const;
};
Ceilings measure_ceilings(Device device);

/// FLOP/s of fused multiply-adds on threads() threads, which keep all operands in registers.
double cpu_fma_rate();

/// Kernels that do nothing but arithmetic.
inline constexpr int kCeilingThreads = 256;  // of a block
/// What one block does in one round.
inline constexpr double kFmaFlop = 2.0 * 16 * kCeilingThreads;
inline constexpr double kMmaFlop = 2.0 * 16 * 8 * 16 * 8 * (kCeilingThreads / 32);

struct CeilingKernels {
  /// sink [blocks, kCeilingThreads], so that the compiler keeps the arithmetic.
  kernels::Entry<"ceilings.fma", void(int blocks, int rounds, float* sink)> fma;
  kernels::Entry<"ceilings.mma_bf16", void(int blocks, int rounds, float* sink)> mma_bf16;
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
