// Instructions that CUDA C++ has no name for, as inline PTX; on simt, models of them (kernels/simt/intrinsics.cpp). All
// lanes of a warp call the warp-wide ones together.
//
// The fragments of mma.sync, with g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix fragments for mma"):
//
//   m16n8k16 bf16, two values in a register, the lower column or row in its lower half
//     A [16, 16]   a0: (g, 2t …)   a1: (g+8, 2t …)   a2: (g, 2t+8 …)   a3: (g+8, 2t+8 …)
//     B [16, 8]    b0: (2t …, g)   b1: (2t+8 …, g)
//   m16n8k8 tf32, one value in a register
//     A [16, 8]    a0: (g, t)      a1: (g+8, t)      a2: (g, t+4)      a3: (g+8, t+4)
//     B [8, 8]     b0: (t, g)      b1: (t+4, g)
//   C [16, 8]      c0: (g, 2t)     c1: (g, 2t+1)     c2: (g+8, 2t)     c3: (g+8, 2t+1)
#pragma once

#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/launch.h"

#if !defined(__CUDACC__)
#include "kernels/simt/intrinsics.h"
#endif

namespace systole::kernels::SYSTOLE_TARGET {

inline constexpr unsigned kWholeWarp = 0xffffffffu;

#if defined(__CUDACC__)

/// 2^x within 2 ulp; denormal results become zero.
__device__ __forceinline__ float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// The larger one; NaN where one is.
__device__ __forceinline__ float max_or_nan(float a, float b) {
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
}

/// The same of each of two bf16 values.
__device__ __forceinline__ uint32_t max_or_nan_bf16x2(uint32_t a, uint32_t b) {
  uint32_t larger;
  asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(larger) : "r"(a), "r"(b));
  return larger;
}

/// Two floats as bf16: `low` in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// A float as the tensor cores read tf32.
__device__ __forceinline__ uint32_t tf32_bits(float x) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

/// c += a · b.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_m16n8k8_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Four 8 × 8 matrices of 16-bit values from shared memory. Lane i gives the address of row i % 8 of matrix i / 8: 8
/// values, 16-byte aligned. Register j of lane (g, t) gets values 2t and 2t + 1 of row g of matrix j.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
/// The same of the transposed matrices: values (2t, g) and (2t + 1, g) of matrix j.
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

/// Starts a copy of Bytes (4, 8 or 16, both sides aligned to them) from global to shared memory; zeros where not
/// `valid`, and then `from` is not read. The copy is there after cp_async_wait, for other threads after a barrier too.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* to, const void* from, bool valid) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int read = valid ? Bytes : 0;
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(read) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(from), "n"(Bytes), "r"(read)
                 : "memory");
}
/// Closes the group of this thread's copies since the last commit.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most Groups of this thread's committed groups, the last ones, are under way.
template <int Groups>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
}

#else

using ::systole::simt::cp_async;
using ::systole::simt::cp_async_commit;
using ::systole::simt::cp_async_wait;
using ::systole::simt::exp2_approx;
using ::systole::simt::ldmatrix_x4;
using ::systole::simt::ldmatrix_x4_transposed;
using ::systole::simt::max_or_nan;
using ::systole::simt::max_or_nan_bf16x2;
using ::systole::simt::mma_m16n8k16_bf16;
using ::systole::simt::mma_m16n8k8_tf32;
using ::systole::simt::pack_bf16;
using ::systole::simt::tf32_bits;

#endif

/// One float to the nearest bf16, as a store rounds it.
__device__ __forceinline__ bf16 round_to_bf16(float x) {
  return {static_cast<uint16_t>(pack_bf16(x, 0))};
}

}  // namespace systole::kernels::SYSTOLE_TARGET
