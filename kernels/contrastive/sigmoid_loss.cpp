#include "kernels/contrastive/sigmoid_loss.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

void check(const SigmoidShape& shape) {
  check(shape.pairs);
  if (!std::isfinite(shape.bias))
    throw Error(fmt::format("the bias of a sigmoid loss is {}; expected a finite number", shape.bias));
  if (shape.count < 1)
    throw Error(fmt::format("a sigmoid loss that is a mean over {} pairs; expected at least 1", shape.count));
}

std::string text(const SigmoidShape& shape) {
  return fmt::format("{}, bias {}, {} pairs", text(shape.pairs), shape.bias, shape.count);
}

int64_t pair_count(const PairShape& shape) {
  const int64_t all = int64_t{shape.A} * shape.B;
  if (!shape.same_rows) return all;
  const int64_t first = std::max(shape.first_row, shape.first_column),
                end = std::min(int64_t{shape.first_row} + shape.A, int64_t{shape.first_column} + shape.B);
  return all - std::max(end - first, int64_t{0});
}

}  // namespace systole::kernels
