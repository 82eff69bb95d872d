// A Linear layer as part of a model: weight, bias and PyTorch's initial values.
#pragma once

#include <string>

#include "engine/operations.h"
#include "engine/parameters.h"

namespace systole::models {

struct LinearLayer {
  Parameter& weight;
  Parameter& bias;

  /// Declares `prefix`weight and `prefix`bias.
  static LinearLayer declare(ParameterStore& store, const std::string& prefix, int in, int out) {
    return {store.add(prefix + "weight", {in, out}, Layout::linear, Initializer::fan_in(in)),
            store.add(prefix + "bias", {out}, Layout::plain, Initializer::fan_in(in))};
  }
  Tensor forward(const Tensor& x) const { return linear(x, weight.value, bias.value); }
};

}  // namespace systole::models
