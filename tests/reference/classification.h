// Binary cross-entropy as its formula stands, by probabilities. In float it fails for large logits, as plain code does.
#pragma once

#include <cmath>
#include <vector>

namespace systole::test::reference {

template <class T>
struct Bce {
  T loss;
  std::vector<T> dlogits;
};

/// positive, negative: the class weights w⁺ and w⁻ [C].
template <class T>
Bce<T> bce(int N, int C, T gamma, const std::vector<T>& logits, const std::vector<T>& targets,
           const std::vector<T>& positive, const std::vector<T>& negative) {
  Bce<T> result{0, std::vector<T>(logits.size())};
  for (int i = 0; i < N * C; ++i) {
    const T y = targets[i], p = 1 / (1 + std::exp(-logits[i])), q = 1 / (1 + std::exp(logits[i]));
    const T w1 = positive[i % C] * y, w0 = negative[i % C] * (1 - y);
    result.loss += -(w1 * std::pow(q, gamma) * std::log(p) + w0 * std::pow(p, gamma) * std::log(q)) / (N * C);
    // With dp/dx = p q and dq/dx = −p q.
    const T slope1 = -gamma * std::pow(q, gamma) * p * std::log(p) + std::pow(q, gamma + 1);
    const T slope0 = gamma * std::pow(p, gamma) * q * std::log(q) - std::pow(p, gamma + 1);
    result.dlogits[i] = -(w1 * slope1 + w0 * slope0) / (N * C);
  }
  return result;
}

}  // namespace systole::test::reference
