// A tile of a matrix product C = A · Bᵀ, made by one block of 256 threads from factors in shared memory: what the
// products of Linear and of the contrastive losses are built from.
//
// Both factors lie with the depth contiguous, A as [Rows, depth] and B as [Columns, depth]: so does every operand of
// mma.sync, and four f32 factors of a row are one load. In all precisions the eight warps lie 2 × 4 on the tile and a
// lane (g, t) = (lane / 4, lane % 4) holds the same sums, those of the C fragment of mma m16n8:
//
//          columns  2t 2t+1        of each group of 8
//   row g        │  at(0,0) at(0,1)
//   row g + 8    │  at(1,0) at(1,1)
//
// f32 multiplies them as 16 or 32 independent chains of multiply-adds in registers, tf32 and bf16 by mma.sync. Every
// sum adds in ascending depth.
#pragma once

#include <type_traits>

#include "kernels/common/intrinsics.h"

namespace systole::kernels::SYSTOLE_TARGET {

inline constexpr int kProductThreads = 256;
inline constexpr int kProductDepth = 32;  // of one step: what is loaded between two barriers

/// A number as it is multiplied: float, the bits of a tf32, or the bits of a bf16.
template <Precision P>
using Factor =
    std::conditional_t<P == Precision::f32, float, std::conditional_t<P == Precision::tf32, uint32_t, uint16_t>>;

template <Precision P>
__device__ __forceinline__ Factor<P> to_factor(float x) {
  if constexpr (P == Precision::f32)
    return x;
  else if constexpr (P == Precision::tf32)
    return tf32_bits(x);
  else
    return static_cast<uint16_t>(pack_bf16(x, 0) & 0xffffu);
}

/// Calls body.operator()<P>() for the precision of a queue.
template <class Body>
void with_precision(Precision precision, const Body& body) {
  switch (precision) {
    case Precision::f32:
      return body.template operator()<Precision::f32>();
    case Precision::tf32:
      return body.template operator()<Precision::tf32>();
    case Precision::bf16:
      return body.template operator()<Precision::bf16>();
  }
}

/// Factors in shared memory. 16 bytes are added to each row, so that eight rows at the same depth are in eight groups
/// of banks.
template <Precision P, int Rows, int Depth = kProductDepth>
struct FactorTile {
  static constexpr int kPitch = Depth + 16 / static_cast<int>(sizeof(Factor<P>));
  alignas(16) Factor<P> value[Rows][kPitch];
};

template <int Rows, int Columns>
class ProductTile {
  static_assert(Rows % 32 == 0 && Columns % 64 == 0, "whole fragments for 2 × 4 warps");

 public:
  static constexpr int kR = Rows / 16, kC = Columns / 16;  // a thread's rows and columns

  /// The sum in row row(r) and column column(c) of the tile.
  __device__ __forceinline__ float& at(int r, int c) { return sum_[r / 2][c / 2][r % 2 * 2 + c % 2]; }
  static __device__ __forceinline__ int row(int r) { return first_row() + r * 8 + lane() / 4; }
  static __device__ __forceinline__ int column(int c) { return first_column() + c / 2 * 8 + lane() % 4 * 2 + c % 2; }

  /// Adds kProductDepth of the depth: a [Rows, …] and b [Columns, …], from row to row a_pitch and b_pitch factors.
  template <Precision P>
  __device__ __forceinline__ void add(const Factor<P>* a, int a_pitch, const Factor<P>* b, int b_pitch) {
    a += first_row() * a_pitch;
    b += first_column() * b_pitch;
    if constexpr (P == Precision::f32)
      add_by_registers(a, a_pitch, b, b_pitch);
    else
      add_by_fragments<P>(a, a_pitch, b, b_pitch);
  }

 private:
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  static __device__ __forceinline__ int first_row() { return static_cast<int>(threadIdx.x / 128) * (Rows / 2); }
  static __device__ __forceinline__ int first_column() {
    return static_cast<int>(threadIdx.x / 32 % 4) * (Columns / 4);
  }

  __device__ __forceinline__ void add_by_registers(const float* a, int a_pitch, const float* b, int b_pitch) {
    for (int k = 0; k < kProductDepth; k += 4) {
      float4 left[kR];
#pragma unroll
      for (int r = 0; r < kR; ++r) left[r] = *reinterpret_cast<const float4*>(a + (r * 8 + lane() / 4) * a_pitch + k);
#pragma unroll
      for (int c = 0; c < kC; ++c) {
        const int column = c / 2 * 8 + lane() % 4 * 2 + c % 2;
        const float4 right = *reinterpret_cast<const float4*>(b + column * b_pitch + k);
#pragma unroll
        for (int r = 0; r < kR; ++r) {
          float sum = at(r, c);
          sum += left[r].x * right.x;
          sum += left[r].y * right.y;
          sum += left[r].z * right.z;
          sum += left[r].w * right.w;
          at(r, c) = sum;
        }
      }
    }
  }

  /// One fragment is 32 bytes deep: 16 values of bf16 or 8 of tf32. ldmatrix moves rows of 16 bytes, whatever they
  /// hold, so both formats are loaded alike: A as (rows, depth) halves in the order of a0 … a3, B for two groups of 8
  /// columns.
  template <Precision P>
  __device__ __forceinline__ void add_by_fragments(const Factor<P>* a, int a_pitch, const Factor<P>* b, int b_pitch) {
    constexpr int kHalf = 16 / static_cast<int>(sizeof(Factor<P>));
    const int i = lane();
    a += i % 16 * a_pitch + i / 16 * kHalf;
    b += (i / 16 * 8 + i % 8) * b_pitch + i / 8 % 2 * kHalf;
#pragma unroll
    for (int k = 0; k < kProductDepth; k += 2 * kHalf) {
      uint32_t left[kR / 2][4];
#pragma unroll
      for (int m = 0; m < kR / 2; ++m) ldmatrix_x4(left[m], a + m * 16 * a_pitch + k);
#pragma unroll
      for (int n = 0; n < kC / 2; n += 2) {
        uint32_t right[4];
        ldmatrix_x4(right, b + n * 8 * b_pitch + k);
        const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
#pragma unroll
        for (int m = 0; m < kR / 2; ++m) {
          multiply<P>(sum_[m][n], left[m], first);
          multiply<P>(sum_[m][n + 1], left[m], second);
        }
      }
    }
  }

  template <Precision P>
  static __device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (P == Precision::tf32)
      mma_m16n8k8_tf32(c, a, b);
    else
      mma_m16n8k16_bf16(c, a, b);
  }

  float sum_[kR / 2][kC / 2][4] = {};
};

}  // namespace systole::kernels::SYSTOLE_TARGET
