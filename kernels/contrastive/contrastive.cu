// The contrastive table of the cuda and simt devices, and the normalisation of rows: a warp per row, neighbouring lanes
// on neighbouring numbers. Sums of a row are in double, as on the cpu: rows of 10^±30 keep their direction.

#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/nt_xent.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kRowsPerBlock = 8;  // one warp each
constexpr int kRowThreads = 32 * kRowsPerBlock;

/// Σ_d a[d] b[d] in every lane; lane l adds d = l, l + 32, …
__device__ double dot(const float* a, const float* b, int D, int lane) {
  double sum = 0;
  for (int d = lane; d < D; d += 32) sum += double{a[d]} * double{b[d]};
  return warp_sum(sum);
}

__global__ __launch_bounds__(kRowThreads, 4) void normalize_rows(const float* __restrict__ x,  // [M, D]
                                                                 float* __restrict__ z,        // [M, D]
                                                                 float* __restrict__ norm,     // [M]
                                                                 int64_t M, int D) {
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t i = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
  if (i >= M) return;  // the whole warp
  const float* row = x + i * D;
  const double length = sqrt(dot(row, row, D, lane));
  const float inverse = static_cast<float>(length > 0 ? 1 / length : 0);
  for (int d = lane; d < D; d += 32) z[i * D + d] = row[d] * inverse;
  if (lane == 0) norm[i] = static_cast<float>(length);
}

__global__ __launch_bounds__(kRowThreads, 4) void rows_backward(const float* __restrict__ z,     // [M, D]
                                                                const float* __restrict__ norm,  // [M]
                                                                const float* __restrict__ dz,    // [M, D]
                                                                float* __restrict__ dx,          // [M, D]
                                                                int64_t M, int D, GradientMode mode) {
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t i = int64_t{blockIdx.x} * kRowsPerBlock + threadIdx.y;
  if (i >= M) return;
  const float along = static_cast<float>(dot(z + i * D, dz + i * D, D, lane));
  const float inverse = norm[i] > 0 ? 1 / norm[i] : 0;
  for (int d = lane; d < D; d += 32) {
    const int64_t k = i * D + d;
    const float value = (dz[k] - z[k] * along) * inverse;
    dx[k] = mode == GradientMode::accumulate ? dx[k] + value : value;
  }
}

Launch rows_launch(int64_t M) {
  return {.grid = {ceil_div(M, int64_t{kRowsPerBlock})}, .block = {32, kRowsPerBlock}};
}

void l2_normalize(Queue& queue, const NormalizeShape& shape, const float* x, float* z, float* norm) {
  launch(queue, rows_launch(shape.M), normalize_rows, x, z, norm, shape.M, shape.D);
}

void l2_normalize_backward(Queue& queue, const NormalizeShape& shape, const float* z, const float* norm,
                           const float* dz, float* dx, GradientMode mode) {
  launch(queue, rows_launch(shape.M), rows_backward, z, norm, dz, dx, shape.M, shape.D, mode);
}

}  // namespace

extern const ContrastiveKernels contrastive{.l2_normalize = l2_normalize,
                                            .l2_normalize_backward = l2_normalize_backward,
                                            .nt_xent_forward = nt_xent_forward,
                                            .nt_xent_backward = nt_xent_backward};
extern const ContrastiveKernels contrastive_wgmma{.l2_normalize = l2_normalize,
                                                  .l2_normalize_backward = l2_normalize_backward,
                                                  .nt_xent_forward = nt_xent_forward_wgmma,
                                                  .nt_xent_backward = nt_xent_backward_wgmma};

}  // namespace systole::kernels::SYSTOLE_TARGET
