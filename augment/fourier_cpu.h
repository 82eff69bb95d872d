// The Fourier transform of the cpu's band-pass, on rows that hold all leads of one moment: forward, times a response,
// and back. The forward steps leave the frequencies in another order than that of time (frequency_of_row in draws.h),
// the backward ones start from it, so nothing is ever permuted.
#pragma once

#include <cmath>
#include <experimental/simd>
#include <map>
#include <mutex>
#include <vector>

#include "augment/draws.h"

namespace systole::augment::cpu {

namespace stdx = std::experimental;
template <int S>
using Row = stdx::fixed_size_simd<float, S>;

/// Roots of unity and the order of a Fourier transform of P rows; made once for each P.
struct Circle {
  struct Root {
    float cosine, sine;
  };
  struct Powers {
    Root w1, w2, w3;
  };
  int P;
  std::vector<Root> root;      // [P]: j / P turns
  std::vector<int> frequency;  // [P]: which one stands in row p after the forward transform

  Powers powers(int j) const {
    const auto i = static_cast<size_t>(j);
    return {root[i], root[2 * i], root[3 * i]};
  }

  explicit Circle(int P_) : P(P_) {
    for (int j = 0; j < P; ++j) {
      const double angle = 2 * M_PI * j / P;
      root.push_back({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
    }
    for (int p = 0; p < P; ++p) frequency.push_back(frequency_of_row(p, P));
  }
};
inline const Circle& circle_of(int P) {
  static std::mutex mutex;
  static std::map<int, const Circle> circles;
  const std::lock_guard lock(mutex);
  return circles.try_emplace(P, P).first->second;
}

/// Lanes 0 … S/2 − 1 of a row as real parts, the others as imaginary ones: one complex transform serves two leads a
/// lane, and a filter whose response is real never mixes them.
template <int S>
struct Complex {
  using Half = stdx::fixed_size_simd<float, S / 2>;
  Half re, im;

  explicit Complex(const float* row) : re(row, stdx::element_aligned), im(row + S / 2, stdx::element_aligned) {}
  Complex(const Half& re_, const Half& im_) : re(re_), im(im_) {}
  void store(float* row) const {
    re.copy_to(row, stdx::element_aligned);
    im.copy_to(row + S / 2, stdx::element_aligned);
  }
  Complex operator+(const Complex& b) const { return {re + b.re, im + b.im}; }
  Complex operator-(const Complex& b) const { return {re - b.re, im - b.im}; }
  Complex operator*(float b) const { return {re * b, im * b}; }
  Complex times_i() const { return {-im, re}; }
  Complex turned(Circle::Root w) const {  // times w
    return {re * w.cosine - im * w.sine, re * w.sine + im * w.cosine};
  }
  Complex turned_back(Circle::Root w) const {  // times the conjugate of w
    return {re * w.cosine + im * w.sine, im * w.cosine - re * w.sine};
  }
};

/// One step of the transform within each block of n of the `rows` rows: two steps of radix 2 in one (decimation in
/// frequency; Cooley and Tukey).
template <int S>
void forward_step(float* x, int rows, int n, const Circle& circle) {
  const int quarter = n / 4, stride = circle.P / n;
  const size_t row = static_cast<size_t>(quarter) * S;
  for (int j = 0; j < quarter; ++j) {
    const auto [w1, w2, w3] = circle.powers(j * stride);
    for (int block = 0; block < rows; block += n) {
      float* a = x + static_cast<size_t>(block + j) * S;
      const Complex<S> x0(a), x1(a + row), x2(a + 2 * row), x3(a + 3 * row);
      const Complex<S> even = x0 + x2, odd = x1 + x3, u = x0 - x2, v = (x1 - x3).times_i();
      (even + odd).store(a);
      (even - odd).turned_back(w2).store(a + row);
      (u - v).turned_back(w1).store(a + 2 * row);
      (u + v).turned_back(w3).store(a + 3 * row);
    }
  }
}
/// Undoes forward_step, four times too large.
template <int S>
void inverse_step(float* x, int rows, int n, const Circle& circle) {
  const int quarter = n / 4, stride = circle.P / n;
  const size_t row = static_cast<size_t>(quarter) * S;
  for (int j = 0; j < quarter; ++j) {
    const auto [w1, w2, w3] = circle.powers(j * stride);
    for (int block = 0; block < rows; block += n) {
      float* a = x + static_cast<size_t>(block + j) * S;
      const Complex<S> y0(a), y1 = Complex<S>(a + row).turned(w2), y2 = Complex<S>(a + 2 * row).turned(w1),
                              y3 = Complex<S>(a + 3 * row).turned(w3);
      const Complex<S> even = y0 + y1, odd = y0 - y1, u = y2 + y3, v = (y2 - y3).times_i();
      (even + u).store(a);
      (odd + v).store(a + row);
      (even - u).store(a + 2 * row);
      (odd - v).store(a + 3 * row);
    }
  }
}

/// The step for a circle of three times a power of two: into three blocks.
template <int S>
void forward_step_of_3(float* x, const Circle& circle) {
  const int third = circle.P / 3;
  const size_t row = static_cast<size_t>(third) * S;
  for (int j = 0; j < third; ++j) {
    float* a = x + static_cast<size_t>(j) * S;
    const Complex<S> x0(a), x1(a + row), x2(a + 2 * row);
    const Complex<S> sum = x1 + x2, rest = x0 - sum * 0.5f, turn = ((x1 - x2) * kHalfRootOf3).times_i();
    const auto i = static_cast<size_t>(j);
    (x0 + sum).store(a);
    (rest - turn).turned_back(circle.root[i]).store(a + row);
    (rest + turn).turned_back(circle.root[2 * i]).store(a + 2 * row);
  }
}
/// Undoes forward_step_of_3, three times too large.
template <int S>
void inverse_step_of_3(float* x, const Circle& circle) {
  const int third = circle.P / 3;
  const size_t row = static_cast<size_t>(third) * S;
  for (int j = 0; j < third; ++j) {
    float* a = x + static_cast<size_t>(j) * S;
    const auto i = static_cast<size_t>(j);
    const Complex<S> y0(a), y1 = Complex<S>(a + row).turned(circle.root[i]),
                            y2 = Complex<S>(a + 2 * row).turned(circle.root[2 * i]);
    const Complex<S> sum = y1 + y2, rest = y0 - sum * 0.5f, turn = ((y1 - y2) * kHalfRootOf3).times_i();
    (y0 + sum).store(a);
    (rest + turn).store(a + row);
    (rest - turn).store(a + 2 * row);
  }
}

/// Transform, product with the response, and transform back of `rows` rows. A step of a large block leaves four blocks
/// that are finished one after the other: most steps then run on few rows, in the first-level cache. `response` [rows]
/// is in the order of the transformed rows.
template <int S>
void filter_rows(float* x, int rows, const float* response, const Circle& circle) {
  constexpr int kRowsInCache = 128;  // 8 KB
  if (rows > kRowsInCache) {
    forward_step<S>(x, rows, rows, circle);
    for (int q = 0; q < 4; ++q)
      filter_rows<S>(x + static_cast<size_t>(q * (rows / 4)) * S, rows / 4, response + q * (rows / 4), circle);
    inverse_step<S>(x, rows, rows, circle);
    return;
  }
  int n = rows;
  for (; n >= 4; n /= 4) forward_step<S>(x, rows, n, circle);
  if (n == 1) {
    for (int p = 0; p < rows; ++p)
      (Row<S>(x + p * S, stdx::element_aligned) * response[p]).copy_to(x + p * S, stdx::element_aligned);
    n = 4;
  } else {  // a last step of radix 2, there and back
    for (int p = 0; p < rows; p += 2) {
      const Row<S> a(x + p * S, stdx::element_aligned), b(x + p * S + S, stdx::element_aligned);
      const Row<S> sum = (a + b) * response[p], difference = (a - b) * response[p + 1];
      (sum + difference).copy_to(x + p * S, stdx::element_aligned);
      (sum - difference).copy_to(x + p * S + S, stdx::element_aligned);
    }
    n = 8;
  }
  for (; n <= rows; n *= 4) inverse_step<S>(x, rows, n, circle);
}

/// All rows of a circle. `response` [P] is in the order of the transformed rows, and divided by P.
template <int S>
void filter_circle_of_rows(float* x, const float* response, const Circle& circle) {
  const int blocks = circle.P % 3 == 0 ? 3 : 1, rows = circle.P / blocks;
  if (blocks == 3) forward_step_of_3<S>(x, circle);
  for (int b = 0; b < blocks; ++b)
    filter_rows<S>(x + static_cast<size_t>(b * rows) * S, rows, response + b * rows, circle);
  if (blocks == 3) inverse_step_of_3<S>(x, circle);
}

}  // namespace systole::augment::cpu
