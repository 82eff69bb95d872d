// NT-Xent for Hopper, by wgmma, in bf16 and for rows of at most 128 numbers: what forward (nt_xent_forward_wgmma.cuh)
// and backward (nt_xent_backward_wgmma.cuh) share.
//
// Z lies in memory as wgmma reads it, tile of 128 rows by tile: octets of 8 numbers, and the rows of an octet behind
// each other. The same 32 KB of shared memory are rows of S = Z Zᵀ and, with rows and depth exchanged, columns of the
// gradient W Z: no second, transposed copy of Z is needed.
#pragma once

#include "kernels/common/octet.h"
#include "kernels/common/warpgroup.h"
#include "kernels/contrastive/exponent.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kWgmmaTile = 128;               // rows of Z
constexpr int kWgmmaOctets = 16;              // of a row: D ≤ 128, padded with zeros
constexpr int kWgmmaSums = kWgmmaTile / 2;    // of a thread: 64 rows and 128 columns are a warpgroup's
constexpr int kOctetBytes = 16 * kWgmmaTile;  // from octet to octet
constexpr int kCoreBytes = 8 * 16;            // from eight rows to the next eight

struct WgmmaRows {
  int M, D;
  int tiles;
  uint4* rows;  // [tiles, kWgmmaOctets, kWgmmaTile]
};

/// Block (tile, octet): a thread packs eight numbers of a row; of the first octet it also makes the row's normalizer,
/// where that is wanted.
__global__ void __launch_bounds__(kWgmmaTile) pack_octets_of_rows(const float* __restrict__ z,  // [M, D]
                                                                  WgmmaRows to,
                                                                  const float* __restrict__ log_sum,  // [M], or null
                                                                  Exponent exponent,
                                                                  float* __restrict__ normalizer) {  // [rows]
  const int row = static_cast<int>(threadIdx.x), octet = static_cast<int>(blockIdx.y);
  const int64_t i = int64_t{blockIdx.x} * kWgmmaTile + row;
  if (log_sum && octet == 0) normalizer[i] = i < to.M ? normalizer_of(log_sum[i], exponent) : 0;
  Octet numbers;
#pragma unroll
  for (int e = 0; e < 8; ++e) numbers.value[e] = i < to.M && octet * 8 + e < to.D ? z[i * to.D + octet * 8 + e] : 0;
  to.rows[(int64_t{blockIdx.x} * kWgmmaOctets + octet) * kWgmmaTile + row] = pack(numbers);
}

using WgmmaStage = uint4[kWgmmaOctets][kWgmmaTile];

/// Starts the copy of a tile of Z by kThreads threads.
template <int kThreads>
__device__ __forceinline__ void start_tile(const WgmmaRows& z, int tile, WgmmaStage& to) {
  const uint4* const from = z.rows + int64_t{tile} * (kWgmmaOctets * kWgmmaTile) + threadIdx.x;
  uint4* const own = &to[0][0] + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kWgmmaOctets * kWgmmaTile; i += kThreads) cp_async<16>(own + i, from + i, true);
}

/// Starts s = 64 rows of a tile, from `first` on, times the rows of another. All octets, also those that D leaves
/// empty: wgmma with conditions between them would cost more (warpgroup.h).
__device__ __forceinline__ void start_multiplying(WgmmaStage& left, int first, WgmmaStage& right,
                                                  float (&s)[kWgmmaSums]) {
  const auto a = WarpgroupOperand::of(&left[0][first], kOctetBytes, kCoreBytes);
  const auto b = WarpgroupOperand::of(&right[0][0], kOctetBytes, kCoreBytes);
  wgmma_fence();
#pragma unroll
  for (int octet = 0; octet < kWgmmaOctets; octet += 2)
    wgmma<Major::depth, Major::depth>(s, a + octet * kOctetBytes, b + octet * kOctetBytes, octet > 0);
  wgmma_commit();
}

/// Row and column of sum i of a thread, in the 64 × 128 of its warpgroup.
__device__ __forceinline__ int row_of_sum(int i) {
  const int thread = static_cast<int>(threadIdx.x);
  return thread / 32 % 4 * 16 + i / 2 % 2 * 8 + thread % 32 / 4;
}
__device__ __forceinline__ int column_of_sum(int i) {
  return i / 4 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + i % 2;
}

/// Whether these kernels compute a loss; log_sum and the offset are the same as elsewhere.
bool wgmma_can_compute(const Queue& queue, const NtXentShape& shape) {
  return queue.precision() == Precision::bf16 && shape.D <= 8 * kWgmmaOctets &&
         !exponent_of(shape.temperature).offset_per_row;
}

/// Z for these kernels, at `memory`; with log_sum also the normalizers.
WgmmaRows wgmma_rows_of(Queue& queue, const NtXentShape& shape, const float* z, uint4* memory,
                        const float* log_sum = nullptr, float* normalizer = nullptr) {
  const WgmmaRows rows{shape.M, shape.D, ceil_div(shape.M, kWgmmaTile), memory};
  launch(queue, {.grid = {rows.tiles, kWgmmaOctets}, .block = {kWgmmaTile}}, pack_octets_of_rows, z, rows, log_sum,
         exponent_of(shape.temperature), normalizer);
  return rows;
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
