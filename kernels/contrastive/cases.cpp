#include "kernels/contrastive/cases.h"

namespace systole::kernels {

const std::vector<NtXentCase>& nt_xent_cases() {
  static const std::vector<NtXentCase> cases{
      {"four rows", {.M = 4, .D = 3, .temperature = 0.5f}},
      {"six rows", {.M = 6, .D = 1, .temperature = 0.07f}},
      {"ten rows", {.M = 10, .D = 13, .temperature = 10.0f}},
      {"below a tile", {.M = 126, .D = 64, .temperature = 0.07f}},
      {"above a tile", {.M = 130, .D = 127, .temperature = 0.07f}},
      {"above two tiles", {.M = 258, .D = 129, .temperature = 0.1f}},
      {"many tiles", {.M = 1002, .D = 250, .temperature = 0.07f}},
      {"SSRL batch 128", {.M = 256, .D = 128, .temperature = 0.07f}},
      {"SSRL batch 256", {.M = 512, .D = 128, .temperature = 0.07f}},
      {"batch 1024", {.M = 2048, .D = 128, .temperature = 0.07f}},
      {"batch 4096", {.M = 8192, .D = 128, .temperature = 0.07f}},
  };
  return cases;
}

const std::vector<NormalizeCase>& normalize_cases() {
  static const std::vector<NormalizeCase> cases{
      {"one number", {.M = 5, .D = 1}},
      {"odd", {.M = 17, .D = 13}},
      {"SSRL batch 256", {.M = 512, .D = 128}},
      {"batch 4096", {.M = 8192, .D = 128}},
  };
  return cases;
}

}  // namespace systole::kernels
