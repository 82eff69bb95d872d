#include "kernels/contrastive/pair_loss.h"

#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

void check(const PairShape& shape) {
  if (shape.A < 1 || shape.B < 1)
    throw Error(
        fmt::format("a loss over pairs of {} rows and {} columns; expected at least 1 of each", shape.A, shape.B));
  if (shape.D < 1) throw Error(fmt::format("a loss over pairs of rows of {} numbers; expected at least 1", shape.D));
  if (shape.first_row < 0 || shape.first_column < 0)
    throw Error(fmt::format("a block of pairs from row {} and column {}; expected no negative number", shape.first_row,
                            shape.first_column));
  if (!(shape.temperature > 0) || std::isinf(shape.temperature))
    throw Error(fmt::format("the temperature of a loss over pairs is {}; expected a finite positive number",
                            shape.temperature));
}

std::string text(const PairShape& shape) {
  return fmt::format("A {}, B {}, D {}, temperature {}", shape.A, shape.B, shape.D, shape.temperature);
}

std::string text(const PairLossShape& shape) {
  return fmt::format("A {}, temperature {}, mean over {}", shape.A, shape.temperature,
                     shape.mean == PairMean::rows ? "rows" : "positives");
}

std::string text(const PairTemperatureShape& shape) {
  return fmt::format("A {}, D {}, temperature {}", shape.A, shape.D, shape.temperature);
}

PairShape transposed(const PairShape& shape) {
  PairShape result = shape;
  result.A = shape.B, result.B = shape.A;
  result.first_row = shape.first_column, result.first_column = shape.first_row;
  return result;
}

Exponent gradient_exponent_of(float temperature) {
  const Exponent exponent = exponent_of(temperature);
  if (temperature >= kPlainTemperature) return exponent;
  return {.scale = exponent.scale, .offset = -exponent.scale, .offset_per_row = true, .shift = 0};
}

}  // namespace systole::kernels
