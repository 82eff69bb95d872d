#include "kernels/optimizer/cases.h"

namespace systole::kernels {

const std::vector<OptimizerCase>& optimizer_cases() {
  static const std::vector<OptimizerCase> cases{
      {"one number", 1},
      {"odd", 1001},
      {"pieces", 100'003},
      {"SSRL encoder and projector", 1'327'232},  // 538,624 and 526,336 + 262,272
  };
  return cases;
}

}  // namespace systole::kernels
