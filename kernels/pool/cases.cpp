#include "kernels/pool/cases.h"

namespace systole::kernels {

const std::vector<MeanCase>& mean_cases() {
  static const std::vector<MeanCase> cases = {
      {"one value", {.N = 2, .L = 1, .C = 1}},
      {"twelve leads", {.N = 4, .L = 1001, .C = 12}},
      {"last layer, small batch", {.N = 8, .L = 63, .C = 250}},
      {"last layer, 2 views of 128", {.N = 256, .L = 500, .C = 64}},
  };
  return cases;
}

const std::vector<PoolCase>& max_pool_cases() {
  static const std::vector<PoolCase> cases = {
      {"window 2", {.N = 2, .L = 7, .C = 5, .window = 2, .stride = 2}},
      {"padding on both sides", {.N = 2, .L = 13, .C = 3, .window = 3, .stride = 1, .padding = 1}},
      {"gaps between windows", {.N = 3, .L = 129, .C = 12, .window = 2, .stride = 5}},
      {"wide window", {.N = 2, .L = 127, .C = 64, .window = 9, .stride = 4, .padding = 4}},
      {"one window", {.N = 2, .L = 1, .C = 1, .window = 3, .stride = 4, .padding = 1}},
      {"ResNet stem", {.N = 64, .L = 1000, .C = 64, .window = 3, .stride = 2, .padding = 1}},
      {"TemporalNet stem", {.N = 256, .L = 2500, .C = 32, .window = 4, .stride = 4}},
  };
  return cases;
}

}  // namespace systole::kernels
