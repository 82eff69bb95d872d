// A check of a differentiable operation as its user sees it: value and gradients of all inputs against a plain
// reference in double, the gradients by finite differences of that reference.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/support.h"
#include "tests/tensors.h"

namespace systole::test {

using Doubles = std::vector<double>;

struct Input {
  Shape shape;
  std::vector<float> values;
  Input(const Shape& s, uint32_t which, float shift = 0, float scale = 1)
      : shape(s), values(random_normal(static_cast<size_t>(s.count()), which, scale)) {
    for (float& v : values) v += shift;
  }
};

inline Tensor leaf(const Input& input) {
  Tensor t = tensor(input.values, input.shape);
  make_leaf(t, zeros(input.shape));
  return t;
}

/// Σ c·y as the end of a graph, so that the gradient of y is c.
inline Tensor probe(const Tensor& y, const std::vector<float>& c) {
  Tensor sum = zeros({1});
  return record("probe", sum, {&y}, [c](const Tensor&, InputGradients& gradients) {
    const GradientTarget dy = gradients.target(0);
    const Tensor gradient = tensor(c, {static_cast<int64_t>(c.size())});
    Queue queue(device());
    kernels::elementwise_kernels(device()).scale(queue, gradient.count(), 1, gradient.data(), dy.data, dy.mode);
  });
}

inline void check_operation(const std::string& name, const std::vector<Input>& inputs,
                            const std::function<Tensor(const std::vector<Tensor>&)>& operation,
                            const std::function<Doubles(const std::vector<Doubles>&)>& exact) {
  std::vector<Tensor> leaves;
  std::vector<Doubles> values;
  for (const Input& input : inputs) {
    leaves.push_back(leaf(input));
    values.push_back(to_double(input.values));
  }
  const Tensor y = operation(leaves);
  check_close(y.to_vector(), exact(values), 1e-5, name);

  const std::vector<float> c = random_normal(static_cast<size_t>(y.count()), 99);
  backward(probe(y, c));
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto sum = [&](const Doubles& x) {
      std::vector<Doubles> changed = values;
      changed[i] = x;
      const Doubles result = exact(changed);
      double total = 0;
      for (size_t k = 0; k < result.size(); ++k) total += c[k] * result[k];
      return total;
    };
    check_close(gradient_of(leaves[i]).to_vector(), finite_differences(sum, values[i]), 2e-5,
                fmt::format("{}, gradient of input {}", name, i));
  }
}

}  // namespace systole::test
