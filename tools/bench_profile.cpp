#include "tools/bench_profile.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "kernels/common/table.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

namespace systole::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct Watched {
  double seconds = 0;
  int calls = 0;
};

/// What the watch has seen; there is one, as there is one watch.
struct Seen {
  int depth = 0;  // of calls within calls
  Clock::time_point begin;
  std::map<std::string, Watched> kernels;
} seen;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void begin_call(Queue& queue, const char* kernel) {
  if (seen.depth++ > 0) return;
#if defined(SYSTOLE_CUDA)
  kernels::cuda::begin_range(kernel);
#else
  static_cast<void>(kernel);
#endif
  queue.synchronize();
  seen.begin = Clock::now();
}

void end_call(Queue& queue, const kernels::WatchedCall& call) {
  if (--seen.depth > 0) return;
  queue.synchronize();
#if defined(SYSTOLE_CUDA)
  kernels::cuda::end_range();
#endif
  Watched& watched = seen.kernels[call.kernel];
  watched.seconds += seconds_since(seen.begin);
  ++watched.calls;
}

constexpr kernels::CallWatch kWatch{begin_call, end_call};

/// Installs the watch for as long as it lives.
struct Watching {
  Watching() {
    seen = {};
    kernels::call_watch = &kWatch;
  }
  ~Watching() { kernels::call_watch = nullptr; }
};

}  // namespace

std::vector<ProfileLine> profile_of(Device device, int steps, const std::function<void()>& step) {
  Queue queue(device);
  const Watching watching;
  const auto begin = Clock::now();
  for (int i = 0; i < steps; ++i) step();
  queue.synchronize();
  const double total = seconds_since(begin);
  std::vector<ProfileLine> lines;
  double rest = total;
  for (const auto& [kernel, watched] : seen.kernels) {
    lines.push_back({kernel, watched.seconds / steps, watched.seconds / total, watched.calls / steps});
    rest -= watched.seconds;
  }
  std::sort(lines.begin(), lines.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  lines.push_back({"between kernels", rest / steps, rest / total, 0});
  return lines;
}

}  // namespace systole::tools
