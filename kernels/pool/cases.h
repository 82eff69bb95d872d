// The shapes on which pooling is tested and measured.
#pragma once

#include <vector>

#include "kernels/pool/pool.h"

namespace systole::kernels {

struct MeanCase {
  const char* name;
  MeanShape shape;

  double values() const { return static_cast<double>(shape.N) * shape.L * shape.C; }
  double flop() const { return values(); }
  /// Forward reads, backward writes one value per input.
  double bytes() const { return sizeof(float) * values(); }
};

const std::vector<MeanCase>& mean_cases();

struct PoolCase {
  const char* name;
  MaxPoolShape shape;

  double inputs() const { return static_cast<double>(shape.N) * shape.L * shape.C; }
  double outputs() const { return static_cast<double>(shape.N) * shape.L_out() * shape.C; }
  /// Comparisons in forward; backward makes as many.
  double flop() const { return outputs() * shape.window; }
  /// x or dx once; y or dy, and the index, once.
  double bytes() const { return sizeof(float) * inputs() + (sizeof(float) + sizeof(int32_t)) * outputs(); }
};

const std::vector<PoolCase>& max_pool_cases();

}  // namespace systole::kernels
