#include "kernels/pool/pool.h"

#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

std::string text(const MeanShape& s) {
  return fmt::format("N={} L={} C={}", s.N, s.L, s.C);
}

std::string text(const MaxPoolShape& s) {
  return fmt::format("N={} L={} C={} window={} stride={} padding={}", s.N, s.L, s.C, s.window, s.stride, s.padding);
}

void check(const MaxPoolShape& s) {
  const bool positive = s.N >= 1 && s.L >= 1 && s.C >= 1 && s.window >= 1 && s.stride >= 1 && s.padding >= 0;
  if (positive && s.padding <= s.window / 2 && s.window - 2 * s.padding <= s.L) return;
  throw Error(fmt::format(
      "a max-pool of window {}, stride {} and padding {} cannot be applied to {} records of {} positions and {} "
      "channels; "
      "expected positive sizes, a padding of at most half of the window, and a window within the padded length",
      s.window, s.stride, s.padding, s.N, s.L, s.C));
}

}  // namespace systole::kernels
