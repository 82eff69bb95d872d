// The division by a multiplication, against the processor's.

#include "kernels/common/divider.h"

#include <algorithm>

#include "tests/support.h"

using namespace systole;

TEST_CASE("a divider divides all numbers below 2^31") {
  constexpr uint32_t kLargest = 0x7fffffff;
  const RandomStream random(test::seed(), Purpose::test, 0, 31);
  for (uint32_t i = 0; i < 20000; ++i) {
    // Small divisors, those around powers of two, and any.
    const uint32_t power = uint32_t{1} << i % 32;
    const uint32_t divisor = i < 300     ? i + 1
                             : i < 10000 ? std::clamp(power + i / 32 % 3 - 1, uint32_t{1}, uint32_t{1} << 31)
                                         : random.bits(2 * i) >> (1 + i % 30) | 1;
    const kernels::Divider divider(divisor);
    const uint32_t multiple = kLargest / divisor * divisor;
    for (const uint32_t n : {uint32_t{0}, uint32_t{1}, divisor - 1, std::min(divisor, kLargest), multiple,
                             multiple > 0 ? multiple - 1 : 0, kLargest, random.bits(2 * i + 1) & kLargest}) {
      if (n > kLargest) continue;
      if (divider.quotient(n) != n / divisor || divider.rest(n) != n % divisor) FAIL(n << " / " << divisor);
    }
  }
  CHECK(kernels::Divider(0).quotient(7) == 7);  // of a shape of nothing
}
