#include "kernels/step_data/cases.h"

namespace systole::kernels {

const std::vector<StepDataCase>& step_data_cases() {
  static const std::vector<StepDataCase> cases{
      {"odd", 7},
      {"more than a block", 1001},
      {"batch of 128 ECGs", 261},  // records, ids, the step's number, four factors
  };
  return cases;
}

}  // namespace systole::kernels
