// The rows on which step data is tested and measured.
#pragma once

#include <vector>

#include "kernels/step_data/step_data.h"

namespace systole::kernels {

struct StepDataCase {
  const char* name;
  int words;  // of a row, two at least

  double bytes() const { return 2.0 * sizeof(uint32_t) * words; }
};

const std::vector<StepDataCase>& step_data_cases();

}  // namespace systole::kernels
