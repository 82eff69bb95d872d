// Losses on features on the CPU. All sums are in double, row by row on all threads, and the rows are added in order.

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/contrastive/feature_loss.h"
#include "kernels/contrastive/feature_terms.h"

namespace systole::kernels::cpu {
namespace {

/// Σ term(i) over [begin, end): eight sums side by side, for vector code, so in an order that the count alone decides.
template <class Term>
double sum_of(int64_t begin, int64_t end, const Term& term) {
  std::array<double, 8> lane{};
  int64_t i = begin;
  for (; i + 8 <= end; i += 8)
    for (int l = 0; l < 8; ++l) lane[l] += term(i + l);
  for (int l = 0; i < end; ++i, ++l) lane[l] += term(i);
  return std::accumulate(lane.begin(), lane.end(), 0.0);
}

float sum_in_order(const std::vector<double>& parts) {
  return static_cast<float>(std::accumulate(parts.begin(), parts.end(), 0.0));
}

void store(double value, GradientMode mode, float& to) {
  to = static_cast<float>(mode == GradientMode::accumulate ? to + value : value);
}

// ---- cosine

double dot(const float* a, const float* b, int D) {
  return sum_of(0, D, [=](int64_t d) { return double{a[d]} * b[d]; });
}

Angle angle_of(const float* p, const float* t, int D) {
  return {dot(p, p, D), dot(t, t, D), dot(p, t, D)};
}

void cosine_forward(Queue&, const CosineShape& shape, const float* p, const float* t, float* loss) {
  const int D = shape.D;
  std::vector<double> part(static_cast<size_t>(shape.N));
  parallel_for(shape.N, [&](int64_t i) { part[i] = (2 - 2 * angle_of(p + i * D, t + i * D, D).cosine) / shape.N; });
  *loss = sum_in_order(part);
}

/// dx (+)= scale (along x − y).
void store_gradient(int D, double scale, double along, const float* x, const float* y, float* dx, GradientMode mode) {
  for (int d = 0; d < D; ++d) store(scale * (along * x[d] - y[d]), mode, dx[d]);
}

void cosine_backward(Queue&, const CosineShape& shape, const float* p, const float* t, const float* upstream, float* dp,
                     GradientMode dp_mode, float* dt, GradientMode dt_mode) {
  const int D = shape.D;
  parallel_for(shape.N, [=](int64_t i) {
    const float *p_row = p + i * D, *t_row = t + i * D;
    const Angle angle = angle_of(p_row, t_row, D);
    const double scale = 2.0 * *upstream / shape.N * angle.across;
    if (dp) store_gradient(D, scale, angle.along_p, p_row, t_row, dp + i * D, dp_mode);
    if (dt) store_gradient(D, scale, angle.along_t, t_row, p_row, dt + i * D, dt_mode);
  });
}

// ---- losses of a matrix

void column_affine(Queue&, int64_t count, const float* mean, const float* var, float eps, float* scale, float* shift) {
  for (int64_t i = 0; i < count; ++i) {
    scale[i] = var ? static_cast<float>(1 / std::sqrt(double{var[i]} + eps)) : 1.0f;
    shift[i] = static_cast<float>(-double{mean[i]} * scale[i]);
  }
}

/// part[row] = what a row of sums [rows, D] adds to the loss; row % D is its place in its matrix.
template <class Terms>
void loss_of_rows(const Terms& terms, int64_t rows, int D, const float* sums, double* part) {
  parallel_for(rows, [=](int64_t row) {
    const float* s = sums + row * D;
    const int64_t d = row % D;
    const auto off_diagonal = [=](int64_t e) { return terms.loss(s[e]); };
    part[row] = sum_of(0, d, off_diagonal) + terms.diagonal_loss(s[d]) + sum_of(d + 1, D, off_diagonal);
  });
}

/// dsums may be sums.
template <class Terms>
void slopes_of_rows(const Terms& terms, int64_t rows, int D, const float* sums, double upstream, float* dsums) {
  parallel_for(rows, [=](int64_t row) {
    const float* s = sums + row * D;
    float* ds = dsums + row * D;
    const double diagonal = terms.diagonal_slope(s[row % D]);
    for (int e = 0; e < D; ++e) ds[e] = static_cast<float>(upstream * terms.slope(s[e]));
    ds[row % D] = static_cast<float>(upstream * diagonal);
  });
}

void barlow_twins_forward(Queue&, const BarlowTwinsShape& shape, const float* sums, float* loss) {
  std::vector<double> part(static_cast<size_t>(shape.D));
  loss_of_rows(BarlowTwinsTerms(shape), shape.D, shape.D, sums, part.data());
  *loss = sum_in_order(part);
}

void barlow_twins_backward(Queue&, const BarlowTwinsShape& shape, const float* sums, const float* upstream,
                           float* dsums) {
  slopes_of_rows(BarlowTwinsTerms(shape), shape.D, shape.D, sums, *upstream, dsums);
}

void vicreg_forward(Queue&, const VicregShape& shape, const float* x, const float* sums, float* loss) {
  const int64_t D = shape.D, rows = 2 * D;
  std::vector<double> part(static_cast<size_t>(rows + shape.N));
  loss_of_rows(VicregTerms(shape), rows, shape.D, sums, part.data());
  const double factor = invariance_factor(shape);
  parallel_for(shape.N, [=, distance = part.data() + rows](int64_t i) {
    const float *a = x + i * D, *b = x + (shape.N + i) * D;
    distance[i] = factor * sum_of(0, D, [=](int64_t d) { return (double{a[d]} - b[d]) * (double{a[d]} - b[d]); });
  });
  *loss = sum_in_order(part);
}

void vicreg_backward(Queue&, const VicregShape& shape, const float* sums, const float* upstream, float* dsums) {
  slopes_of_rows(VicregTerms(shape), 2 * int64_t{shape.D}, shape.D, sums, *upstream, dsums);
}

void vicreg_invariance_backward(Queue&, const VicregShape& shape, const float* x, const float* upstream, float* dx,
                                GradientMode mode) {
  const int64_t D = shape.D, count = shape.N * D;
  const double factor = 2 * invariance_factor(shape) * *upstream;
  parallel_for(shape.N, [=](int64_t i) {
    for (int64_t k = i * D; k < (i + 1) * D; ++k) {
      const double slope = factor * (double{x[k]} - x[count + k]);
      store(slope, mode, dx[k]);
      store(-slope, mode, dx[count + k]);
    }
  });
}

}  // namespace

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

}  // namespace systole::kernels::cpu
