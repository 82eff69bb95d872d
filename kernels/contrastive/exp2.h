// 2^x for SIMD vectors. x = n + f with n whole and |f| ≤ 1/2; a polynomial of degree 6 gives 2^f (coefficients: exp2f
// of Moshier's Cephes library), and n is added to its exponent bits.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/common/simd.h"

namespace systole::kernels::cpu {

/// 2^x for −126 ≤ x < 127.5, within 2 ulp; below that range 2^−126. Above it, or for NaN, the result means nothing.
inline Vector exp2(Vector x) {
  using Bits = std::experimental::rebind_simd_t<uint32_t, Vector>;
  const Vector kRound = 0x1.8p23f;  // adding it leaves the nearest whole number in the low bits of the mantissa
  x = std::experimental::max(x, Vector(-126.0f));
  const Vector shifted = x + kRound;
  const Vector f = x - (shifted - kRound);
  Vector p = 1.535336188319500e-4f;
  p = p * f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  return std::bit_cast<Vector>(std::bit_cast<Bits>(p) + (std::bit_cast<Bits>(shifted) << 23));
}

}  // namespace systole::kernels::cpu
