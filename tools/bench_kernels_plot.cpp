// The picture of systole bench kernels: a roofline (Williams, Waterman and Patterson 2009). A kernel that does f FLOP
// for every byte it must move is bound by min(peak, f · bandwidth), a roof for each level of memory.

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "benchmarks/origin.h"
#include "tools/bench_kernels.h"
#include "tools/line_chart.h"

namespace systole::tools {
namespace {

/// The points of each family, in the order of the results.
std::vector<ChartLine> families_of(const std::vector<KernelResult>& results) {
  std::vector<ChartLine> families;
  for (const KernelResult& r : results) {
    if (r.by != "systole" || !r.measured() || r.is_odd() || r.flop <= 0) continue;
    const auto same = [&](const ChartLine& line) { return line.name == r.family(); };
    auto family = std::find_if(families.begin(), families.end(), same);
    if (family == families.end())
      family = families.insert(family, {.name = r.family(), .points = {}, .style = families.size(), .joined = false});
    family->points.push_back({r.flop / r.bytes, r.flop / r.seconds / 1e9});
  }
  return families;
}

struct Extent {
  double low = INFINITY, high = 0;
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

/// The ceiling of arithmetic, and one slope for each level of memory up to it.
std::vector<ChartGuide> roofs_of(const benchmarks::Ceilings& c, Precision precision, const Extent& x, double y_low) {
  const double peak = c.flop_per_second(precision) / 1e9;
  std::vector<ChartGuide> roofs;
  double first_ridge = INFINITY;
  for (const benchmarks::MemoryLevel& level : c.levels) {
    const double rate = level.bytes_per_second / 1e9, ridge = peak / rate;
    const double begin = std::max(x.low, y_low / rate);  // its name stands there, inside of the axes
    roofs.push_back({{begin, rate * begin}, {ridge, peak}, fmt::format("{} {:.0f} GB/s", level.name, rate)});
    first_ridge = std::min(first_ridge, ridge);
  }
  roofs.push_back({{first_ridge, peak}, {x.high, peak}, fmt::format("{} {:.0f} GFLOP/s", c.unit(precision), peak)});
  return roofs;
}

}  // namespace

void plot_roofline(const std::filesystem::path& svg, const KernelMeasurement& m) {
  const std::vector<ChartLine> families = families_of(m.results);
  Extent x, y;
  for (const ChartLine& family : families)
    for (const ChartPoint& point : family.points) {
      x.include(point.x);
      y.include(point.y);
    }
  if (families.empty() || m.ceilings.flop_per_second(m.precision) == 0)
    throw Error(fmt::format("{} would be empty: no kernel with arithmetic was measured, or there is no ceiling for {}",
                            svg.string(), name(m.precision)));
  const double peak = m.ceilings.flop_per_second(m.precision) / 1e9;
  for (const benchmarks::MemoryLevel& level : m.ceilings.levels) {
    const double ridge = peak / (level.bytes_per_second / 1e9);
    x.include(ridge / 20);  // so that a slope is long enough for its name
    x.include(2 * ridge);
  }
  y.include(peak / 50);
  y.include(1.5 * peak);
  x.low /= 2;
  x.high *= 1.5;
  y.low /= 2;
  write_svg(
      svg, page_of(LineChart{
               .title = "Kernels under the roofs of this device",
               .subtitle = fmt::format("{}, {}, commit {}", benchmarks::machine(m.device), name(m.precision), m.commit),
               .panels = {{.title = "",
                           .x = {.title = "FLOP per byte", .logarithmic = true, .low = x.low, .high = x.high},
                           .y = {.title = "GFLOP/s", .logarithmic = true, .low = y.low, .high = y.high},
                           .lines = families,
                           .guides = roofs_of(m.ceilings, m.precision, x, y.low)}},
               .panel_width_mm = 170,
               .panel_height_mm = 110,
               .names = LineChart::Names::below}));
}

}  // namespace systole::tools
