// The end of a mean that a kernel has summed in pieces: one block adds the pieces in an order that depends on their
// number alone. For .cu files.
#pragma once

#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kMeanThreads = 256;

/// One block: *mean = the sum of the pieces over the number of values.
__global__ __launch_bounds__(kMeanThreads, 4) void mean_of_pieces(const double* __restrict__ part, int64_t pieces,
                                                                  int64_t count, float* __restrict__ mean) {
  double sum = 0;
  for (int64_t p = threadIdx.x; p < pieces; p += kMeanThreads) sum += part[p];
  sum = block_sum(sum, *dynamic_shared<BlockSumScratch<double>>());
  if (threadIdx.x == 0) *mean = static_cast<float>(sum / static_cast<double>(count));
}

void launch_mean_of_pieces(Queue& queue, const double* part, int64_t pieces, int64_t count, float* mean) {
  launch(queue, {.grid = {1}, .block = {kMeanThreads}, .shared_bytes = sizeof(BlockSumScratch<double>)}, mean_of_pieces,
         part, pieces, count, mean);
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
