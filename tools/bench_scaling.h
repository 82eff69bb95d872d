// How a time grows with what it was measured for.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace systole::tools {

/// The b of time = a · size^b that fits pairs (size, time) best: the slope of the line through their logarithms, by
/// least squares.
double fitted_exponent(const std::vector<std::pair<double, double>>& points);

/// One time, and the sizes that it is of, by name; all points have the same names in the same order.
struct ScalingPoint {
  std::string by;
  std::vector<std::pair<std::string, double>> sizes;
  double seconds;
};

/// "systole: time ~ batch size^0.98 (length 1000, threads 2)" for every size with two values or more, the others
/// held.
std::vector<std::string> scaling_lines(const std::vector<ScalingPoint>& points);

}  // namespace systole::tools
