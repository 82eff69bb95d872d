// The last kernel of the gradients of contrastive losses on the cuda and simt devices.

#include "kernels/contrastive/gradient_tiles.cuh"

namespace systole::kernels::SYSTOLE_TARGET {

__global__ __launch_bounds__(kFinishThreads,
                             4) void finish_gradient(const float* __restrict__ out,  // as mix_tiles writes it
                                                     int parts, int padded_M, int columns, int M, int D,
                                                     const float* __restrict__ upstream, float temperature,
                                                     double count,
                                                     float* __restrict__ dx,  // [M, D]
                                                     GradientMode mode) {
  const int64_t k = int64_t{blockIdx.x} * kFinishThreads + threadIdx.x;
  if (k >= int64_t{M} * D) return;
  const float factor = static_cast<float>(double{*upstream} / temperature / count);
  const float* element = out + k / D * columns + k % D;
  float sum = 0;
  for (int p = 0; p < parts; ++p) sum += element[p * int64_t{padded_M} * columns];
  dx[k] = mode == GradientMode::accumulate ? dx[k] + factor * sum : factor * sum;
}

}  // namespace systole::kernels::SYSTOLE_TARGET
