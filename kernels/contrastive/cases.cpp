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
      {"many tiles", {.M = 1026, .D = 250, .temperature = 0.07f}},
      {"SSRL batch 128", {.M = 256, .D = 128, .temperature = 0.07f}},
      {"SSRL batch 256", {.M = 512, .D = 128, .temperature = 0.07f}},
      {"batch 1024", {.M = 2048, .D = 128, .temperature = 0.07f}},
      {"batch 4096", {.M = 8192, .D = 128, .temperature = 0.07f}},
  };
  return cases;
}

const std::vector<PairCase>& pair_cases() {
  static const std::vector<PairCase> cases{
      {"one set of 130", {.A = 130, .B = 130, .D = 31, .temperature = 0.07f, .same_rows = true}, 65},
      {"two sets of 129 and 67", {.A = 129, .B = 67, .D = 13, .temperature = 0.1f}, 67},
      {"SupCon batch 256", {.A = 512, .B = 512, .D = 128, .temperature = 0.07f, .same_rows = true}, 100},
      {"CLOCS slots of 512", {.A = 512, .B = 512, .D = 128, .temperature = 0.1f}, 500},
      {"CLIP batch 4096", {.A = 4096, .B = 4096, .D = 128, .temperature = 0.07f}, 4096},
      {"MoCo batch 256, queue 65536", {.A = 256, .B = 65792, .D = 128, .temperature = 0.07f}, 65792},
  };
  return cases;
}

const std::vector<FeatureCase>& feature_cases() {
  static const std::vector<FeatureCase> cases{
      {"odd", 17, 13},
      {"SSRL batch 256", 256, 128},
      {"wide projector", 256, 2048},
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
