// bf16: the upper half of a float. Eight bits of exponent, seven of mantissa.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/common/philox.h"  // SYSTOLE_HOST_DEVICE

namespace systole {

struct bf16 {
  uint16_t bits;
};

SYSTOLE_HOST_DEVICE inline uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
SYSTOLE_HOST_DEVICE inline float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/// To the nearest, ties to even; NaN stays NaN.
SYSTOLE_HOST_DEVICE inline bf16 to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>(bits >> 16 | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}
SYSTOLE_HOST_DEVICE inline float to_float(bf16 x) {
  return float_of(uint32_t{x.bits} << 16);
}

/// The nearest float with 10 bits of mantissa, ties away from zero, as cvt.rna.tf32 rounds; infinities and NaN stay.
SYSTOLE_HOST_DEVICE inline float to_tf32(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return x;
  return float_of((bits + 0x1000u) & 0xffffe000u);
}

}  // namespace systole
