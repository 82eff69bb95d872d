// The cosine of pairs of rows on cuda and simt: a warp per pair. The backward pass computes the angle again: it has to
// read both rows anyway, and the second time they come from the cache.

#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/contrastive/feature_loss_parts.h"
#include "kernels/contrastive/feature_terms.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kRowsPerBlock = 8;  // one warp each
constexpr int kThreads = 32 * kRowsPerBlock;

/// In every lane of the warp.
__device__ Angle angle_of(const float* p, const float* t, int D, int lane) {
  double pp = 0, tt = 0, pt = 0;
  for (int d = lane; d < D; d += 32) {
    const double a = p[d], b = t[d];
    pp += a * a, tt += b * b, pt += a * b;
  }
  return {warp_sum(pp), warp_sum(tt), warp_sum(pt)};
}

__global__ __launch_bounds__(kThreads, 4) void cosine_of_rows(CosineShape s, const float* __restrict__ p,  // [N, D]
                                                              const float* __restrict__ t,                 // [N, D]
                                                              double* __restrict__ part) {                 // [N]
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t i = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
  if (i >= s.N) return;  // the whole warp
  const Angle angle = angle_of(p + i * s.D, t + i * s.D, s.D, lane);
  if (lane == 0) part[i] = (2 - 2 * angle.cosine) / s.N;
}

/// dp and dt may be the same.
__global__ __launch_bounds__(kThreads, 4) void slopes_of_cosine(CosineShape s, const float* __restrict__ p,  // [N, D]
                                                                const float* __restrict__ t,                 // [N, D]
                                                                const float* __restrict__ upstream,
                                                                float* dp,  // [N, D] or null
                                                                GradientMode dp_mode,
                                                                float* dt,  // [N, D] or null
                                                                GradientMode dt_mode) {
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t i = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
  if (i >= s.N) return;
  const Angle angle = angle_of(p + i * s.D, t + i * s.D, s.D, lane);
  const double scale = 2.0 * *upstream / s.N * angle.across;
  for (int d = lane; d < s.D; d += 32) {
    const int64_t k = i * s.D + d;
    if (dp) store(scale * (angle.along_p * p[k] - t[k]), dp_mode, dp[k]);
    if (dt) store(scale * (angle.along_t * t[k] - p[k]), dt_mode, dt[k]);
  }
}

Launch pairs_launch(const CosineShape& shape) {
  return {.grid = {ceil_div(shape.N, kRowsPerBlock)}, .block = {32, kRowsPerBlock}};
}

}  // namespace

void cosine_forward(Queue& queue, const CosineShape& shape, const float* p, const float* t, float* loss) {
  auto* part = scratch<double>(queue, static_cast<size_t>(shape.N));
  launch(queue, pairs_launch(shape), cosine_of_rows, shape, p, t, part);
  add_parts(queue, part, shape.N, loss);
}

void cosine_backward(Queue& queue, const CosineShape& shape, const float* p, const float* t, const float* upstream,
                     float* dp, GradientMode dp_mode, float* dt, GradientMode dt_mode) {
  launch(queue, pairs_launch(shape), slopes_of_cosine, shape, p, t, upstream, dp, dp_mode, dt, dt_mode);
}

}  // namespace systole::kernels::SYSTOLE_TARGET
