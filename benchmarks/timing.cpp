#include "benchmarks/timing.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

namespace systole::benchmarks {
namespace {

double seconds_of(Queue& queue, const std::function<void()>& work) {
#if defined(SYSTOLE_CUDA)
  if (queue.device() == Device::cuda) {
    kernels::cuda::Timer timer;
    timer.start(queue);
    work();
    return timer.stop(queue) * 1e-3;
  }
#endif
  const auto start = std::chrono::steady_clock::now();
  work();
  queue.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Stopwatch::Stopwatch(Queue& queue, std::function<void(int64_t)> call, double sample_seconds)
    : queue_(queue), call_(std::move(call)) {
  seconds_per_call(1);  // loads code, makes handles and working memory
  double estimate = seconds_per_call(1);
  if (estimate < sample_seconds) estimate = seconds_per_call(3);
  calls_ = std::clamp(static_cast<int>(sample_seconds / std::max(estimate, 1e-9)) + 1, 1, 1000);
}

double Stopwatch::seconds_per_call(int calls) {
  return seconds_of(queue_,
                    [&] {
                      for (int i = 0; i < calls; ++i) call_(turn_++);
                    }) /
         calls;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Timing measure(Queue& queue, const std::function<void(int64_t)>& call, int samples, double sample_seconds) {
  Stopwatch watch(queue, call, sample_seconds);
  std::vector<double> seconds(static_cast<size_t>(samples));
  for (double& sample : seconds) sample = watch.sample();
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {median(seconds), *fastest, *slowest, samples, watch.calls()};
}

}  // namespace systole::benchmarks
