// Results that do not depend on the number of threads, bit for bit.
#pragma once

#include <string>
#include <vector>

#include "kernels/common/parallel.h"
#include "tests/support.h"

namespace systole::test {

/// Runs `result`, which returns a std::vector, with 1, 2, 3 and 4 threads and compares.
template <class Result>
void check_same_bits_for_any_threads(const Result& result, const std::string& what) {
  const int before = threads();
  set_threads(1);
  const auto alone = result();
  for (int count : {2, 3, 4}) {
    set_threads(count);
    CHECK_MESSAGE(result() == alone, fmt::format("{} with {} threads", what, count));
  }
  set_threads(before);
}

}  // namespace systole::test
