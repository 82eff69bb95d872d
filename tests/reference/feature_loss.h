// The cosine loss, Barlow Twins and VICReg as their papers define them, one element at a time, gradients by the chain
// rule. T is double for the truth, float for what a plain implementation reaches.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace systole::test::reference {

template <class T>
struct Cosine {
  T loss = 0;
  std::vector<T> dp, dt;  // [N, D]
};

template <class T>
Cosine<T> cosine_loss(int N, int D, const std::vector<T>& p, const std::vector<T>& t) {
  Cosine<T> result{0, std::vector<T>(p.size()), std::vector<T>(t.size())};
  for (int i = 0; i < N; ++i) {
    T pp = 0, tt = 0, pt = 0;
    for (int k = i * D; k < (i + 1) * D; ++k) pp += p[k] * p[k], tt += t[k] * t[k], pt += p[k] * t[k];
    const T p_norm = std::sqrt(pp), t_norm = std::sqrt(tt);
    const bool zero = p_norm == 0 || t_norm == 0;
    const T cosine = zero ? 0 : pt / (p_norm * t_norm);
    result.loss += (2 - 2 * cosine) / N;
    if (zero) continue;
    for (int k = i * D; k < (i + 1) * D; ++k) {
      const T p_unit = p[k] / p_norm, t_unit = t[k] / t_norm;
      result.dp[k] = T(-2) / N * (t_unit - cosine * p_unit) / p_norm;
      result.dt[k] = T(-2) / N * (p_unit - cosine * t_unit) / t_norm;
    }
  }
  return result;
}

/// A loss of a matrix [D, D] and its derivative by each element.
template <class T>
struct MatrixLoss {
  T loss = 0;
  std::vector<T> slope, part;  // part: the size of what the slope is a sum of
  explicit MatrixLoss(size_t count) : slope(count), part(count) {}
};

/// Of the cross-correlation C.
template <class T>
MatrixLoss<T> barlow_twins_of(int D, const std::vector<T>& C, T off_diagonal) {
  MatrixLoss<T> result(C.size());
  for (int d = 0; d < D; ++d)
    for (int e = 0; e < D; ++e) {
      const T c = C[size_t(d) * D + e];
      result.loss += d == e ? (1 - c) * (1 - c) : off_diagonal * c * c;
      result.slope[size_t(d) * D + e] = d == e ? -2 * (1 - c) : 2 * off_diagonal * c;
      result.part[size_t(d) * D + e] = d == e ? 2 * (1 + std::abs(c)) : 2 * off_diagonal * std::abs(c);
    }
  return result;
}

/// Of the covariance of one view.
template <class T>
MatrixLoss<T> vicreg_of(int D, const std::vector<T>& cov, T variance, T covariance) {
  MatrixLoss<T> result(cov.size());
  for (int d = 0; d < D; ++d)
    for (int e = 0; e < D; ++e) {
      const size_t k = size_t(d) * D + e;
      const T deviation = d == e ? std::sqrt(cov[k] + T(1e-4)) : 0;
      if (d != e) {
        result.loss += covariance * cov[k] * cov[k] / D;
        result.slope[k] = 2 * covariance * cov[k] / D;
      } else if (deviation < 1) {
        result.loss += variance / 2 * (1 - deviation) / D;
        result.slope[k] = -variance / 2 / D / (2 * deviation);
      }
      result.part[k] = std::abs(result.slope[k]);
    }
  return result;
}

/// Columns of rows [N, D] with their mean taken away.
template <class T>
std::vector<T> centered(int N, int D, const T* x) {
  std::vector<T> result(x, x + size_t(N) * D);
  for (int d = 0; d < D; ++d) {
    T mean = 0;
    for (int i = 0; i < N; ++i) mean += x[i * D + d] / N;
    for (int i = 0; i < N; ++i) result[i * D + d] -= mean;
  }
  return result;
}

/// AᵀB of [N, D] each.
template <class T>
std::vector<T> product_of_columns(int N, int D, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> result(size_t(D) * D);
  for (int i = 0; i < N; ++i)
    for (int d = 0; d < D; ++d)
      for (int e = 0; e < D; ++e) result[size_t(d) * D + e] += a[i * D + d] * b[i * D + e];
  return result;
}

/// The largest root of Σ_e (part(d, e) · row_e)² over all d and rows [N, D].
template <class T, class Part>
double largest_pull(int N, int D, const std::vector<T>& rows, const Part& part) {
  double largest = 0;
  for (int i = 0; i < N; ++i)
    for (int d = 0; d < D; ++d) {
      double squares = 0;
      for (int e = 0; e < D; ++e) squares += std::pow(part(d, e) * rows[i * D + e], 2);
      largest = std::max(largest, std::sqrt(squares));
    }
  return largest;
}

