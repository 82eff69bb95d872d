// NT-Xent and the normalisation of rows, written as the formulas stand, with the whole similarity matrix. T is double
// for the truth, float for what a plain implementation reaches.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace systole::test::reference {

template <class T>
std::vector<T> l2_normalize(int M, int D, const std::vector<T>& x) {
  std::vector<T> z(x.size());
  for (int i = 0; i < M; ++i) {
    T squares = 0;
    for (int d = 0; d < D; ++d) squares += x[i * D + d] * x[i * D + d];
    const T norm = std::sqrt(squares);
    for (int d = 0; d < D; ++d) z[i * D + d] = norm > 0 ? x[i * D + d] / norm : 0;
  }
  return z;
}

template <class T>
std::vector<T> l2_normalize_backward(int M, int D, const std::vector<T>& x, const std::vector<T>& dz) {
  const std::vector<T> z = l2_normalize(M, D, x);
  std::vector<T> dx(x.size());
  for (int i = 0; i < M; ++i) {
    T squares = 0, along = 0;
    for (int d = 0; d < D; ++d) {
      squares += x[i * D + d] * x[i * D + d];
      along += z[i * D + d] * dz[i * D + d];
    }
    if (squares == 0) continue;
    for (int d = 0; d < D; ++d) dx[i * D + d] = (dz[i * D + d] - z[i * D + d] * along) / std::sqrt(squares);
  }
  return dx;
}

template <class T>
struct NtXent {
  T loss;
  std::vector<T> log_sum;  // [M] log Σ_{j≠i} exp(c (s_ij − 1))
  std::vector<T> dz;       // [M, D], for the rows as they are given
};

template <class T>
NtXent<T> nt_xent(int M, int D, T temperature, const std::vector<T>& z) {
  const T c = 1 / temperature;
  std::vector<T> logits(size_t(M) * M);
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < M; ++j) {
      T s = 0;
      for (int d = 0; d < D; ++d) s += z[i * D + d] * z[j * D + d];
      logits[i * M + j] = i == j ? -std::numeric_limits<T>::infinity() : c * (s - 1);
    }

  NtXent<T> result{0, std::vector<T>(M), std::vector<T>(z.size())};
  for (int i = 0; i < M; ++i) {
    const T* row = logits.data() + size_t(i) * M;
    const T largest = *std::max_element(row, row + M);
    T sum = 0;
    for (int j = 0; j < M; ++j) sum += std::exp(row[j] - largest);
    result.log_sum[i] = largest + std::log(sum);
    result.loss += (result.log_sum[i] - row[(i + M / 2) % M]) / M;
  }

  // d loss / d s_ij = (c / M) (softmax_ij − [j is i's partner]), and s_ij depends on z_i and on z_j.
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < M; ++j) {
      const T slope = std::exp(logits[i * M + j] - result.log_sum[i]) - (j == (i + M / 2) % M ? 1 : 0);
      for (int d = 0; d < D; ++d) {
        result.dz[i * D + d] += c / M * slope * z[j * D + d];
        result.dz[j * D + d] += c / M * slope * z[i * D + d];
      }
    }
  return result;
}

}  // namespace systole::test::reference
