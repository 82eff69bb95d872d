// The contrastive table of the CPU, and the normalisation of rows.

#include <array>
#include <cmath>

#include "kernels/common/parallel.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/nt_xent_cpu.h"

namespace systole::kernels::cpu {
namespace {

/// Σ_d a[d] b[d] in double, in an order that depends on D alone.
double dot(const float* a, const float* b, int D) {
  std::array<double, 8> lane{};
  int d = 0;
  for (; d + 8 <= D; d += 8)
    for (int l = 0; l < 8; ++l) lane[l] += double{a[d + l]} * b[d + l];
  for (int l = 0; d < D; ++d, ++l) lane[l] += double{a[d]} * b[d];
  double sum = 0;
  for (double part : lane) sum += part;
  return sum;
}

void l2_normalize(Queue&, const NormalizeShape& shape, const float* x, float* z, float* norm) {
  const int D = shape.D;
  parallel_for(shape.M, [=](int64_t i) {
    const float* row = x + i * D;
    const double length = std::sqrt(dot(row, row, D));
    const auto inverse = static_cast<float>(length > 0 ? 1 / length : 0);
    for (int d = 0; d < D; ++d) z[i * D + d] = row[d] * inverse;
    norm[i] = static_cast<float>(length);
  });
}

void l2_normalize_backward(Queue&, const NormalizeShape& shape, const float* z, const float* norm, const float* dz,
                           float* dx, GradientMode mode) {
  const int D = shape.D;
  parallel_for(shape.M, [=](int64_t i) {
    const float *row = z + i * D, *gradient = dz + i * D;
    const auto along = static_cast<float>(dot(row, gradient, D));
    const float inverse = norm[i] > 0 ? 1 / norm[i] : 0;
    for (int d = 0; d < D; ++d) {
      const float value = (gradient[d] - row[d] * along) * inverse;
      dx[i * D + d] = mode == GradientMode::accumulate ? dx[i * D + d] + value : value;
    }
  });
}

}  // namespace

extern const ContrastiveKernels contrastive{.l2_normalize = l2_normalize,
                                            .l2_normalize_backward = l2_normalize_backward,
                                            .nt_xent_forward = nt_xent_forward,
                                            .nt_xent_backward = nt_xent_backward};

}  // namespace systole::kernels::cpu
