// Gamma and Beta variates from a Philox stream by exact methods (rejection, no approximation of a distribution
// function). Every comparison that accepts or rejects is computed from `elementary`, so all devices take the same ones.
#pragma once

#include "kernels/common/philox.h"

namespace systole {

/// The logarithm of a Gamma(shape, 1) variate, shape > 0; uses blocks first_block, first_block + 1, … of the stream,
/// less than 1.4 on average. Marsaglia and Tsang: "A simple method for generating gamma variables", ACM TOMS 26 (2000).
/// For shape < 1: Gamma(shape) = Gamma(shape + 1) · U^(1/shape), in logarithms, since the power underflows.
SYSTOLE_HOST_DEVICE_CALL inline double log_gamma_variate(RandomStream stream, uint32_t first_block, double shape) {
  const bool boosted = shape < 1;
  const double d = (boosted ? shape + 1 : shape) - 1.0 / 3, c = 1 / ::sqrt(9 * d);
  double log_variate = 0;
  for (uint32_t attempt = 0; attempt < 1000; ++attempt) {  // one in four fails
    const Philox4 words = stream.block(first_block + attempt);
    double u[4];  // in (0, 1)
    for (int i = 0; i < 4; ++i) u[i] = (words.word[i] + 0.5) * 0x1p-32;
    // A normal variate by Marsaglia's polar method.
    const double a = ::fma(2.0, u[0], -1.0), b = ::fma(2.0, u[1], -1.0), square = ::fma(a, a, b * b);
    if (square >= 1 || square == 0) continue;
    const double z = a * ::sqrt(-2 * elementary::log(square) / square);
    const double root = ::fma(c, z, 1.0);
    if (root <= 0) continue;
    const double v = root * root * root, log_v = elementary::log(v);
    if (elementary::log(u[2]) >= ::fma(d, (1 - v) + log_v, 0.5 * z * z)) continue;
    log_variate = elementary::log(d) + log_v;
    if (boosted) log_variate += elementary::log(u[3]) / shape;
    break;
  }
  return log_variate;
}

/// A Beta(shape, shape) variate: G₁ / (G₁ + G₂) of two Gamma(shape) variates.
SYSTOLE_HOST_DEVICE inline float beta_variate(const RandomStream& stream, double shape) {
  const double difference = log_gamma_variate(stream, 1024, shape) - log_gamma_variate(stream, 0, shape);
  if (difference > 700) return 0;
  if (difference < -700) return 1;
  return static_cast<float>(1 / (1 + elementary::exp(difference)));
}

}  // namespace systole
