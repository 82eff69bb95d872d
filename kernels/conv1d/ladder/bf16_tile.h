// What steps 7 and 8 do with operands in bf16: their place in shared memory, the weights' way there, and the product.
#pragma once

#include "kernels/common/intrinsics.h"
#include "kernels/conv1d/ladder/tiling.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {

constexpr int kPositions = 64, kChannels = 64, kThreads = 128;           // of a block
constexpr int kWarpPositions = 32, kWarpChannels = 32;                   // of a warp's part of the tile
constexpr int kDown = kWarpPositions / 16, kAcross = kWarpChannels / 8;  // its products of 16 × 8
constexpr int kRows = 160, kTaps = 8, kDepth = 16;                       // of a round

/// Two neighbouring channels in each word. Rows are 48 and 144 bytes long, odd multiples of 16: the 8 rows that
/// ldmatrix reads at once lie in different banks (rows of the slab with an odd stride; with stride 2, two collide).
struct Operands {
  alignas(16) uint32_t slab[kRows][kDepth / 2 + 4];
  alignas(16) uint32_t weights[kTaps][kDepth][kChannels / 2 + 4];
};

/// Rounds the weights of `taps` taps from k0 on, input channels from c0 on and output channels from o0 on.
__device__ __forceinline__ void fill_weights(Operands& to, const float* __restrict__ w,  // [K, C_in, C_out]
                                             const Conv1dShape& s, int taps, int k0, int c0, int o0) {
  for (int i = threadIdx.x; i < taps * kDepth * (kChannels / 2); i += kThreads) {
    const int pair = i % (kChannels / 2), c = i / (kChannels / 2) % kDepth, k = i / (kChannels / 2) / kDepth;
    const int o = o0 + 2 * pair;
    const bool inside = k0 + k < s.K && c0 + c < s.C_in;
    const float* from = w + (int64_t{k0 + k} * s.C_in + c0 + c) * s.C_out + o;
    to.weights[k][c][pair] = pack_bf16(inside && o < s.C_out ? from[0] : 0, inside && o + 1 < s.C_out ? from[1] : 0);
  }
}

/// A warp's part of the tile: its place, and the sums of its products.
struct WarpTile {
  int position, channel;         // the first ones, within the block's tile
  int window[kDown];             // the slab's row that this lane reads for ldmatrix, at tap 0
  float sum[kDown][kAcross][4];  // lane 4·g + t: positions g and g + 8 of a product, channels 2t and 2t + 1

  __device__ __forceinline__ WarpTile(const Tiling& t, int stride) : sum{} {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    position = warp / 2 * kWarpPositions;
    channel = warp % 2 * kWarpChannels;
    for (int i = 0; i < kDown; ++i) window[i] = window_row(position + i * 16 + lane % 16, t, stride);
  }

  /// Adds the products of the operands' taps. All warps of the block, after a barrier.
  __device__ __forceinline__ void multiply(const Operands& operands, int taps, int dilation) {
    const int lane = threadIdx.x % 32, half = lane / 16;  // half 0: the first 8 columns, half 1: the others
    for (int k = 0; k < taps; ++k) {
      uint32_t a[kDown][4];
      for (int i = 0; i < kDown; ++i) ldmatrix_x4(a[i], &operands.slab[window[i] + k * dilation][half * 4]);
      for (int j = 0; j < kAcross; j += 2) {
        uint32_t pair[4];  // weights of two products
        ldmatrix_x4_transposed(pair, &operands.weights[k][lane % 16][(channel + (j + half) * 8) / 2]);
        const uint32_t b[2][2] = {{pair[0], pair[1]}, {pair[2], pair[3]}};
        for (int i = 0; i < kDown; ++i) {
          mma_m16n8k16_bf16(sum[i][j], a[i], b[0]);
          mma_m16n8k16_bf16(sum[i][j + 1], a[i], b[1]);
        }
      }
    }
  }

  /// Where the lane's value `q` of product (i, j) belongs, within the block's tile.
  __device__ __forceinline__ int position_of(int i, int q) const {
    return position + i * 16 + threadIdx.x % 32 / 4 + q / 2 * 8;
  }
  __device__ __forceinline__ int channel_of(int j, int q) const {
    return channel + j * 8 + threadIdx.x % 4 * 2 + q % 2;
  }
};

// ---- the parts of a record that one warp each has in its registers, for step 8's moments

constexpr int kParts = kPositions / kWarpPositions;  // of a tile: the positions of one warp each

/// How many positions part `part` of a record has.
__device__ __forceinline__ int count_of(int part, const Tiling& t) {
  const int in_tile = part % kParts * kWarpPositions, in_record = part / kParts * t.positions + in_tile;
  const int left_in_tile = t.positions - in_tile, left_in_record = t.L_out - in_record;
  const int left = left_in_tile < left_in_record ? left_in_tile : left_in_record;
  return left < 0 ? 0 : left < kWarpPositions ? left : kWarpPositions;
}

__device__ __forceinline__ float sum_over_positions(float value) {  // of the lanes 4·g + t with the same t
  for (int lanes = 4; lanes < 32; lanes *= 2) value += __shfl_xor_sync(kWholeWarp, value, lanes);
  return value;
}

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
