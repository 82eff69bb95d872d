// The shapes that tests, gradient checks and benchmarks of Conv1d use.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/conv1d/conv1d.h"

namespace systole::kernels {

struct Conv1dCase {
  const char* name;  // room/what; "encoder/…" are the layers of a training step, "odd/…" what breaks kernels
  Conv1dShape shape;

  bool is_odd() const { return std::string_view(name).starts_with("odd/"); }
  /// Of each of the three passes.
  double flop() const { return shape.flop(); }
  /// What each pass must move at least: the input, the weights and the output once, in f32.
  double bytes() const {
    return 4.0 * static_cast<double>(shape.input_size() + shape.weight_size() + shape.output_size());
  }
};

const std::vector<Conv1dCase>& conv1d_cases();

}  // namespace systole::kernels
