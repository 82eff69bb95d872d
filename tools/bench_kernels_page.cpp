// What systole bench kernels --markdown writes.

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "benchmarks/origin.h"
#include "tools/bench_kernels.h"

namespace systole::tools {
namespace {

using benchmarks::Ceilings;
using benchmarks::MemoryLevel;

std::string ceilings_text(const Ceilings& c) {
  const auto gflop = [](double rate) { return rate > 0 ? fmt::format("{:.0f} GFLOP/s", rate / 1e9) : "none"; };
  std::string text = "| ceiling | |\n|---|---|\n";
  text += fmt::format("| multiply-adds in f32 (FMA) | {} |\n", gflop(c.fma_flop_per_second));
  text += fmt::format("| {} | {} |\n", c.unit(Precision::bf16), gflop(c.bf16_flop_per_second));
  for (const MemoryLevel& level : c.levels)
    text += fmt::format("| reading {}{} | {:.1f} GB/s |\n", level.name,
                        std::isinf(level.bytes) ? "" : fmt::format(" ({:.3g} MB)", level.bytes / 1e6),
                        level.bytes_per_second / 1e9);
  return text + fmt::format("| copying in memory, read and write | {:.1f} GB/s |\n", c.copy_bytes_per_second / 1e9);
}

/// "1.52 × oneDNN": how many times as long each peer takes.
std::string peers_of(const std::vector<const KernelResult*>& results, const KernelResult& ours) {
  std::string text;
  for (const KernelResult* r : results)
    if (r->by != "systole" && r->kernel == ours.kernel && r->shape == ours.shape && r->measured())
      text += fmt::format("{}{:.2f} {}", text.empty() ? "" : ", ", r->times_ours, r->by);
  return text;
}

std::string table_of(const KernelMeasurement& m, const std::vector<const KernelResult*>& results) {
  std::string text =
      "| kernel | shape | µs | spread | GFLOP/s | GB/s | of the floor | peer's time / ours | error |\n"
      "|---|---|---|---|---|---|---|---|---|\n";
  for (const KernelResult* r : results) {
    if (r->by != "systole" || !r->measured()) continue;
    text += fmt::format("| {} | {} | {:.1f} | {:.0f} % | {:.1f} | {:.1f} | {} | {} | {:.0e} |\n", r->kernel, r->shape,
                        r->seconds * 1e6, 100 * r->spread(), r->flop / r->seconds / 1e9, r->bytes / r->seconds / 1e9,
                        m.share_of_floor(*r), peers_of(results, *r), r->error);
  }
  return text;
}

}  // namespace

std::string kernel_page(const KernelMeasurement& m) {
  std::vector<std::string> families;
  for (const KernelResult& r : m.results)
    if (!r.is_odd() && std::find(families.begin(), families.end(), r.family()) == families.end())
      families.push_back(r.family());
  std::string text = fmt::format(
      "# Speed of the kernels\n\nWritten by `{}`; [benchmarks](../benchmarks/README.md) says how to read it. {}, {}, "
      "commit {}, {}.\n\n{}",
      m.command, benchmarks::machine(m.device), name(m.precision), m.commit, m.date, ceilings_text(m.ceilings));
  for (const std::string& family : families) {
    std::vector<const KernelResult*> results;
    for (const KernelResult& r : m.results)
      if (r.family() == family && !r.is_odd()) results.push_back(&r);
    text += fmt::format("\n## {}\n\n{}", family, table_of(m, results));
  }
  return text;
}

}  // namespace systole::tools
