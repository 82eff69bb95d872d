// Kernels that do nothing but arithmetic, for the ceilings that a benchmark's numbers are held against.
#pragma once

#include "kernels/common/table.h"

namespace systole::benchmarks {

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
