#include "kernels/contrastive/contrastive.h"

#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

void check(const NtXentShape& shape) {
  if (shape.M < 4 || shape.M % 2 != 0)
    throw Error(fmt::format(
        "NT-Xent over {} rows; expected an even number of at least 4: two views of at least two records", shape.M));
  if (shape.D < 1) throw Error(fmt::format("NT-Xent over embeddings of {} numbers; expected at least 1", shape.D));
  if (!(shape.temperature > 0) || std::isinf(shape.temperature))
    throw Error(fmt::format("the temperature of NT-Xent is {}; expected a finite positive number", shape.temperature));
}

std::string text(const NtXentShape& shape) {
  return fmt::format("M {}, D {}, temperature {}", shape.M, shape.D, shape.temperature);
}

std::string text(const NormalizeShape& shape) {
  return fmt::format("M {}, D {}", shape.M, shape.D);
}

}  // namespace systole::kernels
