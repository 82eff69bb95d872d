#include "kernels/common/parallel.h"

#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <omp.h>

namespace systole {
namespace {

struct FreeDeleter {
  void operator()(float* p) const { std::free(p); }
};

struct ScratchBuffer {
  std::unique_ptr<float, FreeDeleter> memory;
  size_t capacity = 0;
};

constexpr size_t kAlignment = 64;

}  // namespace

void set_threads(int count) {
  omp_set_num_threads(count > 0 ? count : omp_get_num_procs());
}

int threads() {
  return omp_get_max_threads();
}

float* thread_scratch(int slot, size_t count) {
  thread_local std::array<ScratchBuffer, 8> buffers;
  ScratchBuffer& buffer = buffers.at(static_cast<size_t>(slot));
  if (buffer.capacity < count) {
    buffer.memory.reset();
    const size_t bytes = (count * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
    buffer.memory.reset(static_cast<float*>(std::aligned_alloc(kAlignment, bytes)));
    if (!buffer.memory) throw std::bad_alloc();
    buffer.capacity = count;
  }
  return buffer.memory.get();
}

}  // namespace systole
