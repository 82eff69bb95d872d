// Optimiser steps on the CPU: every step is one pass over memory, so the loops are plain and the compiler makes them
// SIMD. The order of the float operations is PyTorch's.

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/optimizer/optimizer.h"

namespace systole::kernels::cpu {
namespace {

constexpr int64_t kPiece = 16384;  // floats: three or four arrays of one piece stay in L2
constexpr int kLanes = 8;          // partial sums of one piece: two registers of doubles

int64_t piece_count(int64_t count) {
  return (count + kPiece - 1) / kPiece;
}

/// Calls body(begin, end) for the pieces of [begin, end), in parallel.
template <class Body>
void for_pieces(int64_t begin, int64_t end, const Body& body) {
  parallel_for(piece_count(end - begin), [&](int64_t piece) {
    const int64_t first = begin + piece * kPiece;
    body(first, std::min(first + kPiece, end));
  });
}

double sum_of_squares_piece(const float* x, int64_t count) {
  std::array<double, kLanes> lane{};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int l = 0; l < kLanes; ++l) lane[l] += double{x[i + l]} * x[i + l];
  for (int l = 0; i < count; ++i, ++l) lane[l] += double{x[i]} * x[i];
  double sum = 0;
  for (double part : lane) sum += part;
  return sum;
}

void sum_of_squares(Queue&, int64_t count, const float* x, double* sum) {
  std::vector<double> partial(piece_count(count));
  for_pieces(0, count, [&](int64_t begin, int64_t end) {
    partial[begin / kPiece] = sum_of_squares_piece(x + begin, end - begin);
  });
  *sum = 0;
  for (double part : partial) *sum += part;
}

void adam(Queue&, int64_t count, const Adam& adam, const StepFactors* factors, const float* gradient_scale,
          const float* gradient, float* w, float* first_moment, float* second_moment) {
  if (!is_applied(*gradient_scale)) return;
  const auto beta1 = static_cast<float>(adam.beta1), rest1 = static_cast<float>(1 - adam.beta1);
  const auto beta2 = static_cast<float>(adam.beta2), rest2 = static_cast<float>(1 - adam.beta2);
  const auto eps = static_cast<float>(adam.eps), scale = *gradient_scale;
  const auto decay = static_cast<float>(adam.decoupled ? 0 : adam.weight_decay);
  const StepFactors f = *factors;

  for_pieces(0, count, [=](int64_t begin, int64_t end) {
    float* __restrict m = first_moment;
    float* __restrict v = second_moment;
    float* __restrict weight = w;
    for (int64_t i = begin; i < end; ++i) {
      const float before = weight[i] * f.shrink;
      const float g = gradient[i] * scale + decay * before;
      m[i] = m[i] * beta1 + g * rest1;
      v[i] = v[i] * beta2 + g * g * rest2;
      weight[i] = before - f.rate * (m[i] / (std::sqrt(v[i]) / f.correction2_sqrt + eps));
    }
  });
}

/// What one pass of SGD needs, in float; ratio is the factor of LARS.
struct SgdNumbers {
  float rate, momentum, decay, scale, ratio;
};

void sgd_piece(const SgdNumbers& f, int64_t begin, int64_t end, const float* __restrict gradient, float* __restrict w,
               float* __restrict buffer) {
  for (int64_t i = begin; i < end; ++i) {
    const float g = f.ratio * (gradient[i] * f.scale + f.decay * w[i]);
    buffer[i] = f.momentum * buffer[i] + g;
    w[i] -= f.rate * buffer[i];
  }
}

/// The step without a buffer to read: the first one, or one without momentum; `buffer` may be null.
void sgd_piece_without_history(const SgdNumbers& f, int64_t begin, int64_t end, const float* __restrict gradient,
                               float* __restrict w, float* __restrict buffer) {
  for (int64_t i = begin; i < end; ++i) {
    const float g = f.ratio * (gradient[i] * f.scale + f.decay * w[i]);
    if (buffer) buffer[i] = g;
    w[i] -= f.rate * g;
  }
}

void sgd_range(const SgdNumbers& numbers, bool first, int64_t begin, int64_t end, const float* gradient, float* w,
               float* momentum) {
  for_pieces(begin, end, [=](int64_t from, int64_t to) {
    if (first || numbers.momentum == 0)
      sgd_piece_without_history(numbers, from, to, gradient, w, momentum);
    else
      sgd_piece(numbers, from, to, gradient, w, momentum);
  });
}

void sgd(Queue&, int64_t count, const Sgd& sgd, const StepFactors* factors, const float* gradient_scale,
         const float* gradient, float* w, float* momentum) {
  if (!is_applied(*gradient_scale)) return;
  const SgdNumbers numbers{.rate = factors->rate,
                           .momentum = static_cast<float>(sgd.momentum),
                           .decay = static_cast<float>(sgd.weight_decay),
                           .scale = *gradient_scale,
                           .ratio = 1};
  sgd_range(numbers, factors->first, 0, count, gradient, w, momentum);
}

double trust_ratio(Queue& queue, const LarsSegment& segment, const Lars& lars, double gradient_scale,
                   const float* gradient, const float* w) {
  if (segment.exempt) return 1;
  double weight_squares = 0, gradient_squares = 0;
  sum_of_squares(queue, segment.end - segment.begin, w + segment.begin, &weight_squares);
  sum_of_squares(queue, segment.end - segment.begin, gradient + segment.begin, &gradient_squares);
  const double weight_norm = std::sqrt(weight_squares);
  const double gradient_norm = std::sqrt(gradient_squares) * std::abs(gradient_scale);
  if (weight_norm == 0 || gradient_norm == 0) return 1;
  return lars.trust * weight_norm / (gradient_norm + lars.weight_decay * weight_norm);
}

void lars(Queue& queue, int segments, const LarsSegment* segment, const Lars& lars, const StepFactors* factors,
          const float* gradient_scale, const float* gradient, float* w, float* momentum) {
  if (!is_applied(*gradient_scale)) return;
  for (const LarsSegment* s = segment; s != segment + segments; ++s) {
    const SgdNumbers numbers{.rate = factors->rate,
                             .momentum = static_cast<float>(lars.momentum),
                             .decay = static_cast<float>(s->exempt ? 0 : lars.weight_decay),
                             .scale = *gradient_scale,
                             .ratio = static_cast<float>(trust_ratio(queue, *s, lars, *gradient_scale, gradient, w))};
    sgd_range(numbers, factors->first, s->begin, s->end, gradient, w, momentum);
  }
}

void limit_norm(Queue&, double max_norm, const double* sum, float* gradient_scale) {
  *gradient_scale = limited_scale(max_norm, *sum);
}

void ema(Queue&, int64_t count, const EmaWeights* weights, const float* source, float* target) {
  const auto [keep, rest] = *weights;
  for_pieces(0, count, [=, keep = keep, rest = rest](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) target[i] = keep * target[i] + rest * source[i];
  });
}

}  // namespace

extern const OptimizerKernels optimizer{
    .adam = adam, .sgd = sgd, .lars = lars, .sum_of_squares = sum_of_squares, .limit_norm = limit_norm, .ema = ema};

}  // namespace systole::kernels::cpu
