// Optimiser steps over flat buffers: one call updates every parameter of a model. The definitions are PyTorch's, so
// that a run can be compared step by step; as there, rates and decays are doubles, from which the factors of a step are
// computed before they are rounded to float.
//
// What changes from step to step is computed on the host (step_factors) and read from the device's memory: a captured
// step can be replayed with other factors. So is `gradient_scale`, by which the gradient is multiplied first. Where it
// is not finite, an update changes nothing: a step whose gradient overflowed does not destroy the weights.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/common/device.h"
#include "kernels/common/elementary.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// The factors of one step, in the device's memory.
struct StepFactors {
  float rate;                  // Adam: learning rate / (1 − β1^step); otherwise the learning rate
  float correction2_sqrt = 1;  // Adam: √(1 − β2^step)
  float shrink = 1;            // AdamW: 1 − learning rate · weight decay
  int32_t first = 0;           // SGD, LARS: 1 in the first step, which sets the momentum buffer to the gradient
};

/// Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019).
struct Adam {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  bool decoupled = false;  // AdamW: w −= lr · weight_decay · w first; otherwise the decay joins the gradient
};
/// step: 1 for the first.
StepFactors step_factors(const Adam& adam, int64_t step, double learning_rate);

/// g = gradient + weight_decay · w,  buffer = momentum · buffer + g,  w −= lr · buffer.
struct Sgd {
  double momentum = 0, weight_decay = 0;
};

/// LARS (You, Gitman and Ginsburg 2017): SGD with momentum whose rate is multiplied, tensor by tensor, by
/// trust · ‖w‖ / (‖g‖ + weight_decay · ‖w‖); by 1 where a norm is zero or where the tensor is exempt (biases,
/// BatchNorm), and an exempt tensor has no weight decay:
///   buffer = momentum · buffer + ratio · (g + weight_decay · w),  w −= lr · buffer.
struct Lars {
  double momentum = 0.9, weight_decay = 0, trust = 0.001;
};
/// Of SGD and LARS.
inline StepFactors step_factors(int64_t step, double learning_rate) {
  return {.rate = static_cast<float>(learning_rate), .first = step == 1};
}
struct LarsSegment {
  int64_t begin, end;  // the tensor's place in the flat buffers
  bool exempt;
};

/// The weights of the two sides of an exponential moving average with decay d, in the device's memory: d and 1 − d.
struct EmaWeights {
  float keep, rest;
};
inline EmaWeights ema_weights(double decay) {
  return {static_cast<float>(decay), static_cast<float>(1 - decay)};
}

/// What limit_norm writes.
SYSTOLE_HOST_DEVICE inline float limited_scale(double max_norm, double sum_of_squares) {
  const double norm = sqrt(sum_of_squares), one = 1 + (norm - norm);  // NaN for a norm that is not finite
  return static_cast<float>(max_norm > 0 && norm > max_norm ? one * (max_norm / norm) : one);
}

/// Whether an update is made: not with infinities or NaN.
SYSTOLE_HOST_DEVICE inline bool is_applied(float gradient_scale) {
  return gradient_scale - gradient_scale == 0;
}

struct OptimizerKernels {
  /// w, gradient, first_moment, second_moment [count]; factors and gradient_scale, one of each, as above.
  Entry<"optimizer.adam", void(int64_t count, const Adam&, const StepFactors* factors, const float* gradient_scale,
                               const float* gradient, float* w, float* first_moment, float* second_moment)>
      adam;
  /// w, gradient, momentum [count]; momentum may be null where the momentum is 0.
  Entry<"optimizer.sgd", void(int64_t count, const Sgd&, const StepFactors* factors, const float* gradient_scale,
                              const float* gradient, float* w, float* momentum)>
      sgd;
  /// segment [segments] lies in the host's memory and may be changed after the call.
  Entry<"optimizer.lars", void(int segments, const LarsSegment* segment, const Lars&, const StepFactors* factors,
                               const float* gradient_scale, const float* gradient, float* w, float* momentum)>
      lars;
  /// *sum = Σ x², accumulated in double in an order that depends on count alone; sum lies in the device's memory.
  Entry<"optimizer.sum_of_squares", void(int64_t count, const float* x, double* sum)> sum_of_squares;
  /// *gradient_scale for a gradient whose squares add up to *sum: max_norm / norm where the norm is larger than
  /// max_norm, else 1; not a number where the norm is not finite. max_norm 0: no limit. Both lie in the device's
  /// memory.
  Entry<"optimizer.limit_norm", void(double max_norm, const double* sum, float* gradient_scale)> limit_norm;
  /// target = keep · target + rest · source [count]: the exponential moving average of weights, as BYOL's target
  /// network is one of its online network (Grill et al. 2020).
  Entry<"optimizer.ema", void(int64_t count, const EmaWeights* weights, const float* source, float* target)> ema;
};

const OptimizerKernels& optimizer_kernels(Device device);

SYSTOLE_KERNEL_TABLES(OptimizerKernels, optimizer)

}  // namespace systole::kernels
