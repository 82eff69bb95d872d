// Threads of the cpu device: OpenMP with static schedules. Results never depend on the number of threads, so a
// reduction splits its work by a fixed number of pieces (not by thread) and adds the pieces in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>

#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace systole {

/// Sets how many threads the cpu device uses (0: all that OpenMP offers).
void set_threads(int count);
int threads();

/// Makes the calling thread treat denormal numbers as zero: one denormal operand costs over a hundred cycles.
inline void flush_denormals() {
#if defined(__SSE__)
  _mm_setcsr(_mm_getcsr() | 0x8040);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
  uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  asm volatile("msr fpcr, %0" ::"r"(control | (uint64_t{1} << 24)));
#endif
}

/// Calls body(i) for every i in [0, count), each thread on one contiguous part. The exception of the lowest failing i
/// is rethrown when all are done.
template <class Body>
void parallel_for(int64_t count, const Body& body) {
  std::exception_ptr failure;
  int64_t failed_at = count;
  std::mutex mutex;
#pragma omp parallel if (count > 1)
  {
    flush_denormals();
#pragma omp for schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (i < failed_at) {
          failed_at = i;
          failure = std::current_exception();
        }
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// A part of [0, count): piece number `piece` of `pieces` nearly equal ones.
struct Range {
  int64_t begin, end;
};
inline Range piece_of(int64_t count, int64_t pieces, int64_t piece) {
  return {count * piece / pieces, count * (piece + 1) / pieces};
}

/// Working memory of the calling thread, 64-byte aligned, at least `count` floats; its content is undefined and the
/// next call with the same slot by this thread may move it. Slots keep the buffers of one kernel apart.
float* thread_scratch(int slot, size_t count);

}  // namespace systole
