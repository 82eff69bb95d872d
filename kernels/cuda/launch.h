// launch() and dynamic_shared() of the cuda device.
#pragma once

#include <cuda_runtime.h>

#include "kernels/common/device.h"
#include "kernels/common/error.h"

namespace systole::kernels::cuda {

/// The stream of a queue.
cudaStream_t stream_of(const Queue& queue);

/// Throws Error with CUDA's name and words for a failure, and where it was met.
void check(cudaError_t status, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE());

/// Raises the kernel's limit of shared memory where it needs more than the 48 KB that every block may have.
void allow_shared_memory(const void* kernel, const Launch& launch);
/// Throws Error with place, kernel, grid and CUDA's words when the launch failed.
void check_launch(const void* kernel, const Launch& launch);

template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char systole_shared_memory[];
  return reinterpret_cast<T*>(systole_shared_memory);
}

template <class... P, class... A>
void launch(Queue& queue, const Launch& shape, void (*kernel)(P...), A... args) {
  const auto extent = [](const Extent& e) {
    return dim3(static_cast<unsigned>(e.x), static_cast<unsigned>(e.y), static_cast<unsigned>(e.z));
  };
  const auto* const function = reinterpret_cast<const void*>(kernel);
  allow_shared_memory(function, shape);
  kernel<<<extent(shape.grid), extent(shape.block), shape.shared_bytes, stream_of(queue)>>>(static_cast<P>(args)...);
  check_launch(function, shape);
}

}  // namespace systole::kernels::cuda
