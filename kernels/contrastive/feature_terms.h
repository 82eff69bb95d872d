// The terms of the losses of feature_loss.h, in double, for all devices: of a pair of rows, and of an element s of S,
// which adds to the loss and has its slope in G. Elements on the diagonal have terms of their own.
#pragma once

#include <cmath>

#include "kernels/common/elementary.h"
#include "kernels/contrastive/feature_loss.h"

namespace systole::kernels {

/// Two rows p and t, all 0 where one of them has no direction:
///   ∂cos/∂p = across (t − along_p p),  ∂cos/∂t = across (p − along_t t)
/// where along_p p is the part of t along p. Of rows of one direction nothing is left, not even rounding.
struct Angle {
  double cosine = 0, across = 0, along_p = 0, along_t = 0;

  SYSTOLE_HOST_DEVICE_INLINE Angle(double pp, double tt, double pt) {
    if (pp == 0 || tt == 0) return;
    const double lengths = sqrt(pp * tt);
    cosine = pt / lengths, across = 1 / lengths;
    along_p = pt / pp, along_t = pt / tt;
  }
};

struct BarlowTwinsTerms {
  double inverse;       // 1/N
  double off_diagonal;  // λ

  explicit BarlowTwinsTerms(const BarlowTwinsShape& s) : inverse(1.0 / s.N), off_diagonal(s.off_diagonal) {}

  SYSTOLE_HOST_DEVICE_INLINE double loss(double s) const { return off_diagonal * (s * inverse) * (s * inverse); }
  SYSTOLE_HOST_DEVICE_INLINE double slope(double s) const { return 2 * off_diagonal * inverse * (s * inverse); }
  SYSTOLE_HOST_DEVICE_INLINE double diagonal_loss(double s) const { return (1 - s * inverse) * (1 - s * inverse); }
  SYSTOLE_HOST_DEVICE_INLINE double diagonal_slope(double s) const { return -2 * inverse * (1 - s * inverse); }
};

struct VicregTerms {
  double inverse;     // 1/(N−1)
  double variance;    // w_v/2D
  double covariance;  // w_c/D

  explicit VicregTerms(const VicregShape& s)
      : inverse(1.0 / (s.N - 1)), variance(s.variance / (2.0 * s.D)), covariance(double{s.covariance} / s.D) {}

  SYSTOLE_HOST_DEVICE_INLINE double loss(double s) const { return covariance * (s * inverse) * (s * inverse); }
  SYSTOLE_HOST_DEVICE_INLINE double slope(double s) const { return 4 * covariance * inverse * (s * inverse); }
  SYSTOLE_HOST_DEVICE_INLINE double deviation(double s) const { return sqrt(s * inverse + 1e-4); }
  SYSTOLE_HOST_DEVICE_INLINE double diagonal_loss(double s) const {
    return deviation(s) < 1 ? variance * (1 - deviation(s)) : 0;
  }
  SYSTOLE_HOST_DEVICE_INLINE double diagonal_slope(double s) const {
    return deviation(s) < 1 ? -variance * inverse / deviation(s) : 0;
  }
};

/// The factor of (a − b)² in the loss.
inline double invariance_factor(const VicregShape& s) {
  return s.invariance / (static_cast<double>(s.N) * s.D);
}

}  // namespace systole::kernels
