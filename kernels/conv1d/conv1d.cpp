// What may be a convolution, and its shape in words: what every device relies on.

#include "kernels/conv1d/conv1d.h"

#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

std::string text(const Conv1dShape& s) {
  return fmt::format(
      "a Conv1d of N = {}, L = {}, C_in = {}, C_out = {}, K = {}, stride = {}, padding = {}, dilation = {}", s.N, s.L,
      s.C_in, s.C_out, s.K, s.stride, s.padding, s.dilation);
}

void check(const Conv1dShape& s) {
  const std::string shape = text(s);
  if (s.N < 1 || s.L < 1 || s.C_in < 1 || s.C_out < 1 || s.K < 1 || s.stride < 1 || s.dilation < 1)
    throw Error(shape + " cannot be: everything but the padding must be at least 1");
  if (s.padding < 0) throw Error(shape + " cannot be: the padding must not be negative");
  const int64_t window = int64_t{s.dilation} * (s.K - 1) + 1;
  const int64_t padded = s.L + int64_t{2} * s.padding;
  if (window > padded)
    throw Error(
        fmt::format("{} has no output: its taps span {} samples and the padded record has {}", shape, window, padded));
}

}  // namespace systole::kernels
