// Convolutions and BatchNorms as parts of a model, with PyTorch's names and initial values.
#pragma once

#include <string>

#include "engine/operations.h"
#include "engine/parameters.h"
#include "models/encoder.h"

namespace systole::models {

struct BatchNormLayer {
  Parameter &gamma, &beta;
  Buffer &running_mean, &running_var;
  Counter& batches_tracked;

  /// Declares `prefix`{weight,bias,running_mean,running_var,num_batches_tracked}.
  static BatchNormLayer declare(ParameterStore& store, const std::string& prefix, int channels);
  BatchNorm parts() const {
    return {gamma.value, beta.value, running_mean.value, running_var.value, &batches_tracked.value};
  }
};

/// Padding is K/2.
struct ConvShape {
  int in, out, kernel;
  int stride = 1;
  bool bias = false;

  int length(int L) const { return (L + 2 * (kernel / 2) - kernel) / stride + 1; }
};

/// A convolution and its BatchNorm.
struct ConvNormLayer {
  Parameter& weight;
  Parameter* bias;  // null: it has none
  BatchNormLayer norm;
  Conv1dOptions convolution;

  /// Declares `conv`weight, if the shape has one `conv`bias, and the BatchNorm `batch_norm`….
  static ConvNormLayer declare(ParameterStore& store, const std::string& conv, const std::string& batch_norm,
                               const ConvShape& shape);
  Activation forward(const Activation& x, bool relu, Mode mode) const {
    return conv_bn(x, weight.value, bias ? bias->value : Tensor(), norm.parts(), convolution, relu, mode);
  }
};

/// The row of a table for such a layer whose input has L positions.
EncoderLayer layer_of(const std::string& name, const ConvShape& shape, int L, int series = 1);

}  // namespace systole::models
