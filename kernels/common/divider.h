// Division by a number that is known when a kernel is launched.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/common/elementary.h"

namespace systole::kernels {

/// n / divisor as a multiplication and a shift, four instructions where a division takes some 25 (Granlund and
/// Montgomery 1994, "Division by invariant integers using multiplication"). With 2^(s−1) < divisor ≤ 2^s,
///   n / divisor = n · ⌈2^(31+s) / divisor⌉ / 2^(31+s)   rounded down, for all n < 2^31.
class Divider {
 public:
  Divider() : Divider(1) {}
  /// 1 ≤ divisor ≤ 2^31.
  explicit Divider(int64_t divisor)
      : shift_(std::bit_width(static_cast<uint32_t>(divisor - 1))),
        multiplier_(static_cast<uint32_t>(((int64_t{1} << (31 + shift_)) + divisor - 1) / divisor)),
        divisor_(static_cast<uint32_t>(divisor)) {}

  SYSTOLE_HOST_DEVICE uint32_t quotient(uint32_t n) const {
    return static_cast<uint32_t>(uint64_t{2 * n} * multiplier_ >> 32) >> shift_;
  }
  SYSTOLE_HOST_DEVICE uint32_t rest(uint32_t n) const { return n - quotient(n) * divisor_; }

 private:
  int shift_;
  uint32_t multiplier_, divisor_;
};

}  // namespace systole::kernels
