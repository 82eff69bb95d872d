// Where values stand on an axis of a chart, and which of them are named.
#pragma once

#include <string>
#include <vector>

#include "tools/line_chart.h"

namespace systole::tools {

/// A value from `low` at `begin_mm` to `high` at `end_mm`, linear or in the logarithm.
struct ChartScale {
  bool logarithmic;
  double low, high;
  double begin_mm, end_mm;

  double at(double value) const;
};

/// The scale for an axis on which these finite values must be seen; `room_mm` is left on either side where the axis
/// does not say where it ends. Throws Error for a value that is not positive on a logarithmic axis.
ChartScale scale_of(const ChartAxis& axis, const std::vector<double>& values, double begin_mm, double end_mm,
                    double room_mm);

/// Round numbers between the ends. Linear: about five multiples of 1, 2 or 5 times a power of ten. Logarithmic: 1, 2
/// and 5 times the powers of ten, the powers alone where there are many.
std::vector<ChartTick> round_ticks(const ChartScale& scale);

/// "131,072".
std::string whole_number(double value);

}  // namespace systole::tools
