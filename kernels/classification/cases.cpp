#include "kernels/classification/cases.h"

namespace systole::kernels {

const std::vector<BceCase>& bce_cases() {
  static const std::vector<BceCase> cases{
      {"one number", {.N = 1, .C = 1}},
      {"odd", {.N = 7, .C = 3, .gamma = 1.5f}},
      {"superclasses focal", {.N = 64, .C = 5, .gamma = 2.0f}},
      {"all statements", {.N = 129, .C = 71}},
  };
  return cases;
}

}  // namespace systole::kernels
