// How long something takes on a queue.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/common/device.h"

namespace systole::benchmarks {

/// Takes the time of a call, one sample after the other, so that several can take turns. `call` gets the number of the
/// call. On cuda the GPU's clock is read, elsewhere the process's.
class Stopwatch {
 public:
  /// Warms up, and finds how many calls a sample of at least `sample_seconds` has.
  Stopwatch(Queue& queue, std::function<void(int64_t)> call, double sample_seconds);

  /// Seconds of one call.
  double sample() { return seconds_per_call(calls_); }
  int calls() const { return calls_; }

 private:
  double seconds_per_call(int calls);

  Queue& queue_;
  std::function<void(int64_t)> call_;
  int64_t turn_ = 0;
  int calls_;
};

/// Of at least one value; of an even number of them the upper one.
double median(std::vector<double> values);

struct Timing {
  double median, fastest, slowest;  // seconds of one call
  int samples, calls;               // how often the clock was read, and calls in between
};

/// Takes `samples` samples, one right after the other.
Timing measure(Queue& queue, const std::function<void(int64_t)>& call, int samples, double sample_seconds);

}  // namespace systole::benchmarks
