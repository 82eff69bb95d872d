// The sigmoid loss over pairs of rows as its paper writes it (Zhai et al. 2023, algorithm 1: y = ±1), with the whole
// matrix. T is double for the truth, float for what a plain implementation reaches.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/contrastive/sigmoid_loss.h"

namespace systole::test::reference {

template <class T>
struct SigmoidLoss {
  T loss = 0;
  std::vector<T> dx, dy;  // [A, D], [B, D], for x as rows and y as columns
  T dtemperature = 0, dbias = 0;
  double pull = 0,
         row_pull = 0;  // Σ |weights| / n of all, and of a row or column at most: what rounding is measured by
};

template <class T>
SigmoidLoss<T> sigmoid_loss(const kernels::SigmoidShape& shape, const std::vector<T>& x, const std::vector<T>& y,
                            const std::vector<int32_t>& row_ids, const std::vector<int32_t>& column_ids) {
  const kernels::PairShape& s = shape.pairs;
  const int D = s.D;
  const T t = 1 / static_cast<T>(s.temperature), bias = shape.bias, n = static_cast<T>(shape.count);
  SigmoidLoss<T> result;
  result.dx.resize(x.size()), result.dy.resize(y.size());
  std::vector<double> row_pull(s.A), column_pull(s.B);
  for (int i = 0; i < s.A; ++i) {
    T row_loss = 0, row_similarity = 0, row_slope = 0;
    for (int j = 0; j < s.B; ++j) {
      if (s.same_rows && s.first_row + i == s.first_column + j) continue;
      T dot = 0;
      for (int d = 0; d < D; ++d) dot += x[size_t(i) * D + d] * y[size_t(j) * D + d];
      const T sign = row_ids[i] == column_ids[j] ? 1 : -1;
      const T m = sign * (t * dot + bias);  // the loss is −log σ(m)
      row_loss += std::max(-m, T(0)) + std::log1p(std::exp(-std::abs(m)));
      const T slope = -sign / (1 + std::exp(m));  // by the logit
      row_slope += slope, row_similarity += slope * dot;
      row_pull[i] += std::abs(slope), column_pull[j] += std::abs(slope);
      for (int d = 0; d < D; ++d) {
        result.dx[size_t(i) * D + d] += t / n * slope * y[size_t(j) * D + d];
        result.dy[size_t(j) * D + d] += t / n * slope * x[size_t(i) * D + d];
      }
    }
    result.loss += row_loss / n;
    result.dbias += row_slope / n;
    result.dtemperature -= t * t * row_similarity / n;
    result.pull += row_pull[i] / static_cast<double>(n);
  }
  result.row_pull = std::max(*std::max_element(row_pull.begin(), row_pull.end()),
                             *std::max_element(column_pull.begin(), column_pull.end())) /
                    static_cast<double>(n);
  return result;
}

}  // namespace systole::test::reference
