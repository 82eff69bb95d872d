#include "tools/chart_axis.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::tools {
namespace {

/// 1, 2 or 5 times a power of ten, near `step`.
double round_step(double step) {
  const double power = std::pow(10, std::floor(std::log10(step)));
  for (const double digit : {1.0, 2.0, 5.0})
    if (digit * power >= 0.75 * step) return digit * power;
  return 10 * power;
}

std::vector<ChartTick> linear_ticks(const ChartScale& scale) {
  constexpr int kAbout = 5;
  const double step = round_step((scale.high - scale.low) / kAbout);
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  const double tolerance = 1e-9 * step;
  std::vector<ChartTick> ticks;
  for (double i = std::ceil((scale.low - tolerance) / step); i * step <= scale.high + tolerance; ++i) {
    const double value = i == 0 ? 0 : i * step;  // no −0
    ticks.push_back({value, decimals == 0 ? whole_number(value) : fmt::format("{:.{}f}", value, decimals)});
  }
  return ticks;
}

std::vector<ChartTick> logarithmic_ticks(const ChartScale& scale) {
  const bool powers_only = std::log10(scale.high / scale.low) > 2.5;
  std::vector<ChartTick> ticks;
  for (int power = static_cast<int>(std::floor(std::log10(scale.low))); power <= std::log10(scale.high); ++power)
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double value = digit * std::pow(10, power);
      if (value >= scale.low && value <= scale.high && (digit == 1 || !powers_only))
        ticks.push_back({value, value < 1 ? fmt::format("{:g}", value) : whole_number(value)});
    }
  return ticks;
}

}  // namespace

double ChartScale::at(double value) const {
  const double share = logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return begin_mm + share * (end_mm - begin_mm);
}

ChartScale scale_of(const ChartAxis& axis, const std::vector<double>& values, double begin_mm, double end_mm,
                    double room_mm) {
  for (const double value : values)
    if (axis.logarithmic && value <= 0)
      throw Error(fmt::format("{} cannot be drawn on the logarithmic axis '{}'", value, axis.title));
  const auto number = [&](double value) { return axis.logarithmic ? std::log(value) : value; };
  const auto value = [&](double on_axis) { return axis.logarithmic ? std::exp(on_axis) : on_axis; };
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  double low = values.empty() ? 0 : number(*least), high = values.empty() ? 1 : number(*most);
  if (low == high) {  // a single value stands in the middle
    low -= 0.5;
    high += 0.5;
  }
  const double room = (high - low) * room_mm / (std::abs(end_mm - begin_mm) - 2 * room_mm);
  return {axis.logarithmic, std::isnan(axis.low) ? value(low - room) : axis.low,
          std::isnan(axis.high) ? value(high + room) : axis.high, begin_mm, end_mm};
}

std::vector<ChartTick> round_ticks(const ChartScale& scale) {
  return scale.logarithmic ? logarithmic_ticks(scale) : linear_ticks(scale);
}

std::string whole_number(double value) {
  std::string text = fmt::format("{:.0f}", std::abs(value));
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return value < 0 ? "−" + text : text;
}

}  // namespace systole::tools
