// Batch normalisation by the book, one channel at a time: T = double is the truth, T = float what rounding excuses.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/batch_norm/batch_norm.h"

namespace systole::test::reference {

/// Position of the first value of (row of the group, channel c) in [N, L, C].
inline size_t at(const kernels::BatchNormShape& s, int group, int64_t row, int c) {
  return static_cast<size_t>((group * s.rows_per_group() + row) * s.C + c);
}

template <class T>
struct Moments {
  std::vector<T> mean, var;  // [G, C]; var is biased
};

template <class T>
Moments<T> batch_norm_statistics(const kernels::BatchNormShape& s, const std::vector<T>& x) {
  Moments<T> result;
  const auto rows = static_cast<T>(s.rows_per_group());
  for (int g = 0; g < s.groups; ++g)
    for (int c = 0; c < s.C; ++c) {
      T sum = 0, squares = 0;
      for (int64_t r = 0; r < s.rows_per_group(); ++r) sum += x[at(s, g, r, c)];
      const T mean = sum / rows;
      for (int64_t r = 0; r < s.rows_per_group(); ++r)
        squares += (x[at(s, g, r, c)] - mean) * (x[at(s, g, r, c)] - mean);
      result.mean.push_back(mean);
      result.var.push_back(squares / rows);
    }
  return result;
}

/// y = relu?(γ · (x − mean) / sqrt(var + eps) + β) with moments [G, C].
template <class T>
std::vector<T> batch_norm_forward(const kernels::BatchNormShape& s, const std::vector<T>& x, const Moments<T>& moments,
                                  const std::vector<T>& gamma, const std::vector<T>& beta, T eps, bool relu) {
  std::vector<T> y(x.size());
  for (int g = 0; g < s.groups; ++g)
    for (int64_t r = 0; r < s.rows_per_group(); ++r)
      for (int c = 0; c < s.C; ++c) {
        const size_t i = at(s, g, r, c), gc = static_cast<size_t>(g * s.C + c);
        y[i] = gamma[c] * (x[i] - moments.mean[gc]) / std::sqrt(moments.var[gc] + eps) + beta[c];
        if (relu && y[i] < 0) y[i] = 0;
      }
  return y;
}

template <class T>
struct BatchNormGradient {
  std::vector<T> dx, dgamma, dbeta;
};

/// The gradient by the formula of the contract; in evaluation without the two terms of the statistics.
template <class T>
BatchNormGradient<T> batch_norm_backward(const kernels::BatchNormShape& s, const std::vector<T>& x,
                                         const std::vector<T>& dy, const Moments<T>& moments, T eps,
                                         const std::vector<T>& scale, const std::vector<T>& shift, bool relu,
                                         bool training) {
  BatchNormGradient<T> result{std::vector<T>(x.size()), std::vector<T>(s.C), std::vector<T>(s.C)};
  const auto rows = static_cast<T>(s.rows_per_group());
  for (int g = 0; g < s.groups; ++g)
    for (int c = 0; c < s.C; ++c) {
      const size_t gc = static_cast<size_t>(g * s.C + c);
      const T inverse = 1 / std::sqrt(moments.var[gc] + eps);
      const auto gated = [&](size_t i) { return relu && x[i] * scale[gc] + shift[gc] <= 0 ? T{0} : dy[i]; };
      T sum_g = 0, sum_gx = 0;
      for (int64_t r = 0; r < s.rows_per_group(); ++r) {
        const size_t i = at(s, g, r, c);
        sum_g += gated(i);
        sum_gx += gated(i) * ((x[i] - moments.mean[gc]) * inverse);
      }
      for (int64_t r = 0; r < s.rows_per_group(); ++r) {
        const size_t i = at(s, g, r, c);
        const T normalised = (x[i] - moments.mean[gc]) * inverse;
        const T through_statistics = training ? sum_g / rows + normalised * (sum_gx / rows) : T{0};
        result.dx[i] = scale[gc] * (gated(i) - through_statistics);
      }
      result.dgamma[c] += sum_gx;
      result.dbeta[c] += sum_g;
    }
  return result;
}

}  // namespace systole::test::reference