/// x [2N, D]: the first view, then the second.
template <class T>
struct FeatureLoss {
  T loss = 0;
  std::vector<T> dx;  // [2N, D]
  double pull = 0;    // of the parts that make an element of dx, and may cancel: what its rounding is measured by
};

template <class T>
FeatureLoss<T> barlow_twins(int N, int D, const std::vector<T>& x, T off_diagonal) {
  std::vector<T> unit[2], deviation[2];
  for (int view : {0, 1}) {
    unit[view] = centered(N, D, x.data() + size_t(view) * N * D);
    for (int d = 0; d < D; ++d) {
      T var = 0;
      for (int i = 0; i < N; ++i) var += unit[view][i * D + d] * unit[view][i * D + d] / N;
      deviation[view].push_back(std::sqrt(var + T(1e-5)));
      for (int i = 0; i < N; ++i) unit[view][i * D + d] /= deviation[view][d];
    }
  }
  std::vector<T> C = product_of_columns(N, D, unit[0], unit[1]);
  for (T& c : C) c /= N;
  const MatrixLoss<T> of_matrix = barlow_twins_of(D, C, off_diagonal);

  FeatureLoss<T> result{of_matrix.loss, std::vector<T>(x.size())};
  std::vector<T> dunit[2] = {std::vector<T>(unit[0].size()), std::vector<T>(unit[1].size())};
  for (int i = 0; i < N; ++i)
    for (int d = 0; d < D; ++d)
      for (int e = 0; e < D; ++e) {
        const T slope = of_matrix.slope[size_t(d) * D + e] / N;
        dunit[0][i * D + d] += slope * unit[1][i * D + e];
        dunit[1][i * D + e] += slope * unit[0][i * D + d];
      }
  for (int view : {0, 1})
    for (int d = 0; d < D; ++d) {
      T mean = 0, along = 0;
      for (int i = 0; i < N; ++i) {
        mean += dunit[view][i * D + d] / N;
        along += dunit[view][i * D + d] * unit[view][i * D + d] / N;
      }
      for (int i = 0; i < N; ++i)
        result.dx[(size_t(view) * N + i) * D + d] =
            (dunit[view][i * D + d] - mean - along * unit[view][i * D + d]) / deviation[view][d];
    }
  const auto part = [&](int view, int d, int e) {
    return of_matrix.part[view == 0 ? size_t(d) * D + e : size_t(e) * D + d] / N / deviation[view][d];
  };
  result.pull = std::max(largest_pull(N, D, unit[1], [&](int d, int e) { return part(0, d, e); }),
                         largest_pull(N, D, unit[0], [&](int d, int e) { return part(1, d, e); }));
  return result;
}

template <class T>
FeatureLoss<T> vicreg(int N, int D, const std::vector<T>& x, T invariance, T variance, T covariance) {
  FeatureLoss<T> result{0, std::vector<T>(x.size())};
  const size_t size = size_t(N) * D;
  for (size_t k = 0; k < size; ++k) {
    const T difference = x[k] - x[size + k];
    result.loss += invariance * difference * difference / size;
    result.dx[k] += 2 * invariance * difference / size;
    result.dx[size + k] -= 2 * invariance * difference / size;
  }
  for (int view : {0, 1}) {
    const std::vector<T> rows = centered(N, D, x.data() + view * size);
    std::vector<T> cov = product_of_columns(N, D, rows, rows);
    for (T& c : cov) c /= N - 1;
    const MatrixLoss<T> of_matrix = vicreg_of(D, cov, variance, covariance);
    result.loss += of_matrix.loss;
    std::vector<T> drows(size);  // cov_de depends on column d and on column e
    for (int i = 0; i < N; ++i)
      for (int d = 0; d < D; ++d)
        for (int e = 0; e < D; ++e) {
          const T slope = of_matrix.slope[size_t(d) * D + e] / (N - 1);
          drows[i * D + d] += slope * rows[i * D + e];
          drows[i * D + e] += slope * rows[i * D + d];
        }
    const std::vector<T> through_mean = centered(N, D, drows.data());
    for (size_t k = 0; k < size; ++k) result.dx[view * size + k] += through_mean[k];
    const auto part = [&](int d, int e) { return 2 * of_matrix.part[size_t(d) * D + e] / (N - 1); };
    result.pull = std::max(result.pull, largest_pull(N, D, rows, part));
  }
  return result;
}

}  // namespace systole::test::reference
