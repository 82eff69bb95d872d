// Whether two results are the same but for rounding.
#pragma once

#include <vector>

#include "kernels/common/device.h"

namespace systole::benchmarks {

/// ‖found − expected‖ / ‖expected‖; infinite where a number is NaN or missing.
double relative_error(const std::vector<float>& found, const std::vector<float>& expected);

/// Far above what rounding does, far below what a wrong element does.
double allowed_error(Precision precision);

}  // namespace systole::benchmarks
