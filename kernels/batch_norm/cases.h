// The shapes on which BatchNorm is tested and measured.
#pragma once

#include <vector>

#include "kernels/batch_norm/batch_norm.h"

namespace systole::kernels {

struct BatchNormCase {
  const char* name;
  BatchNormShape shape;

  /// Statistics and apply with ReLU: x twice, y once. Five and three operations per value.
  double forward_flop() const { return 8.0 * static_cast<double>(shape.size()); }
  double forward_bytes() const { return 3.0 * sizeof(float) * static_cast<double>(shape.size()); }
  /// Sums (mask 3, Σg 1, Σg·(x − mean) 3) and dx (mask 3, formula 5): x and dy twice, dx once.
  double backward_flop() const { return 15.0 * static_cast<double>(shape.size()); }
  double backward_bytes() const { return 5.0 * sizeof(float) * static_cast<double>(shape.size()); }
  /// The sums alone: x and dz once, two sums per record and channel.
  double sums_flop() const { return 7.0 * static_cast<double>(shape.size()); }
  double sums_bytes() const { return 2.0 * sizeof(float) * static_cast<double>(shape.size() + record_values()); }
  /// Adds up the sums of the records.
  double finish_flop() const { return 2.0 * static_cast<double>(record_values()); }
  double finish_bytes() const { return 2.0 * sizeof(float) * static_cast<double>(record_values()); }
  double backward_apply_flop() const { return 8.0 * static_cast<double>(shape.size()); }
  double backward_apply_bytes() const { return 3.0 * sizeof(float) * static_cast<double>(shape.size()); }
  int64_t record_values() const { return int64_t{shape.N} * shape.C; }
};

const std::vector<BatchNormCase>& batch_norm_cases();

}  // namespace systole::kernels
