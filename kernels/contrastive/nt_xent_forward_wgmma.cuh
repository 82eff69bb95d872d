// The sums of NT-Xent's forward pass by wgmma: the kernel that stands for sum_triangle (nt_xent_forward.cu), which
// tells how the triangle is cut into pieces. Tiles are 128 × 128; a thread has 2 rows × 32 columns of one in registers,
// and adds up its rows from tile to tile.
#pragma once

#include "kernels/contrastive/nt_xent_wgmma.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kTriangleThreads = 256;

struct WgmmaTriangleShared {
  WgmmaStage own, other[2];
  float column_part[kTriangleThreads / 32][kWgmmaTile];  // over the 16 rows of each warp
};

/// A lane keeps half of its 2 · kHalf sums and adds those of the lane kMask further, which keeps the other half.
template <int kHalf, int kMask>
__device__ __forceinline__ void exchange_half(float (&sum)[kWgmmaSums / 2], int lane) {
#pragma unroll
  for (int m = 0; m < kHalf; ++m) {
    const float mine = lane & kMask ? sum[m + kHalf] : sum[m], theirs = lane & kMask ? sum[m] : sum[m + kHalf];
    sum[m] = mine + __shfl_xor_sync(kWholeWarp, theirs, kMask);
  }
}
/// The sums of each column over a warp's rows, of terms e: halves of the columns change places with the lanes that have
/// the other rows, until a lane has four columns of all. (As a loop over halves, the sums went to local memory.)
__device__ __forceinline__ void sum_columns(const float (&e)[kWgmmaSums], float* part) {
  float sum[kWgmmaSums / 2];
#pragma unroll
  for (int m = 0; m < kWgmmaSums / 2; ++m) sum[m] = e[m / 2 * 4 + m % 2] + e[m / 2 * 4 + 2 + m % 2];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  static_assert(kWgmmaSums == 64);
  exchange_half<16, 16>(sum, lane);
  exchange_half<8, 8>(sum, lane);
  exchange_half<4, 4>(sum, lane);
  float* const to = part + lane / 4 * 16 + lane % 4 * 2;
  *reinterpret_cast<float2*>(to) = make_float2(sum[0], sum[1]);
  *reinterpret_cast<float2*>(to + 8) = make_float2(sum[2], sum[3]);
}

/// Block p: the tiles of piece p of the triangle, row of tiles after row of tiles. What it writes is what sum_triangle
/// writes.
__global__ void __launch_bounds__(kTriangleThreads, 2) sum_triangle_wgmma(WgmmaRows z, Exponent exponent,
                                                                          float* __restrict__ sums,  // [pieces, rows]
                                                                          float* __restrict__ positive) {  // [M / 2]
  auto& shared = *dynamic_shared<WgmmaTriangleShared>();
  const int thread = static_cast<int>(threadIdx.x), N = z.M / 2;
  const int warpgroup = __shfl_sync(kWholeWarp, thread / 128, 0);  // the same in a warp, as operands must be
  const int64_t triangle = int64_t{z.tiles} * (z.tiles + 1) / 2, pieces = gridDim.x, piece = blockIdx.x;
  const int64_t begin = triangle * piece / pieces, end = triangle * (piece + 1) / pieces;
  float* own = sums + piece * z.tiles * kWgmmaTile;
  for (int i = thread; i < z.tiles * kWgmmaTile; i += kTriangleThreads) own[i] = 0;

  int I = 0;
  int64_t before = 0;  // tiles in the rows of tiles above
  for (; before + z.tiles - I <= begin; ++I) before += z.tiles - I;
  int J = I + static_cast<int>(begin - before), buffer = 0;
  start_tile<kTriangleThreads>(z, I, shared.own);
  start_tile<kTriangleThreads>(z, J, shared.other[0]);
  cp_async_commit();
  float row_sum[2] = {0, 0};
#pragma unroll 1
  for (int64_t index = begin; index < end; ++index, buffer ^= 1) {
    const bool more = index + 1 < end, row_ends = J + 1 == z.tiles;
    cp_async_wait<0>();
    fence_for_wgmma();
    __syncthreads();
    float s[kWgmmaSums];
    start_multiplying(shared.own, warpgroup * 64, shared.other[buffer], s);
    if (more && !row_ends) {
      start_tile<kTriangleThreads>(z, J + 1, shared.other[buffer ^ 1]);
      cp_async_commit();
    }
    wgmma_wait<0>();
    sums_are_there(s);

    const int row = I * kWgmmaTile + warpgroup * 64, column = J * kWgmmaTile;
    if (column + kWgmmaTile > row + N && column < row + 64 + N)  // keeps s_ip(i), so that its rounding cancels
#pragma unroll
      for (int i = 0; i < kWgmmaSums; ++i)
        if (const int at = row + row_of_sum(i); at < N && column + column_of_sum(i) == at + N) positive[at] = s[i];
    const auto exponentiate = [&]<bool kWhole>() {
#pragma unroll
      for (int i = 0; i < kWgmmaSums; ++i) {
        const int at = row + row_of_sum(i), other = column + column_of_sum(i);
        const float e = exp2_approx(s[i] * exponent.scale + exponent.offset);
        s[i] = kWhole || (at != other && at < z.M && other < z.M) ? e : 0.0f;
        row_sum[i / 2 % 2] += s[i];
      }
    };
    if (I != J && column + kWgmmaTile <= z.M && row + 64 <= z.M)  // nearly all: comparisons would take half of the time
      exponentiate.template operator()<true>();
    else
      exponentiate.template operator()<false>();
    if (I != J) sum_columns(s, shared.column_part[thread / 32]);  // a diagonal tile's columns are its rows again
    if (!more || row_ends) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        for (int lanes = 1; lanes < 4; lanes *= 2) row_sum[half] += __shfl_xor_sync(kWholeWarp, row_sum[half], lanes);
        if (thread % 4 == 0) own[row + row_of_sum(2 * half)] += row_sum[half];
        row_sum[half] = 0;
      }
    }
    __syncthreads();
    if (I != J && thread < kWgmmaTile) {
      float sum = 0;
#pragma unroll
      for (int warp = 0; warp < kTriangleThreads / 32; ++warp) sum += shared.column_part[warp][thread];
      own[column + thread] += sum;
    }
    if (++J == z.tiles) J = ++I;
    if (more && row_ends) {
      start_tile<kTriangleThreads>(z, I, shared.own);
      start_tile<kTriangleThreads>(z, J, shared.other[buffer ^ 1]);
      cp_async_commit();
    }
  }
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
