// Division by a number that is known when a kernel is launched.
#pragma once

#include <algorithm>
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
  /// At most 2^31. Less than 1, as in a shape of nothing, is 1: its launch is refused anyhow.
  explicit Divider(int64_t divisor)
      : divisor_(static_cast<uint32_t>(std::max<int64_t>(divisor, 1))),
        shift_(std::bit_width(divisor_ - 1)),
        multiplier_(static_cast<uint32_t>(((int64_t{1} << (31 + shift_)) + divisor_ - 1) / divisor_)) {}

  SYSTOLE_HOST_DEVICE uint32_t quotient(uint32_t n) const {
    return static_cast<uint32_t>(uint64_t{2 * n} * multiplier_ >> 32) >> shift_;
  }
  SYSTOLE_HOST_DEVICE uint32_t rest(uint32_t n) const { return n - quotient(n) * divisor_; }

 private:
  uint32_t divisor_;
  int shift_;
  uint32_t multiplier_;
};

}  // namespace systole::kernels
