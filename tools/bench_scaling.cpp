#include "tools/bench_scaling.h"

#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>

namespace systole::tools {

double fitted_exponent(const std::vector<std::pair<double, double>>& points) {
  const auto count = static_cast<double>(points.size());
  double mean_x = 0, mean_y = 0, xy = 0, xx = 0;
  for (const auto& [x, y] : points) mean_x += std::log(x) / count, mean_y += std::log(y) / count;
  for (const auto& [x, y] : points) {
    xy += (std::log(x) - mean_x) * (std::log(y) - mean_y);
    xx += (std::log(x) - mean_x) * (std::log(x) - mean_x);
  }
  return xy / xx;
}

namespace {

/// What is held while the size number `varied` varies, as text.
std::string held(const ScalingPoint& point, size_t varied) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < point.sizes.size(); ++i)
    if (i != varied) texts.push_back(fmt::format("{} {:g}", point.sizes[i].first, point.sizes[i].second));
  return fmt::format("{}", fmt::join(texts, ", "));
}

}  // namespace

std::vector<std::string> scaling_lines(const std::vector<ScalingPoint>& points) {
  std::vector<std::string> lines;
  if (points.empty()) return lines;
  for (size_t varied = 0; varied < points.front().sizes.size(); ++varied) {
    std::set<std::string> done;
    for (const ScalingPoint& first : points) {
      const std::string group = held(first, varied);
      if (!done.insert(first.by + group).second) continue;
      std::vector<std::pair<double, double>> fitted;
      std::set<double> values;
      for (const ScalingPoint& point : points)
        if (point.by == first.by && held(point, varied) == group) {
          fitted.emplace_back(point.sizes[varied].second, point.seconds);
          values.insert(point.sizes[varied].second);
        }
      if (values.size() >= 2)
        lines.push_back(fmt::format("{}: time ~ {}^{:.2f} ({})", first.by, first.sizes[varied].first,
                                    fitted_exponent(fitted), group));
    }
  }
  return lines;
}

}  // namespace systole::tools
