// The shapes on which masked reconstruction is tested and measured.
#pragma once

#include <vector>

#include "kernels/reconstruction/reconstruction.h"

namespace systole::kernels {

struct BlockMaskCase {
  const char* name;
  BlockMaskShape shape;

  double values() const { return static_cast<double>(shape.N) * shape.L * shape.C; }
  /// Read once, written once: also what either pass of the squared error moves, less what it does not write.
  double bytes() const { return 2 * sizeof(float) * values(); }
};

const std::vector<BlockMaskCase>& block_mask_cases();

}  // namespace systole::kernels
