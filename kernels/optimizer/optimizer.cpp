#include "kernels/optimizer/optimizer.h"

#include <cmath>

namespace systole::kernels {

StepFactors step_factors(const Adam& adam, int64_t step, double learning_rate) {
  const double correction1 = 1 - std::pow(adam.beta1, static_cast<double>(step));
  const double correction2 = 1 - std::pow(adam.beta2, static_cast<double>(step));
  return {.rate = static_cast<float>(learning_rate / correction1),
          .correction2_sqrt = static_cast<float>(std::sqrt(correction2)),
          .shrink = static_cast<float>(adam.decoupled ? 1 - learning_rate * adam.weight_decay : 1)};
}

}  // namespace systole::kernels
