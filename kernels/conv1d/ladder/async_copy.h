// Step 5's copy, which step 6 uses too: one round's part of x and w, from global to shared memory, behind the threads'
// backs. cp.async needs no register and no waiting: the thread goes on, and the data arrives.
#pragma once

#include "kernels/common/intrinsics.h"
#include "kernels/conv1d/ladder/tiling.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {

/// What a round multiplies. The paddings spread rows over the banks of shared memory.
template <int Rows, int Taps, int Depth, int Channels, int SlabPadding, int WeightPadding>
struct Stage {
  static constexpr int kRows = Rows, kTaps = Taps, kDepth = Depth, kChannels = Channels;
  alignas(16) float slab[Rows][Depth + SlabPadding];
  alignas(16) float weights[Taps][Depth][Channels + WeightPadding];
};

/// Whether rows of x and w can be copied 16 bytes at a time.
inline bool rows_are_aligned(const Conv1dShape& s, const float* x, const float* w) {
  const auto aligned = [](const float* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return s.C_in % 4 == 0 && s.C_out % 4 == 0 && aligned(x) && aligned(w);
}

/// The block's tile: record, first position and first output channel.
struct TileOrigin {
  int64_t n;
  int position, channel;
};

/// Starts the copies of round `round` of a block of Threads threads, in units of Vector floats: 4 where rows are
/// aligned, otherwise 1. What lies outside of the record or the weights becomes zero.
template <int Vector, int Threads, class S>
__device__ __forceinline__ void copy_round(int round, S& stage, const float* __restrict__ x,
                                           const float* __restrict__ w, const Conv1dShape& s, const Tiling& t,
                                           const TileOrigin& tile) {
  const int k0 = round % t.tap_rounds * t.taps, c0 = round / t.tap_rounds * S::kDepth;
  const int first_row = tile.position * s.stride + k0 * s.dilation - s.padding;
  constexpr int kAcross = S::kDepth / Vector;  // copies per row
  for (int i = threadIdx.x; i < t.rows * kAcross; i += Threads) {
    const int r = i / kAcross, c = i % kAcross * Vector, row = first_row + r;
    const bool inside = row >= 0 && row < s.L && c0 + c < s.C_in;
    cp_async<4 * Vector>(&stage.slab[r][c], inside ? x + (tile.n * s.L + row) * s.C_in + c0 + c : x, inside);
  }
  constexpr int kAcrossWeights = S::kChannels / Vector;
  for (int i = threadIdx.x; i < t.taps * S::kDepth * kAcrossWeights; i += Threads) {
    const int k = i / kAcrossWeights / S::kDepth, c = i / kAcrossWeights % S::kDepth, o = i % kAcrossWeights * Vector;
    const bool inside = k0 + k < s.K && c0 + c < s.C_in && tile.channel + o < s.C_out;
    const int64_t from = (int64_t{k0 + k} * s.C_in + c0 + c) * s.C_out + tile.channel + o;
    cp_async<4 * Vector>(&stage.weights[k][c][o], inside ? w + from : w, inside);
  }
  cp_async_commit();
}

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
