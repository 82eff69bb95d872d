// The last kernel of the sums over all pairs on the cuda and simt devices.

#include "kernels/common/collectives.h"
#include "kernels/contrastive/pair_walk.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

/// One block.
__global__ __launch_bounds__(kFinishThreads, 2) void finish_sum(const double* __restrict__ part,  // [parts]
                                                                int parts, double factor,
                                                                const float* __restrict__ upstream,
                                                                float* __restrict__ result, GradientMode mode) {
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  double sum = 0;
  for (int p = static_cast<int>(threadIdx.x); p < parts; p += kFinishThreads) sum += part[p];
  sum = block_sum(sum, scratch_of_sum);
  if (threadIdx.x != 0) return;
  if (upstream != nullptr) factor *= double{*upstream};
  const float value = static_cast<float>(factor * sum);
  *result = mode == GradientMode::accumulate ? *result + value : value;
}

}  // namespace

void add_parts(Queue& queue, const double* part, size_t parts, double factor, const float* upstream, float* result,
               GradientMode mode) {
  launch(queue, {.grid = {1}, .block = {kFinishThreads}, .shared_bytes = sizeof(BlockSumScratch<double>)}, finish_sum,
         part, static_cast<int>(parts), factor, upstream, result, mode);
}

}  // namespace systole::kernels::SYSTOLE_TARGET
