// Results that do not depend on how work is scheduled, bit for bit: on the cpu on the number of threads, on simt on the
// order of a block's threads and on how many workers run blocks, on cuda from run to run.
#pragma once

#include <string>
#include <vector>

#include "kernels/simt/options.h"
#include "tests/device.h"
#include "tests/kernels/same_bits.h"

namespace systole::test {

/// Runs `result`, which returns something comparable, in different ways and compares.
template <class Result>
void check_same_bits_for_any_schedule(const Result& result, const std::string& what) {
  if (device() == Device::cpu) return check_same_bits_for_any_threads(result, what);
  const simt::Options before = simt::options();
  const auto first = result();
  for (simt::Order order : {simt::Order::reverse, simt::Order::shuffled, simt::Order::forward})
    for (int workers : {2, 3}) {
      simt::options() = {.order = order, .seed = seed(), .workers = workers};
      CHECK_MESSAGE(result() == first, fmt::format("{}, order {}, {} workers", what, static_cast<int>(order), workers));
    }
  simt::options() = before;
}

}  // namespace systole::test
