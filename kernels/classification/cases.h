// The shapes on which the classification losses are tested and measured.
#pragma once

#include <vector>

#include "kernels/classification/classification.h"

namespace systole::kernels {

struct BceCase {
  const char* name;
  BceShape shape;

  double values() const { return static_cast<double>(shape.N) * shape.C; }
  /// About: six exponentials or logarithms of 20 operations each.
  double flop() const { return 120 * values(); }
  /// Logits and targets once; backward writes the gradient too.
  double forward_bytes() const { return 2 * sizeof(float) * values(); }
  double backward_bytes() const { return 3 * sizeof(float) * values(); }
};

const std::vector<BceCase>& bce_cases();

}  // namespace systole::kernels
