// What a .cu file starts with: the CUDA language and launch(), for nvcc and for the simt device alike.
//
//   launch(queue, {.grid = {blocks}, .block = {256}, .shared_bytes = sizeof(Shared)}, kernel, arguments…);
//
// Inside the kernel, shared memory is one struct:
//
//   struct Shared { float tile[32][33]; };
//   auto& shared = *dynamic_shared<Shared>();
//
// There is no `__shared__`: the runtime lends all shared memory of a block itself, so that on simt it can be poisoned
// with NaN before each block and its end can be watched.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/device.h"

namespace systole::kernels {

/// Number of blocks or threads along x, y, z.
struct Extent {
  int64_t x = 1, y = 1, z = 1;
};

struct Launch {
  Extent grid, block;
  size_t shared_bytes = 0;
  const char* file = __builtin_FILE();  // where the kernel is launched, for messages
  int line = __builtin_LINE();
};

/// The smallest number of `size`s that cover `count`.
template <class T>
constexpr T ceil_div(T count, T size) {
  return (count + size - 1) / size;
}

}  // namespace systole::kernels

#if defined(__CUDACC__)
#include "kernels/cuda/launch.h"
#else
#include "kernels/simt/launch.h"
#endif
