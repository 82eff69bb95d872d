// Conv1d as its formula reads, in any floating point type: double is the truth, float the plain implementation that a
// kernel's error is measured against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/common/bf16.h"
#include "kernels/conv1d/conv1d.h"

namespace systole::test::reference {

/// z = relu?(x · scale + shift) [N, L, C], with scale and shift [groups, C]; an empty scale leaves x as it is.
template <class T>
std::vector<T> pending(const std::vector<T>& x, int N, int L, int C, const std::vector<T>& scale,
                       const std::vector<T>& shift, int groups, bool relu) {
  if (scale.empty()) return x;
  std::vector<T> z(x.size());
  for (int n = 0; n < N; ++n)
    for (int l = 0; l < L; ++l)
      for (int c = 0; c < C; ++c) {
        const size_t i = (static_cast<size_t>(n) * L + l) * C + c;
        const size_t at = static_cast<size_t>(n / (N / groups)) * C + c;
        z[i] = x[i] * scale[at] + shift[at];
        if (relu) z[i] = std::max(z[i], T(0));
      }
  return z;
}

/// What a queue's precision makes of factors before it multiplies them.
inline std::vector<float> rounded(std::vector<float> values, Precision precision) {
  for (float& value : values) {
    if (precision == Precision::tf32) value = to_tf32(value);
    if (precision == Precision::bf16) value = to_float(to_bf16(value));
  }
  return values;
}

/// pending() in float with one rounding, as the kernels compute it: they round the result once more to the precision of
/// the products, and a value on the other side of the middle between two bf16 would be off by 2⁻⁸ of itself.
inline std::vector<float> fused_pending(const std::vector<float>& x, int N, int L, int C,
                                        const std::vector<float>& scale, const std::vector<float>& shift, int groups,
                                        bool relu) {
  if (scale.empty()) return x;
  std::vector<float> z(x.size());
  const size_t per_group = static_cast<size_t>(N / groups) * L * C;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t at = i / per_group * C + i % C;
    z[i] = std::fma(x[i], scale[at], shift[at]);
    if (relu) z[i] = std::max(z[i], 0.0f);
  }
  return z;
}

/// A raw output [N, L, C] with its BatchNorm, and what turns the gradient behind that into its own
/// (kernels/common/pending.h).
template <class T>
struct Normalized {
  size_t N, L, C, groups;
  bool relu;
  std::vector<T> y;                                  // [N, L, C]
  std::vector<T> mean, scale, shift, offset, slope;  // [groups, C]

  template <class To>
  Normalized<To> as() const {
    const auto of = [](const std::vector<T>& v) { return std::vector<To>(v.begin(), v.end()); };
    return {N, L, C, groups, relu, of(y), of(mean), of(scale), of(shift), of(offset), of(slope)};
  }
  size_t channel(size_t i) const { return i / (N / groups * L * C) * C + i % C; }
  /// Element i of the gradient behind the ReLU.
  T gated(const std::vector<T>& dz, size_t i) const {
    return relu && std::fma(y[i], scale[channel(i)], shift[channel(i)]) <= 0 ? T(0) : dz[i];
  }
  std::vector<T> dy(const std::vector<T>& dz) const {
    std::vector<T> result(dz.size());
    for (size_t i = 0; i < dz.size(); ++i) {
      const size_t c = channel(i);
      result[i] = scale[c] * gated(dz, i) - offset[c] - slope[c] * (y[i] - mean[c]);
    }
    return result;
  }
};

template <class T>
struct GradientSums {
  std::vector<T> g, gd;                  // [N, C]: Σ_l g, Σ_l g · (y − mean)
  double largest_g = 0, largest_gd = 0;  // of their terms
};

template <class T>
GradientSums<T> gradient_sums(const Normalized<T>& output, const std::vector<T>& dz) {
  GradientSums<T> sums{std::vector<T>(output.N * output.C), std::vector<T>(output.N * output.C)};
  for (size_t i = 0; i < dz.size(); ++i) {
    const size_t at = i / (output.L * output.C) * output.C + i % output.C;
    const T g = output.gated(dz, i), gd = g * (output.y[i] - output.mean[output.channel(i)]);
    sums.g[at] += g;
    sums.gd[at] += gd;
    sums.largest_g = std::max(sums.largest_g, std::abs(double{g}));
    sums.largest_gd = std::max(sums.largest_gd, std::abs(double{gd}));
  }
  return sums;
}

