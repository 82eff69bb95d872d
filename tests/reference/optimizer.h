// Optimiser steps as PyTorch's documentation writes them, one number after the other.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/optimizer/optimizer.h"

namespace systole::test::reference {

template <class T>
struct OptimizerState {
  std::vector<T> w, first, second;  // SGD and LARS keep their momentum in `first`
};

template <class T>
void adam(const kernels::Adam& s, int64_t step, T lr, T gradient_scale, const std::vector<T>& gradient,
          OptimizerState<T>& state) {
  const T beta1 = s.beta1, beta2 = s.beta2, decay = s.weight_decay;
  for (size_t i = 0; i < gradient.size(); ++i) {
    T g = gradient[i] * gradient_scale;
    if (s.decoupled)
      state.w[i] -= lr * decay * state.w[i];
    else
      g += decay * state.w[i];
    state.first[i] = beta1 * state.first[i] + (1 - beta1) * g;
    state.second[i] = beta2 * state.second[i] + (1 - beta2) * g * g;
    const T first = state.first[i] / (1 - std::pow(beta1, T(step)));
    const T second = state.second[i] / (1 - std::pow(beta2, T(step)));
    state.w[i] -= lr * first / (std::sqrt(second) + T(s.eps));
  }
}

/// One tensor's step with momentum; ratio is 1 for SGD.
template <class T>
void sgd(T lr, T momentum, T decay, T gradient_scale, T ratio, bool first, int64_t begin, int64_t end,
         const std::vector<T>& gradient, OptimizerState<T>& state) {
  for (int64_t i = begin; i < end; ++i) {
    const T g = ratio * (gradient[i] * gradient_scale + decay * state.w[i]);
    state.first[i] = first ? g : momentum * state.first[i] + g;
    state.w[i] -= lr * state.first[i];
  }
}

template <class T>
void lars(const std::vector<kernels::LarsSegment>& segments, const kernels::Lars& s, T lr, T gradient_scale, bool first,
          const std::vector<T>& gradient, OptimizerState<T>& state) {
  for (const kernels::LarsSegment& segment : segments) {
    T w = 0, g = 0;
    for (int64_t i = segment.begin; i < segment.end; ++i) {
      w += state.w[i] * state.w[i];
      g += gradient[i] * gradient_scale * gradient[i] * gradient_scale;
    }
    w = std::sqrt(w);
    g = std::sqrt(g);
    const T decay = segment.exempt ? 0 : s.weight_decay;
    const T ratio = segment.exempt || w == 0 || g == 0 ? 1 : s.trust * w / (g + decay * w);
    sgd<T>(lr, s.momentum, decay, gradient_scale, ratio, first, segment.begin, segment.end, gradient, state);
  }
}

template <class T>
void ema(T decay, const std::vector<T>& source, std::vector<T>& target) {
  for (size_t i = 0; i < target.size(); ++i) target[i] = decay * target[i] + (1 - decay) * source[i];
}

}  // namespace systole::test::reference
