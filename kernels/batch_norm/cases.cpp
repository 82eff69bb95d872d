#include "kernels/batch_norm/cases.h"

namespace systole::kernels {

const std::vector<BatchNormCase>& batch_norm_cases() {
  static const std::vector<BatchNormCase> cases = {
      {"one channel", {.groups = 1, .N = 3, .L = 13, .C = 1}},
      {"twelve leads", {.groups = 2, .N = 8, .L = 129, .C = 12}},
      {"five groups", {.groups = 5, .N = 10, .L = 7, .C = 12}},
      {"projector", {.groups = 2, .N = 256, .L = 1, .C = 250}},
      {"SSRL block, small batch", {.groups = 2, .N = 8, .L = 500, .C = 64}},
      {"SSRL block, 2 views of 128", {.groups = 2, .N = 256, .L = 500, .C = 64}},
      {"TemporalNet stem, 2 views of 16 × 8 leads", {.groups = 2, .N = 256, .L = 2500, .C = 32}},
  };
  return cases;
}

}  // namespace systole::kernels
