// A loss over pairs of rows, written as the formulas stand (kernels/contrastive/pair_loss.h), with the whole matrix. T
// is double for the truth, float for what a plain implementation reaches.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/contrastive/pair_loss.h"

namespace systole::test::reference {

template <class T>
struct PairLoss {
  T loss = 0;
  int left_out = 0;
  std::vector<T> log_sum;  // [A] log Σ_j N_ij exp(c (s_ij − 1)); 0 for a row without a loss
  std::vector<T> dx, dy;   // [A, D], [B, D], for x as rows and y as columns
  T dtemperature = 0;
  double pull = 0;  // the largest Σ |parts of weights| of a row or column: what rounding of weights is measured by
};

template <class T>
PairLoss<T> pair_loss(const kernels::PairShape& s, kernels::PairMean mean, const std::vector<T>& x,
                      const std::vector<T>& y, const std::vector<int32_t>& row_ids,
                      const std::vector<int32_t>& column_ids) {
  const int A = s.A, B = s.B, D = s.D;
  const T c = 1 / static_cast<T>(s.temperature);
  const auto is_pair = [&](int i, int j) { return !s.same_rows || s.first_row + i != s.first_column + j; };
  const auto is_positive = [&](int i, int j) { return is_pair(i, j) && row_ids[i] == column_ids[j]; };
  const auto in_denominator = [&](int i, int j) {
    return is_pair(i, j) && (s.positives_in_denominator || !is_positive(i, j));
  };

  std::vector<T> distance(size_t(A) * B);  // s_ij − 1
  for (int i = 0; i < A; ++i)
    for (int j = 0; j < B; ++j) {
      T dot = 0;
      for (int d = 0; d < D; ++d) dot += x[size_t(i) * D + d] * y[size_t(j) * D + d];
      distance[size_t(i) * B + j] = dot - 1;
    }

  PairLoss<T> result;
  result.log_sum.resize(A), result.dx.resize(x.size()), result.dy.resize(y.size());
  std::vector<T> row_loss(A), weight(A);
  std::vector<int> positives(A);
  T weights = 0;
  for (int i = 0; i < A; ++i) {
    const T* row = distance.data() + size_t(i) * B;
    T largest = -std::numeric_limits<T>::infinity(), sum = 0, positive = 0;
    for (int j = 0; j < B; ++j) {
      if (in_denominator(i, j)) largest = std::max(largest, c * row[j]);
      if (is_positive(i, j)) positive += c * row[j], ++positives[i];
    }
    for (int j = 0; j < B; ++j)
      if (in_denominator(i, j)) sum += std::exp(c * row[j] - largest);
    if (positives[i] == 0 || sum == 0) {
      ++result.left_out;
      continue;
    }
    result.log_sum[i] = largest + std::log(sum);
    row_loss[i] = result.log_sum[i] - positive / positives[i];
    weight[i] = mean == kernels::PairMean::rows ? 1 : positives[i];
    weights += weight[i];
  }

  std::vector<double> row_pull(A), column_pull(B);
  for (int i = 0; i < A; ++i) {
    if (weight[i] == 0) continue;
    const T g = weight[i] / weights;
    result.loss += g * row_loss[i];
    for (int j = 0; j < B; ++j) {
      const T difference = distance[size_t(i) * B + j];
      const T softmax = in_denominator(i, j) ? std::exp(c * difference - result.log_sum[i]) : 0;
      const T target = is_positive(i, j) ? T(1) / positives[i] : 0;
      const T slope = g * (softmax - target);  // by the logit
      row_pull[i] += g * (softmax + target), column_pull[j] += g * (softmax + target);
      result.dtemperature -= slope * c * c * difference;
      for (int d = 0; d < D; ++d) {
        result.dx[size_t(i) * D + d] += c * slope * y[size_t(j) * D + d];
        result.dy[size_t(j) * D + d] += c * slope * x[size_t(i) * D + d];
      }
    }
  }
  result.pull = std::max(*std::max_element(row_pull.begin(), row_pull.end()),
                         *std::max_element(column_pull.begin(), column_pull.end()));
  return result;
}

}  // namespace systole::test::reference
