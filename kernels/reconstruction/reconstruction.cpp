#include "kernels/reconstruction/reconstruction.h"

#include <fmt/format.h>

namespace systole::kernels {

std::string text(const BlockMaskShape& s) {
  return fmt::format("N {}, L {}, C {}, blocks of {}, p {}", s.N, s.L, s.C, s.block, s.p);
}

}  // namespace systole::kernels
