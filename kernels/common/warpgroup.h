// Hopper's matrix instruction, wgmma: four warps multiply matrices of bf16 that both lie in shared memory, while they
// go on with other work. As inline PTX for sm_90a, the only target that has it; on simt, a model. A kernel that uses it
// must not be launched elsewhere.
//
//   wgmma_fence();  wgmma(sum, a, b, …) …;  wgmma_commit();  …other work…;  wgmma_wait<0>();  sums_are_there(sum);
//
// Between fence and commit there should be no condition: the compiler then closes a group of its own after each wgmma
// (in the SASS, `gsb0` after every HGMMA instead of the last), and wgmma_wait<1> waits for all of the step before.
//
// An operand lies in shared memory in chunks of 16 bytes; whether they hold eight values of one row or of one depth is
// its Major. Chunks lie in one of two ways (PTX ISA, "Shared memory matrix layout"):
//
//   core matrices   the chunks of 8 × 8 values, 128 bytes, follow each other
//   lines           of 32, 64 or 128 bytes, which follow each other; in each, chunks are exchanged ("swizzled"): the
//                   same chunk of eight lines lies in eight different banks
//
// Rows of memory are copied by cp.async into lines: into core matrices, neighbouring threads would write far apart, so
// that a sector of 32 bytes is brought twice and each chunk is written by itself (measured, docs/gpu_speed.md).
#pragma once

#include <cstdint>

#include "kernels/common/bf16.h"
#include "kernels/common/launch.h"

#if !defined(__CUDACC__)
#include "kernels/simt/intrinsics.h"
#endif

namespace systole::kernels::SYSTOLE_TARGET {

/// depth: 16 bytes hold eight neighbouring depths of a row; row: eight neighbouring rows of a depth.
enum class Major { depth, row };

/// Where chunk `chunk` of line `line` lies in it; a multiple of 8 lines more makes no difference.
template <int kLineBytes>
__host__ __device__ constexpr int swizzled(int line, int chunk) {
  static_assert(kLineBytes == 32 || kLineBytes == 64 || kLineBytes == 128);
  return chunk ^ line * kLineBytes / 128 % (kLineBytes / 16);
}

/// An operand of wgmma in shared memory, from an address on that is a multiple of 16 bytes.
struct WarpgroupOperand {
#if defined(__CUDACC__)
  uint64_t descriptor;

  /// In lines, the first of which lies at a multiple of eight of them; the operand may begin at any. With
  /// Major::depth a line is a row; with Major::row it is a depth, and has kLineBytes / 2 rows: the next ones lie
  /// group_bytes further.
  template <int kLineBytes>
  static __device__ __forceinline__ WarpgroupOperand of_lines(const void* first, int group_bytes = 0) {
    constexpr uint64_t kMode = kLineBytes == 128 ? 1 : kLineBytes == 64 ? 2 : 3;
    return {of(first, group_bytes, 8 * kLineBytes).descriptor | kMode << 62};
  }

  /// In core matrices; so many bytes lie between those that are neighbours in depth, and in rows.
  static __device__ __forceinline__ WarpgroupOperand of(const void* first, int depth_bytes, int row_bytes) {
    const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(first));
    return {uint64_t{(address & 0x3ffffu) >> 4} | uint64_t(depth_bytes >> 4) << 16 | uint64_t(row_bytes >> 4) << 32};
  }
  /// The operand that begins so many bytes later.
  __device__ __forceinline__ WarpgroupOperand operator+(int bytes) const {
    return {descriptor + uint64_t(bytes >> 4)};
  }
#else
  const unsigned char* first;
  int depth_bytes, row_bytes;
  int line_bytes = 0;  // of lines, whose groups are row_bytes apart

  static WarpgroupOperand of(const void* first, int depth_bytes, int row_bytes) {
    return {static_cast<const unsigned char*>(first), depth_bytes, row_bytes};
  }
  template <int kLineBytes>
  static WarpgroupOperand of_lines(const void* first, int group_bytes = 0) {
    return {static_cast<const unsigned char*>(first), 0, group_bytes, kLineBytes};
  }
  WarpgroupOperand operator+(int bytes) const {
    return {first + bytes, depth_bytes, row_bytes, line_bytes};
  }
  /// Some of its rows, from a multiple of 8 on.
  ::systole::simt::SharedOperand part(Major major, int first_row, int rows) const {
    return {first, depth_bytes, row_bytes, line_bytes, major == Major::row, first_row, rows};
  }
#endif
};

#if defined(__CUDACC__) && defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Orders what the threads of a block wrote to shared memory before what wgmma reads from it: by each writing thread,
/// before the barrier.
__device__ __forceinline__ void fence_for_wgmma() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/// Before the first wgmma of a group: registers of sums that were touched since the last one are ready.
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most Groups of the warpgroup's committed groups are under way.
template <int Groups>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Groups) : "memory");
}

/// Behind the wait: the compiler takes sums for complete as soon as wgmma is issued, and must not use them before this.
template <int kSums>
__device__ __forceinline__ void sums_are_there(float (&sum)[kSums]) {
#pragma unroll
  for (float& value : sum) asm volatile("" : "+f"(value)::"memory");
}

#define SYSTOLE_SUMS8(d, i)                                                                                   \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])

