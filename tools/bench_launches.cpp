#include "tools/bench_launches.h"

#include <algorithm>
#include <fmt/format.h>

#include "benchmarks/ceilings.h"
#include "kernels/common/table.h"
#include "kernels/simt/recording.h"

namespace systole::tools {
namespace {

using benchmarks::CallWork;

CallWork& operator+=(CallWork& sum, const CallWork& w) {
  sum.product_flop += w.product_flop;
  sum.flop += w.flop;
  sum.exponentials += w.exponentials;
  sum.bytes += w.bytes;
  return sum;
}

/// What the watch has seen; there is one, as there is one watch.
struct Seen {
  std::vector<LaunchLine> lines;
  int depth = 0;  // of calls within calls
  size_t launches_before = 0;
} seen;

void begin_call(Queue&, const char*) {
  if (seen.depth++ == 0) seen.launches_before = simt::Recording::active()->launches().size();
}

void end_call(Queue&, const kernels::WatchedCall& call) {
  if (--seen.depth > 0) return;
  LaunchLine line{call.kernel, call.shape, 1,
                  static_cast<int>(simt::Recording::active()->launches().size() - seen.launches_before),
                  benchmarks::work_of(call)};
  line.shape.erase(0, line.shape.find_first_not_of(' '));
  const auto known = std::ranges::find_if(seen.lines, [&](const LaunchLine& l) {
    return l.kernel == line.kernel && l.shape == line.shape && l.launches == l.calls * line.launches &&
           l.work.bytes == l.calls * line.work.bytes;
  });
  if (known == seen.lines.end()) {
    seen.lines.push_back(line);
    return;
  }
  ++known->calls;
  known->launches += line.launches;
  known->work += line.work;
}

constexpr kernels::CallWatch kWatch{begin_call, end_call};

/// Rates that an H200 reaches: dense products of 8,192³ on its tensor cores, multiply-adds of its CUDA cores, its
/// special function units at 16 a clock in each of 132 multiprocessors, and copies within its memory.
constexpr double kBf16 = 780e12, kTf32 = 420e12, kF32 = 50e12, kExponentials = 3.9e12, kBytes = 4.2e12;

benchmarks::Floor floor_of(const CallWork& work, Precision precision) {
  const double products = precision == Precision::bf16 ? kBf16 : precision == Precision::tf32 ? kTf32 : kF32;
  benchmarks::Floor floor{work.bytes / kBytes, "bytes"};
  for (const benchmarks::Floor& other : {benchmarks::Floor{work.product_flop / products, "products"},
                                         {work.flop / kF32, "arithmetic"},
                                         {work.exponentials / kExponentials, "exponentials"}})
    if (other.seconds > floor.seconds) floor = other;
  return floor;
}

}  // namespace

StepLaunches launches_of(const std::function<void()>& step) {
  struct Watching {
    Watching() {
      seen = {};
      kernels::call_watch = &kWatch;
    }
    ~Watching() { kernels::call_watch = nullptr; }
  };
  const Watching watching;
  const simt::Recording recording(step);
  return {std::move(seen.lines), recording.memory_operations()};
}

std::string launches_table(const StepLaunches& launches, Precision precision) {
  std::string table =
      "| kernel | shape | calls | launches | MB | GFLOP | floor µs | bound by |\n|---|---|--:|--:|--:|--:|--:|---|\n";
  LaunchLine total;
  double seconds = 0;
  for (const LaunchLine& line : launches.lines) {
    const benchmarks::Floor floor = floor_of(line.work, precision);
    table += fmt::format("| `{}` | {} | {} | {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", line.kernel, line.shape,
                         line.calls, line.launches, line.work.bytes / 1e6,
                         (line.work.product_flop + line.work.flop) / 1e9, 1e6 * floor.seconds, floor.by);
    total.calls += line.calls;
    total.launches += line.launches;
    total.work += line.work;
    seconds += floor.seconds;
  }
  const benchmarks::Floor whole = floor_of(total.work, precision);
  table += fmt::format("| all | | {} | {} | {:.2f} | {:.2f} | {:.2f} | |\n\n", total.calls, total.launches,
                       total.work.bytes / 1e6, (total.work.product_flop + total.work.flop) / 1e9, 1e6 * seconds);
  table += fmt::format(
      "{} copies and fills of memory beside them. A step that did all of this at once would take {:.2f} µs, bound by "
      "its {}.\n",
      launches.memory_operations, 1e6 * whole.seconds, whole.by);
  return table;
}

}  // namespace systole::tools
