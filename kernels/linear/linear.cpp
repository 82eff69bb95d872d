#include "kernels/linear/linear.h"

#include <fmt/format.h>

namespace systole::kernels {

std::string text(const LinearShape& shape) {
  return fmt::format("M {}, D_in {}, D_out {}", shape.M, shape.D_in, shape.D_out);
}

}  // namespace systole::kernels