/// sum [64, 64] = a [64, 16] · b [16, 64], + sum with `add`, by all 128 threads of a warpgroup. With w the warp of
/// four, g = lane / 4 and t = lane % 4, a thread has sum[4n + 2h + i] of row 16w + 8h + g and column 8n + 2t + i.
template <Major kA, Major kB>
__device__ __forceinline__ void wgmma(float (&sum)[32], WarpgroupOperand a, WarpgroupOperand b, bool add) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %36, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, %32, %33, add, 1, 1, %34, %35; "
      "}"
      : SYSTOLE_SUMS8(sum, 0), SYSTOLE_SUMS8(sum, 8), SYSTOLE_SUMS8(sum, 16), SYSTOLE_SUMS8(sum, 24)
      : "l"(a.descriptor), "l"(b.descriptor), "n"(kA == Major::row), "n"(kB == Major::row), "r"(int{add}));
}
/// The same of 128 columns.
template <Major kA, Major kB>
__device__ __forceinline__ void wgmma(float (&sum)[64], WarpgroupOperand a, WarpgroupOperand b, bool add) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %68, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, add, 1, 1, %66, %67; "
      "}"
      : SYSTOLE_SUMS8(sum, 0), SYSTOLE_SUMS8(sum, 8), SYSTOLE_SUMS8(sum, 16), SYSTOLE_SUMS8(sum, 24),
        SYSTOLE_SUMS8(sum, 32), SYSTOLE_SUMS8(sum, 40), SYSTOLE_SUMS8(sum, 48), SYSTOLE_SUMS8(sum, 56)
      : "l"(a.descriptor), "l"(b.descriptor), "n"(kA == Major::row), "n"(kB == Major::row), "r"(int{add}));
}
/// The same with a in registers: the fragment A [16, 16] of mma.m16n8k16 (intrinsics.h) for the rows of each warp.
template <Major kB>
__device__ __forceinline__ void wgmma(float (&sum)[64], const uint32_t (&a)[4], WarpgroupOperand b, bool add) {
  asm volatile(
      "{ .reg .pred add; setp.ne.b32 add, %70, 0; wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, {%64, %65, %66, %67}, %68, "
      "add, 1, 1, %69; }"
      : SYSTOLE_SUMS8(sum, 0), SYSTOLE_SUMS8(sum, 8), SYSTOLE_SUMS8(sum, 16), SYSTOLE_SUMS8(sum, 24),
        SYSTOLE_SUMS8(sum, 32), SYSTOLE_SUMS8(sum, 40), SYSTOLE_SUMS8(sum, 48), SYSTOLE_SUMS8(sum, 56)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.descriptor), "n"(kB == Major::row), "r"(int{add}));
}
#undef SYSTOLE_SUMS8

#elif defined(__CUDACC__)  // for other targets the kernel is compiled but never launched

__device__ __forceinline__ void fence_for_wgmma() {}
__device__ __forceinline__ void wgmma_fence() {}
__device__ __forceinline__ void wgmma_commit() {}
template <int Groups>
__device__ __forceinline__ void wgmma_wait() {}
template <int kSums>
__device__ __forceinline__ void sums_are_there(float (&)[kSums]) {}
template <Major kA, Major kB, int kSums>
__device__ __forceinline__ void wgmma(float (&)[kSums], WarpgroupOperand, WarpgroupOperand, bool) {}
template <Major kB, int kSums>
__device__ __forceinline__ void wgmma(float (&)[kSums], const uint32_t (&)[4], WarpgroupOperand, bool) {}

#else

// What a fence orders, barriers order too here.
inline void fence_for_wgmma() {}
inline void wgmma_fence() {}
inline void wgmma_commit() {
  ::systole::simt::commit_products();
}
template <int Groups>
void wgmma_wait() {
  ::systole::simt::finish_products(Groups);
}
template <int kSums>
void sums_are_there(float (&)[kSums]) {}

inline float operand_value(const ::systole::simt::SharedOperand& operand, int row, int depth) {
  const auto* const chunk = reinterpret_cast<const bf16*>(operand.chunk(row, depth));
  return to_float(chunk[(operand.rows_in_chunk ? row : depth) % 8]);
}

template <Major kA, Major kB, int kSums>
void wgmma(float (&sum)[kSums], WarpgroupOperand a, WarpgroupOperand b, bool add,
           ::systole::simt::Where where = ::systole::simt::Where::current()) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32 % 4;
  const auto rows = a.part(kA, 16 * warp, 16), columns = b.part(kB, 0, 2 * kSums);
  float* const result = ::systole::simt::start_product(sum, kSums, rows, columns, where).result;
  for (int n = 0; n < kSums / 4; ++n)
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < 2; ++i) {
        const int row = 16 * warp + 8 * half + lane / 4, column = 8 * n + lane % 4 * 2 + i;
        float& value = result[4 * n + 2 * half + i];
        if (!add) value = 0;
        for (int k = 0; k < 16; ++k) value += operand_value(rows, row, k) * operand_value(columns, column, k);
      }
}

template <Major kB, int kSums>
void wgmma(float (&sum)[kSums], const uint32_t (&a)[4], WarpgroupOperand b, bool add,
           ::systole::simt::Where where = ::systole::simt::Where::current()) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float row[2][16];  // of a, from the four lanes that have them
  for (int other = 0; other < 4; ++other)
    for (int r = 0; r < 4; ++r) {
      const uint32_t pair = __shfl_sync(0xffffffffu, a[r], lane / 4 * 4 + other);
      row[r % 2][r / 2 * 8 + 2 * other] = float_of(pair << 16);
      row[r % 2][r / 2 * 8 + 2 * other + 1] = float_of(pair & 0xffff0000u);
    }
  const auto columns = b.part(kB, 0, 2 * kSums);
  float* const result = ::systole::simt::start_product(sum, kSums, {}, columns, where).result;
  for (int i = 0; i < kSums; ++i) {
    if (!add) result[i] = 0;
    for (int k = 0; k < 16; ++k)
      result[i] += row[i / 2 % 2][k] * operand_value(columns, i / 4 * 8 + lane % 4 * 2 + i % 2, k);
  }
}

#endif

}  // namespace systole::kernels::SYSTOLE_TARGET
