#include "kernels/classification/classification.h"

#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

void check(const BceShape& shape) {
  if (shape.N < 1 || shape.C < 1)
    throw Error(fmt::format("binary cross-entropy of {} records with {} classes; expected at least one of each",
                            shape.N, shape.C));
  if (!(shape.gamma >= 0) || std::isinf(shape.gamma))
    throw Error(
        fmt::format("the focal exponent gamma is {}; expected a finite number that is not negative", shape.gamma));
}

std::string text(const BceShape& shape) {
  return fmt::format("N {}, C {}, gamma {}", shape.N, shape.C, shape.gamma);
}

}  // namespace systole::kernels
