// How long something takes on a queue.
#pragma once

#include <cstdint>
#include <functional>

#include "kernels/common/device.h"

namespace systole::benchmarks {

struct Timing {
  double median, fastest, slowest;  // seconds of one call
  int samples, calls;               // how often the clock was read, and calls in between
};

/// Warms up, then takes `samples` samples of at least `sample_seconds`. `call` gets the number of the call. On cuda the
/// GPU's clock is read, elsewhere the process's.
Timing measure(Queue& queue, const std::function<void(int64_t)>& call, int samples, double sample_seconds);

}  // namespace systole::benchmarks
