// Fully connected layer: y[m, o] = bias[o] + Σ_i x[m, i] · w[i, o].
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct LinearShape {
  int M, D_in, D_out;
  double flop() const { return 2.0 * M * D_in * D_out; }
};
std::string text(const LinearShape& shape);  // "M 512, D_in 256, D_out 2048"

struct LinearKernels {
  /// x [M, D_in], w [D_in, D_out] (PyTorch's weight is the transpose), bias [D_out] or null, y [M, D_out].
  Entry<"linear.forward", void(const LinearShape&, const float* x, const float* w, const float* bias, float* y)>
      forward;
  /// dx[m, i] = Σ_o dy[m, o] · w[i, o].
  Entry<"linear.input_gradient",
        void(const LinearShape&, const float* dy, const float* w, float* dx, GradientMode mode)>
      input_gradient;
  /// dw[i, o] = Σ_m x[m, i] · dy[m, o];  dbias[o] = Σ_m dy[m, o] (dbias may be null). Fixed order of the sums.
  Entry<"linear.weight_gradient",
        void(const LinearShape&, const float* x, const float* dy, float* dw, float* dbias, GradientMode mode)>
      weight_gradient;
};

const LinearKernels& linear_kernels(Device device);

SYSTOLE_KERNEL_TABLES(LinearKernels, linear)

}  // namespace systole::kernels
