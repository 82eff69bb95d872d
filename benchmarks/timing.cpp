#include "benchmarks/timing.h"

#include <algorithm>
#include <chrono>
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

Timing measure(Queue& queue, const std::function<void(int64_t)>& call, int samples, double sample_seconds) {
  int64_t turn = 0;
  const auto seconds_per_call = [&](int calls) {
    return seconds_of(queue,
                      [&] {
                        for (int i = 0; i < calls; ++i) call(turn++);
                      }) /
           calls;
  };
  seconds_per_call(1);  // loads code, makes handles and working memory
  const double estimate = std::max(seconds_per_call(3), 1e-9);
  const int calls = std::clamp(static_cast<int>(sample_seconds / estimate) + 1, 1, 1000);

  std::vector<double> seconds(static_cast<size_t>(samples));
  for (double& sample : seconds) sample = seconds_per_call(calls);
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), seconds.back(), samples, calls};
}

}  // namespace systole::benchmarks