/// Calls body(output row of y, input row of z, tap) for every pair of rows that a tap connects.
template <class Body>
void for_each_connection(const kernels::Conv1dShape& s, const Body& body) {
  for (int n = 0; n < s.N; ++n)
    for (int l = 0; l < s.L_out(); ++l)
      for (int k = 0; k < s.K; ++k) {
        const int i = l * s.stride + k * s.dilation - s.padding;
        if (i >= 0 && i < s.L) body(static_cast<size_t>(n) * s.L_out() + l, static_cast<size_t>(n) * s.L + i, k);
      }
}

/// y [N, L_out, C_out]; an empty bias is zero.
template <class T>
std::vector<T> conv1d_forward(const kernels::Conv1dShape& s, const std::vector<T>& z, const std::vector<T>& w,
                              const std::vector<T>& bias) {
  const size_t C_in = s.C_in, C_out = s.C_out;
  std::vector<T> y(static_cast<size_t>(s.output_size()));
  if (!bias.empty())
    for (size_t i = 0; i < y.size(); ++i) y[i] = bias[i % C_out];
  for_each_connection(s, [&](size_t out, size_t in, int k) {
    for (size_t c = 0; c < C_in; ++c)
      for (size_t o = 0; o < C_out; ++o) y[out * C_out + o] += z[in * C_in + c] * w[(k * C_in + c) * C_out + o];
  });
  return y;
}

/// dz [N, L, C_in].
template <class T>
std::vector<T> conv1d_input_gradient(const kernels::Conv1dShape& s, const std::vector<T>& dy, const std::vector<T>& w) {
  const size_t C_in = s.C_in, C_out = s.C_out;
  std::vector<T> dz(static_cast<size_t>(s.input_size()));
  for_each_connection(s, [&](size_t out, size_t in, int k) {
    for (size_t c = 0; c < C_in; ++c)
      for (size_t o = 0; o < C_out; ++o) dz[in * C_in + c] += dy[out * C_out + o] * w[(k * C_in + c) * C_out + o];
  });
  return dz;
}

/// dw [K, C_in, C_out].
template <class T>
std::vector<T> conv1d_weight_gradient(const kernels::Conv1dShape& s, const std::vector<T>& z,
                                      const std::vector<T>& dy) {
  const size_t C_in = s.C_in, C_out = s.C_out;
  std::vector<T> dw(static_cast<size_t>(s.weight_size()));
  for_each_connection(s, [&](size_t out, size_t in, int k) {
    for (size_t c = 0; c < C_in; ++c)
      for (size_t o = 0; o < C_out; ++o) dw[(k * C_in + c) * C_out + o] += z[in * C_in + c] * dy[out * C_out + o];
  });
  return dw;
}

/// Sums of the rows of a matrix with C columns: dbias.
template <class T>
std::vector<T> column_sums(const std::vector<T>& rows, int C) {
  std::vector<T> sums(static_cast<size_t>(C));
  for (size_t i = 0; i < rows.size(); ++i) sums[i % sums.size()] += rows[i];
  return sums;
}

template <class T>
struct RecordMoments {
  std::vector<T> mean, m2;  // [N, C_out]
};

template <class T>
RecordMoments<T> record_moments(const kernels::Conv1dShape& s, const std::vector<T>& y) {
  const size_t C = s.C_out, L = s.L_out(), N = s.N;
  RecordMoments<T> moments{std::vector<T>(N * C), std::vector<T>(N * C)};
  for (size_t i = 0; i < y.size(); ++i) moments.mean[i / (L * C) * C + i % C] += y[i];
  for (T& mean : moments.mean) mean /= static_cast<T>(L);
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t at = i / (L * C) * C + i % C;
    moments.m2[at] += (y[i] - moments.mean[at]) * (y[i] - moments.mean[at]);
  }
  return moments;
}

}  // namespace systole::test::reference
