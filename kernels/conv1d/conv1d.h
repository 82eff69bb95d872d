// One-dimensional convolution (cross-correlation, as in PyTorch), channels last:
//   y[n, l, o] = bias[o] + Σ_k Σ_c z[n, l·stride + k·dilation − padding, c] · w[k, c, o],   z = 0 outside of [0, L)
// where z is the input x itself or, when a normalisation is pending, relu?(x · scale + shift).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/pending.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct Conv1dShape {
  int N, L, C_in, C_out, K;
  int stride = 1, padding = 0, dilation = 1;

  int L_out() const { return (L + 2 * padding - dilation * (K - 1) - 1) / stride + 1; }
  int64_t input_size() const { return int64_t{N} * L * C_in; }
  int64_t output_size() const { return int64_t{N} * L_out() * C_out; }
  int64_t weight_size() const { return int64_t{K} * C_in * C_out; }
  /// Floating point operations of one of the three passes.
  double flop() const { return 2.0 * N * L_out() * K * C_in * C_out; }
};

/// "a Conv1d of N = …", for messages.
std::string text(const Conv1dShape& shape);

/// Throws Error with the shape when it has no output or a field is out of range. The kernels assume a checked shape.
void check(const Conv1dShape& shape);

/// Per-record moments of y, written while y is still in cache: BatchNorm's statistics without a pass of their own.
/// mean[n, o] = (1/L_out) Σ_l y[n, l, o];  m2[n, o] = Σ_l (y[n, l, o] − mean[n, o])².
struct RecordMoments {
  float* mean = nullptr;      // [N, C_out]; null: not wanted
  float* m2 = nullptr;        // [N, C_out]
  int* piece_rows = nullptr;  // on the host. Given, with L_out: mean and m2 have room for [N, most_pieces(L_out),
                              // C_out], and are those of pieces of as many outputs as are left here, the last perhaps
                              // of fewer: [N, ⌈L_out / piece_rows⌉, C_out]
};

/// Series of one call are stored alike, f32 or bf16; moments and sums are those of the f32 values, before they are
/// rounded.
struct Conv1dKernels {
  /// x [N, L, C_in], w [K, C_in, C_out], bias [C_out] or null, y [N, L_out, C_out].
  Entry<"conv1d.forward", void(const Conv1dShape&, ConstSeries x, const PendingAffine& pending, const float* w,
                               const float* bias, Series y, const RecordMoments& moments)>
      forward;

  /// dz[n, i, c] = Σ over (l, k) with l·stride + k·dilation − padding = i of Σ_o dy[n, l, o] · w[k, c, o]: the gradient
  /// of the value z that the convolution multiplied (after a pending normalisation). dy [N, L_out, C_out], dz [N, L,
  /// C_in]. With `pending`, dy holds the gradient behind the normalisation of y, and becomes that of y while it is
  /// loaded. `sums` are those of the finished dz, of the output that the input x is.
  Entry<"conv1d.input_gradient", void(const Conv1dShape&, ConstSeries dy, const PendingGradient& pending,
                                      const float* w, Series dz, GradientMode mode, const RecordGradientSums& sums)>
      input_gradient;

  /// dw[k, c, o] = Σ_n Σ_l z[n, l·stride + k·dilation − padding, c] · dy[n, l, o];  dbias[o] = Σ_n Σ_l dy[n, l, o].
  /// dw [K, C_in, C_out]; dbias [C_out] or null. Summed in an order that depends on the shape alone. `pending_dy` as in
  /// input_gradient.
  Entry<"conv1d.weight_gradient", void(const Conv1dShape&, ConstSeries x, const PendingAffine& pending, ConstSeries dy,
                                       const PendingGradient& pending_dy, float* dw, float* dbias, GradientMode mode)>
      weight_gradient;
};

const Conv1dKernels& conv1d_kernels(Device device);

SYSTOLE_KERNEL_TABLES(Conv1dKernels, conv1d)

}  // namespace systole::kernels
