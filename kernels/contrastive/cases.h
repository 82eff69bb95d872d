// The shapes on which the contrastive losses are tested and measured.
#pragma once

#include <vector>

#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/pair_loss.h"

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

struct PairCase {
  const char* name;
  PairShape shape;
  int groups;  // row i of either set is of group i % groups

  double flop_of_tiles() const { return 2.0 * shape.A * shape.B * shape.D; }
  /// All tiles once.
  double forward_flop() const { return flop_of_tiles(); }
  /// The tiles again, and the product of the weights with y.
  double backward_flop() const { return 2 * flop_of_tiles(); }
  /// x and y once; backward writes dx too.
  double forward_bytes() const { return sizeof(float) * (1.0 * shape.A + shape.B) * shape.D; }
  double backward_bytes() const { return sizeof(float) * (2.0 * shape.A + shape.B) * shape.D; }
};

/// For the softmax losses over pairs and for the sigmoid loss.
const std::vector<PairCase>& pair_cases();

struct FeatureCase {
  const char* name;
  int N, D;

  double rows() const { return 1.0 * N * D; }
  double matrix() const { return 1.0 * D * D; }
};

/// For the cosine of rows and for the losses of a matrix [D, D].
const std::vector<FeatureCase>& feature_cases();

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
