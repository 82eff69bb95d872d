#include <algorithm>
#include <cblas.h>
#include <vector>

#include "benchmarks/cpu_peers.h"
#include "kernels/common/parallel.h"

namespace systole::benchmarks {
namespace {

using kernels::LinearShape;

/// c [rows, columns] = factor · c + a · b, row by row; a and b as they lie or transposed.
void multiply(CBLAS_TRANSPOSE a_as, CBLAS_TRANSPOSE b_as, int rows, int columns, int depth, const float* a,
              const float* b, float factor, float* c) {
  openblas_set_num_threads(threads());
  cblas_sgemm(CblasRowMajor, a_as, b_as, rows, columns, depth, 1, a, a_as == CblasNoTrans ? depth : rows, b,
              b_as == CblasNoTrans ? columns : depth, factor, c, columns);
}

float factor_of(GradientMode mode) {
  return mode == GradientMode::accumulate ? 1.0f : 0.0f;
}

void forward(Queue&, const LinearShape& s, const float* x, const float* w, const float* bias, float* y) {
  if (bias) parallel_for(s.M, [&](int64_t m) { std::copy_n(bias, s.D_out, y + m * s.D_out); });
  multiply(CblasNoTrans, CblasNoTrans, s.M, s.D_out, s.D_in, x, w, bias ? 1 : 0, y);
}

void input_gradient(Queue&, const LinearShape& s, const float* dy, const float* w, float* dx, GradientMode mode) {
  multiply(CblasNoTrans, CblasTrans, s.M, s.D_in, s.D_out, dy, w, factor_of(mode), dx);
}

void weight_gradient(Queue&, const LinearShape& s, const float* x, const float* dy, float* dw, float* dbias,
                     GradientMode mode) {
  multiply(CblasTrans, CblasNoTrans, s.D_in, s.D_out, s.M, x, dy, factor_of(mode), dw);
  if (!dbias) return;
  if (mode == GradientMode::overwrite) std::fill_n(dbias, s.D_out, 0.0f);
  for (int64_t m = 0; m < s.M; ++m)
    for (int o = 0; o < s.D_out; ++o) dbias[o] += dy[m * s.D_out + o];
}

}  // namespace

const kernels::LinearKernels openblas_linear{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::benchmarks
