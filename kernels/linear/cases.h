// The shapes that tests and benchmarks of Linear use.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/linear/linear.h"

namespace systole::kernels {

struct LinearCase {
  const char* name;  // "odd/…" are what breaks kernels
  LinearShape shape;

  bool is_odd() const { return std::string_view(name).starts_with("odd/"); }
  /// Of each of the three passes.
  double flop() const { return shape.flop(); }
  /// What each pass must move at least: the input, the weights and the output once, in f32.
  double bytes() const {
    const double M = shape.M, D_in = shape.D_in, D_out = shape.D_out;
    return 4 * (M * D_in + D_in * D_out + M * D_out);
  }
};

const std::vector<LinearCase>& linear_cases();

}  // namespace systole::kernels
