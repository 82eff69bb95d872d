#include "kernels/elementwise/cases.h"

namespace systole::kernels {

const std::vector<ElementwiseCase>& elementwise_cases() {
  static const std::vector<ElementwiseCase> cases = {
      {"one value", 1, 1},
      {"odd records", 3, 1001},
      {"just over a piece of work", 2, 16385},
      {"projector", 256, 250},
      {"SSRL block, 2 views of 128", 256, 500 * 64},
  };
  return cases;
}

const std::vector<ConcatenateCase>& concatenate_cases() {
  static const std::vector<ConcatenateCase> cases = {
      {"one and one", {.rows = 1, .C_a = 1, .C_b = 1}},
      {"leads", {.rows = 1001, .C_a = 8, .C_b = 5}},
      {"two features", {.rows = 128, .C_a = 250, .C_b = 64}},
      {"two branches of 256 records", {.rows = 256 * 500, .C_a = 64, .C_b = 64}},
  };
  return cases;
}

const std::vector<SplitLeadsCase>& split_leads_cases() {
  static const std::vector<SplitLeadsCase> cases = {
      {"one lead", {.V = 1, .N = 3, .L = 7, .C = 1}},
      {"odd records", {.V = 2, .N = 3, .L = 257, .C = 5}},
      {"two views of 64 records", {.V = 2, .N = 64, .L = 1000, .C = 12}},
  };
  return cases;
}

const std::vector<GatherCase>& gather_cases() {
  static const std::vector<GatherCase> cases = {
      {"one value", {.N = 1, .C = 1}, 1},
      {"targets of 5 classes", {.N = 67, .C = 5}, 101},
      {"128 rows of 250 features", {.N = 128, .C = 250}, 17000},
  };
  return cases;
}

}  // namespace systole::kernels
