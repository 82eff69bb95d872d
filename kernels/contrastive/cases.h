// The shapes on which the contrastive losses are tested and measured.
#pragma once

#include <vector>

#include "kernels/contrastive/contrastive.h"

namespace systole::kernels {

struct NtXentCase {
  const char* name;
  NtXentShape shape;

  /// One product of all pairs of rows: 2 M² D.
  double unit() const { return 2.0 * shape.M * shape.M * shape.D; }
  /// Half of the tiles.
  double forward_flop() const { return unit() / 2; }
  /// The tiles again, and the product of the weights with Z.
  double backward_flop() const { return 2 * unit(); }
  /// z once; backward writes dz too.
  double forward_bytes() const { return sizeof(float) * static_cast<double>(shape.M) * (shape.D + 1); }
  double backward_bytes() const { return sizeof(float) * static_cast<double>(shape.M) * (2 * shape.D + 1); }
};

const std::vector<NtXentCase>& nt_xent_cases();

struct NormalizeCase {
  const char* name;
  NormalizeShape shape;

  double values() const { return static_cast<double>(shape.M) * shape.D; }
  /// A square, a sum and a product per value; backward twice that.
  double flop() const { return 3 * values(); }
  /// x once, z once; backward reads z and dz and writes dx.
  double bytes() const { return 2 * sizeof(float) * values(); }
};

const std::vector<NormalizeCase>& normalize_cases();

}  // namespace systole::kernels
