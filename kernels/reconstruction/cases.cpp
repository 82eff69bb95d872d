#include "kernels/reconstruction/cases.h"

namespace systole::kernels {

const std::vector<BlockMaskCase>& block_mask_cases() {
  static const std::vector<BlockMaskCase> cases = {
      {"one value", {.N = 1, .L = 1, .C = 1, .block = 50, .p = 0.3f, .seed = 1, .step = 0}},
      {"a shorter last block", {.N = 3, .L = 127, .C = 5, .block = 50, .p = 0.3f, .seed = 2, .step = 7}},
      {"blocks of one", {.N = 2, .L = 1001, .C = 1, .block = 1, .p = 0.5f, .seed = 3, .step = 1}},
      {"batch of 128 ECGs", {.N = 128, .L = 1000, .C = 12, .block = 50, .p = 0.3f, .seed = 42, .step = 3}},
  };
  return cases;
}

}  // namespace systole::kernels
