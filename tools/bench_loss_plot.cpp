// The picture of systole bench loss: time and peak memory of a step against the number of rows, both scales
// logarithmic, so that a power of M is a straight line. Each line is labelled with the power between its last two
// points.

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "tools/bench_loss.h"
#include "tools/chart_axis.h"
#include "tools/line_chart.h"

namespace systole::tools {
namespace {

/// In the order of their colours.
constexpr std::array<const char*, 3> kImplementations{"systole", "materialised", "pytorch"};

/// d log y / d log x at the end of a line of two points or more.
double power_of(const std::vector<ChartPoint>& points) {
  const ChartPoint &a = points[points.size() - 2], &b = points.back();
  return std::log(b.y / a.y) / std::log(b.x / a.x);
}

/// The lines of one loss and D: value(result) against M.
template <class Value>
std::vector<ChartLine> lines_of(const std::vector<const LossResult*>& results, const Value& value) {
  std::vector<ChartLine> lines;
  for (size_t style = 0; style < kImplementations.size(); ++style) {
    ChartLine line{.name = kImplementations[style], .points = {}, .style = style};
    for (const LossResult* r : results)
      if (r->by == line.name && r->measured() && value(*r) > 0)
        line.points.push_back({static_cast<double>(r->M), value(*r)});
    std::sort(line.points.begin(), line.points.end(),
              [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    if (line.points.empty()) continue;
    if (line.points.size() >= 2) {
      line.name += " ~ M";
      line.raised = fmt::format("{:.1f}", power_of(line.points));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

/// Where M and M² would lead from the first point of the first line.
std::vector<ChartGuide> guides_of(const std::vector<ChartLine>& lines) {
  if (lines.empty()) return {};
  const ChartPoint first = lines.front().points.front();
  const double far = 1e6;  // cut off at the end of the axis
  return {{first, {far * first.x, far * first.y}}, {first, {far * first.x, far * far * first.y}}};
}

std::vector<ChartTick> rows_of(const std::vector<const LossResult*>& results) {
  std::vector<ChartTick> ticks;
  for (const LossResult* r : results) ticks.push_back({static_cast<double>(r->M), whole_number(r->M)});
  std::sort(ticks.begin(), ticks.end(), [](const ChartTick& a, const ChartTick& b) { return a.value < b.value; });
  return ticks;
}

template <class Value>
ChartPanel panel_of(const std::string& title, const std::string& axis, const std::vector<const LossResult*>& results,
                    const Value& value) {
  const std::vector<ChartLine> lines = lines_of(results, value);
  return {.title = title,
          .x = {.title = "rows of a batch, M", .logarithmic = true, .ticks = rows_of(results)},
          .y = {.title = axis, .logarithmic = true},
          .lines = lines,
          .guides = guides_of(lines)};
}

/// Time and memory of each loss and D, in the order of the results.
std::vector<ChartPanel> panels_of(const std::vector<LossResult>& results) {
  std::vector<std::pair<std::string, std::vector<const LossResult*>>> groups;
  for (const LossResult& r : results) {
    const std::string title = fmt::format("{}, D = {}", r.loss, r.D);
    if (groups.empty() || groups.back().first != title) groups.push_back({title, {}});
    groups.back().second.push_back(&r);
  }
  std::vector<ChartPanel> panels;
  for (const auto& [title, group] : groups) {
    panels.push_back(panel_of(title, "time of a step, ms", group, [](auto& r) { return 1e3 * r.seconds; }));
    panels.push_back(
        panel_of(title, "peak memory, MB", group, [](auto& r) { return static_cast<double>(r.peak_bytes) / 1e6; }));
  }
  return panels;
}

}  // namespace

void plot_losses(const std::filesystem::path& svg, const std::vector<LossResult>& results, const std::string& where) {
  write_svg(svg, page_of(LineChart{.title = "Contrastive losses, one step: forward and backward",
                                   .subtitle = where + "; dashed: in proportion to M and to M²",
                                   .panels = panels_of(results),
                                   .columns = 2}));
}

}  // namespace systole::tools
