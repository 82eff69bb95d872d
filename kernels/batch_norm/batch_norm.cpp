#include "kernels/batch_norm/batch_norm.h"

#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::kernels {

std::string text(const BatchNormShape& s) {
  return fmt::format("groups={} N={} L={} C={}", s.groups, s.N, s.L, s.C);
}

void check_has_variance(const BatchNormShape& s) {
  if (s.rows_per_group() >= 2) return;
  throw Error(
      fmt::format("batch normalisation needs at least two values per channel and group for a variance, and "
                  "{} records of length {} in {} groups have {}",
                  s.N, s.L, s.groups, s.rows_per_group()));
}

}  // namespace systole::kernels
