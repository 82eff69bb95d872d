// How NT-Xent makes its terms: e_ij = 2^(scale·s_ij + offset), with an offset that is chosen by the temperature
// (README.md, "A constant softmax offset").
#pragma once

#include <cmath>
#include <numbers>

#include "kernels/common/elementary.h"

namespace systole::kernels {

// Above the first border 2^(−2·scale) is a normal float, so that no sum can vanish; above the second it is with the
// shift, and 2^(shift) · M is finite for M < 2^27. Below, every row has an offset of its own.
inline constexpr float kPlainTemperature = 0.023f, kShiftedTemperature = 0.0128f;
inline constexpr double kExponentShift = 100;

struct Exponent {
  float scale;          // c·log2(e)
  float offset;         // −scale or −scale + kExponentShift, as a float has it
  bool offset_per_row;  // each row subtracts its largest exponent
  double shift;         // offset + scale: what all exponents have too much
};

inline Exponent exponent_of(float temperature) {
  const double exact = std::numbers::log2e / temperature;
  const bool per_row = temperature < kShiftedTemperature;
  const double wanted = temperature >= kPlainTemperature || per_row ? 0 : kExponentShift;
  const auto scale = static_cast<float>(exact), offset = static_cast<float>(wanted - exact);
  return {.scale = scale, .offset = offset, .offset_per_row = per_row, .shift = double{offset} + scale};
}

/// What the log_sum of a row becomes for the weights of the gradient: 1/r_i in the scale of e_ij, or its logarithm in
/// units of ln 2.
SYSTOLE_HOST_DEVICE inline float normalizer_of(float log_sum, const Exponent& exponent) {
  const double log2_sum = log_sum * std::numbers::log2e;
  return static_cast<float>(exponent.offset_per_row ? log2_sum : ::exp2(-log2_sum - exponent.shift));
}

}  // namespace systole::kernels
