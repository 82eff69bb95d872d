// Optimiser steps over flat buffers: one call updates every parameter of a model. The definitions are PyTorch's, so
// that a run can be compared step by step; as there, rates and decays are doubles, from which the factors of a step are
// computed before they are rounded to float. `gradient_scale` multiplies the gradient first (clipping by norm).
#pragma once

#include <cstdint>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019).
struct AdamStep {
  int64_t step;  // 1 for the first
  double learning_rate, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;  // AdamW: w −= lr · weight_decay · w first; otherwise the decay joins the gradient
  float gradient_scale = 1;
};

/// g = gradient + weight_decay · w,  buffer = momentum · buffer + g,  w −= lr · buffer.
struct SgdStep {
  double learning_rate, momentum = 0, weight_decay = 0;
  bool first = false;  // the first step sets the momentum buffer to the gradient
  float gradient_scale = 1;
};

/// LARS (You, Gitman and Ginsburg 2017): SGD with momentum whose rate is multiplied, tensor by tensor, by
/// trust · ‖w‖ / (‖g‖ + weight_decay · ‖w‖); by 1 where a norm is zero or where the tensor is exempt (biases,
/// BatchNorm), and an exempt tensor has no weight decay:
///   buffer = momentum · buffer + ratio · (g + weight_decay · w),  w −= lr · buffer.
struct LarsStep {
  double learning_rate, momentum = 0.9, weight_decay = 0, trust = 0.001;
  bool first = false;
  float gradient_scale = 1;
};
struct LarsSegment {
  int64_t begin, end;  // the tensor's place in the flat buffers
  bool exempt;
};

struct OptimizerKernels {
  /// w, gradient, first_moment, second_moment [count].
  Entry<"optimizer.adam", void(int64_t count, const AdamStep&, const float* gradient, float* w, float* first_moment,
                               float* second_moment)>
      adam;
  /// w, gradient, momentum [count]; momentum may be null where the step's momentum is 0.
  Entry<"optimizer.sgd", void(int64_t count, const SgdStep&, const float* gradient, float* w, float* momentum)> sgd;
  /// segment [segments] lies in the host's memory and may be changed after the call.
  Entry<"optimizer.lars", void(int segments, const LarsSegment* segment, const LarsStep&, const float* gradient,
                               float* w, float* momentum)>
      lars;
  /// *sum = Σ x², accumulated in double in an order that depends on count alone; sum lies in the device's memory.
  Entry<"optimizer.sum_of_squares", void(int64_t count, const float* x, double* sum)> sum_of_squares;
  /// target = decay · target + (1 − decay) · source [count]: the exponential moving average of weights, as BYOL's
  /// target network is one of its online network (Grill et al. 2020).
  Entry<"optimizer.ema", void(int64_t count, double decay, const float* source, float* target)> ema;
};

const OptimizerKernels& optimizer_kernels(Device device);

SYSTOLE_KERNEL_TABLES(OptimizerKernels, optimizer)

}  // namespace systole::kernels
