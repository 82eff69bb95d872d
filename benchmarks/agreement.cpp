#include "benchmarks/agreement.h"

#include <algorithm>
#include <cmath>

namespace systole::benchmarks {

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double{found[i]} - expected[i], 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  const double error = std::sqrt(difference / std::max(norm, 1e-30));
  return std::isnan(error) ? INFINITY : error;
}

double allowed_error(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return 1e-3;
    case Precision::tf32:
      return 5e-3;
    case Precision::bf16:
      break;
  }
  return 4e-2;
}

}  // namespace systole::benchmarks
