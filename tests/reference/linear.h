// Linear as its formula reads, in any floating point type.
#pragma once

#include <vector>

#include "kernels/linear/linear.h"

namespace systole::test::reference {

/// y [M, D_out]; an empty bias is zero.
template <class T>
std::vector<T> linear_forward(const kernels::LinearShape& s, const std::vector<T>& x, const std::vector<T>& w,
                              const std::vector<T>& bias) {
  const size_t M = s.M, D_in = s.D_in, D_out = s.D_out;
  std::vector<T> y(M * D_out);
  for (size_t m = 0; m < M; ++m) {
    for (size_t o = 0; o < D_out && !bias.empty(); ++o) y[m * D_out + o] = bias[o];
    for (size_t i = 0; i < D_in; ++i)
      for (size_t o = 0; o < D_out; ++o) y[m * D_out + o] += x[m * D_in + i] * w[i * D_out + o];
  }
  return y;
}

/// dx [M, D_in].
template <class T>
std::vector<T> linear_input_gradient(const kernels::LinearShape& s, const std::vector<T>& dy, const std::vector<T>& w) {
  const size_t M = s.M, D_in = s.D_in, D_out = s.D_out;
  std::vector<T> dx(M * D_in);
  for (size_t m = 0; m < M; ++m)
    for (size_t i = 0; i < D_in; ++i)
      for (size_t o = 0; o < D_out; ++o) dx[m * D_in + i] += dy[m * D_out + o] * w[i * D_out + o];
  return dx;
}

/// dw [D_in, D_out].
template <class T>
std::vector<T> linear_weight_gradient(const kernels::LinearShape& s, const std::vector<T>& x,
                                      const std::vector<T>& dy) {
  const size_t M = s.M, D_in = s.D_in, D_out = s.D_out;
  std::vector<T> dw(D_in * D_out);
  for (size_t m = 0; m < M; ++m)
    for (size_t i = 0; i < D_in; ++i)
      for (size_t o = 0; o < D_out; ++o) dw[i * D_out + o] += x[m * D_in + i] * dy[m * D_out + o];
  return dw;
}

/// dbias [D_out].
template <class T>
std::vector<T> linear_bias_gradient(const kernels::LinearShape& s, const std::vector<T>& dy) {
  std::vector<T> dbias(static_cast<size_t>(s.D_out));
  for (size_t i = 0; i < dy.size(); ++i) dbias[i % dbias.size()] += dy[i];
  return dbias;
}

}  // namespace systole::test::reference
