// softplus(a) = log(1 + e^a) and σ(a) = 1/(1 + e^−a) for SIMD vectors.
#pragma once

#include "kernels/common/simd.h"
#include "kernels/contrastive/exp2.h"

namespace systole::kernels::cpu {

inline constexpr float kLog2E = 1.44269504f;

/// log(1 + e) for 0 ≤ e ≤ 1, within 2^-23 of the value: e + e² p(e), where p of degree 8 interpolates
/// (log(1 + e) − e) / e² in the Chebyshev points of [0, 1]. Not with multiply_add: of a chain of them GCC makes
/// scalars.
inline Vector log1p_of_unit(const Vector& e) {
  Vector p = -4.466211601e-3f;
  p = p * e + 2.522405435e-2f;
  p = p * e - 6.675772506e-2f;
  p = p * e + 1.156184545e-1f;
  p = p * e - 1.584756572e-1f;
  p = p * e + 1.985410623e-1f;
  p = p * e - 2.498652617e-1f;
  p = p * e + 3.333284189e-1f;
  p = p * e - 4.999999698e-1f;
  return e * e * p + e;
}

/// max(a, 0) + log(1 + e^−|a|): finite for every a, and a NaN for NaN.
inline Vector softplus(const Vector& a) {
  const Vector magnitude = std::experimental::abs(a);
  return Vector(0.5f) * (a + magnitude) + log1p_of_unit(exp2(magnitude * Vector(-kLog2E)));
}

/// No less than 2^-126.
inline Vector sigmoid(const Vector& a) {
  const Vector exponent = std::experimental::min(a * Vector(-kLog2E), Vector(126.0f));  // the range of exp2
  return Vector(1.0f) / (Vector(1.0f) + exp2(exponent));
}

}  // namespace systole::kernels::cpu
