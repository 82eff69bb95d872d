// Barlow Twins and VICReg on cuda and simt, and their table. A block takes a row of S; what it adds to the loss goes to
// a place of its own, and one block adds these up in order. All sums are in double: the kernels are bound by memory,
// and next to the products with S they are nothing.

#include <cmath>

#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/contrastive/feature_loss_parts.h"
#include "kernels/contrastive/feature_terms.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;

using DoubleSum = BlockSumScratch<double>;

/// One block: *loss = Σ part.
__global__ __launch_bounds__(kThreads, 4) void sum_of_parts(const double* __restrict__ part, int64_t parts,
                                                            float* __restrict__ loss) {
  double sum = 0;
  for (int64_t p = threadIdx.x; p < parts; p += kThreads) sum += part[p];
  sum = block_sum(sum, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) *loss = static_cast<float>(sum);
}

__global__ __launch_bounds__(kThreads, 4) void make_affine(int64_t count, const float* __restrict__ mean,
                                                           const float* __restrict__ var,  // or null
                                                           float eps, float* __restrict__ scale,
                                                           float* __restrict__ shift) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const float factor = var ? static_cast<float>(1 / sqrt(double{var[i]} + eps)) : 1.0f;
  scale[i] = factor;
  shift[i] = static_cast<float>(-double{mean[i]} * factor);
}

void column_affine(Queue& queue, int64_t count, const float* mean, const float* var, float eps, float* scale,
                   float* shift) {
  launch(queue, {.grid = {ceil_div(count, int64_t{kThreads})}, .block = {kThreads}}, make_affine, count, mean, var, eps,
         scale, shift);
}

/// One block per row; row % D is its place in its matrix.
template <class Terms>
__global__ __launch_bounds__(kThreads, 4) void loss_of_rows(Terms terms, int D,
                                                            const float* __restrict__ sums,  // [rows, D]
                                                            double* __restrict__ part) {     // [rows]
  const int64_t row = blockIdx.x;
  const int diagonal = static_cast<int>(row % D);
  double sum = 0;
  for (int e = static_cast<int>(threadIdx.x); e < D; e += kThreads) {
    const double s = sums[row * D + e];
    sum += e == diagonal ? terms.diagonal_loss(s) : terms.loss(s);
  }
  sum = block_sum(sum, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) part[row] = sum;
}

/// One thread per element.
template <class Terms>
__global__ __launch_bounds__(kThreads, 4) void slopes_of_rows(Terms terms, int D, const float* sums,  // [rows, D]
                                                              const float* __restrict__ upstream,
                                                              float* dsums) {  // [rows, D], may be sums
  const int64_t row = blockIdx.x;
  const int e = static_cast<int>(blockIdx.y * kThreads + threadIdx.x);
  if (e >= D) return;
  const double s = sums[row * D + e];
  const double slope = e == static_cast<int>(row % D) ? terms.diagonal_slope(s) : terms.slope(s);
  dsums[row * D + e] = static_cast<float>(*upstream * slope);
}

template <class Terms>
void launch_loss(Queue& queue, const Terms& terms, int64_t rows, int D, const float* sums, double* part) {
  launch(queue, {.grid = {rows}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, loss_of_rows<Terms>, terms, D,
         sums, part);
}

template <class Terms>
void launch_slopes(Queue& queue, const Terms& terms, int64_t rows, int D, const float* sums, const float* upstream,
                   float* dsums) {
  launch(queue, {.grid = {rows, ceil_div(D, kThreads)}, .block = {kThreads}}, slopes_of_rows<Terms>, terms, D, sums,
         upstream, dsums);
}

void barlow_twins_forward(Queue& queue, const BarlowTwinsShape& shape, const float* sums, float* loss) {
  auto* part = scratch<double>(queue, static_cast<size_t>(shape.D));
  launch_loss(queue, BarlowTwinsTerms(shape), shape.D, shape.D, sums, part);
  add_parts(queue, part, shape.D, loss);
}

void barlow_twins_backward(Queue& queue, const BarlowTwinsShape& shape, const float* sums, const float* upstream,
                           float* dsums) {
  launch_slopes(queue, BarlowTwinsTerms(shape), shape.D, shape.D, sums, upstream, dsums);
}

/// One block per record: what its two rows add to the invariance.
__global__ __launch_bounds__(kThreads, 4) void distance_of_views(int N, int D, double factor,
                                                                 const float* __restrict__ x,  // [2N, D]
                                                                 double* __restrict__ part) {  // [N]
  const float* a = x + int64_t{blockIdx.x} * D;
  const float* b = a + int64_t{N} * D;
  double sum = 0;
  for (int d = static_cast<int>(threadIdx.x); d < D; d += kThreads) {
    const double difference = double{a[d]} - double{b[d]};
    sum += difference * difference;
  }
  sum = block_sum(sum, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) part[blockIdx.x] = factor * sum;
}

__global__ __launch_bounds__(kThreads, 4) void pull_views(int64_t count, double factor,  // N·D
                                                          const float* __restrict__ x,   // [2, count]
                                                          const float* __restrict__ upstream,
                                                          float* __restrict__ dx,  // [2, count]
                                                          GradientMode mode) {
  const int64_t k = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (k >= count) return;
  const double slope = factor * *upstream * (double{x[k]} - double{x[count + k]});
  store(slope, mode, dx[k]);
  store(-slope, mode, dx[count + k]);
}

void vicreg_forward(Queue& queue, const VicregShape& shape, const float* x, const float* sums, float* loss) {
  const int64_t rows = 2 * int64_t{shape.D}, parts = rows + shape.N;
  auto* part = scratch<double>(queue, static_cast<size_t>(parts));
  launch_loss(queue, VicregTerms(shape), rows, shape.D, sums, part);
  launch(queue, {.grid = {shape.N}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, distance_of_views, shape.N,
         shape.D, invariance_factor(shape), x, part + rows);
  add_parts(queue, part, parts, loss);
}

void vicreg_backward(Queue& queue, const VicregShape& shape, const float* sums, const float* upstream, float* dsums) {
  launch_slopes(queue, VicregTerms(shape), 2 * int64_t{shape.D}, shape.D, sums, upstream, dsums);
}

void vicreg_invariance_backward(Queue& queue, const VicregShape& shape, const float* x, const float* upstream,
                                float* dx, GradientMode mode) {
  const int64_t count = int64_t{shape.N} * shape.D;
  launch(queue, {.grid = {ceil_div(count, int64_t{kThreads})}, .block = {kThreads}}, pull_views, count,
         2 * invariance_factor(shape), x, upstream, dx, mode);
}

}  // namespace

void add_parts(Queue& queue, const double* part, int64_t parts, float* loss) {
  launch(queue, {.grid = {1}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, sum_of_parts, part, parts, loss);
}

extern const FeatureLossKernels feature_loss{
    .cosine_forward = cosine_forward,
    .cosine_backward = cosine_backward,
    .column_affine = column_affine,
    .barlow_twins_forward = barlow_twins_forward,
    .barlow_twins_backward = barlow_twins_backward,
    .vicreg_forward = vicreg_forward,
    .vicreg_backward = vicreg_backward,
    .vicreg_invariance_backward = vicreg_invariance_backward,
};

}  // namespace systole::kernels::SYSTOLE_TARGET
