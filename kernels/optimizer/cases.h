// The sizes on which the optimisers are tested and measured.
#pragma once

#include <cstdint>
#include <vector>

namespace systole::kernels {

struct OptimizerCase {
  const char* name;
  int64_t count;

  /// Multiplications, additions, divisions and roots of one number's step.
  double adam_flop() const { return 14.0 * static_cast<double>(count); }
  double sgd_flop() const { return 7.0 * static_cast<double>(count); }
  /// SGD's, and two norms.
  double lars_flop() const { return 11.0 * static_cast<double>(count); }
  double lars_bytes() const { return 7.0 * sizeof(float) * static_cast<double>(count); }
  double squares_flop() const { return 2.0 * static_cast<double>(count); }
  double squares_bytes() const { return 1.0 * sizeof(float) * static_cast<double>(count); }
  double ema_flop() const { return 3.0 * static_cast<double>(count); }
  /// Adam reads w, g, m, v and writes w, m, v; SGD reads w, g, b and writes w, b; the moving average reads source and
  /// target and writes target.
  double adam_bytes() const { return 7.0 * sizeof(float) * static_cast<double>(count); }
  double sgd_bytes() const { return 5.0 * sizeof(float) * static_cast<double>(count); }
  double ema_bytes() const { return 3.0 * sizeof(float) * static_cast<double>(count); }
};

const std::vector<OptimizerCase>& optimizer_cases();

}  // namespace systole::kernels
