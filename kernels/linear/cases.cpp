#include "kernels/linear/cases.h"

namespace systole::kernels {

const std::vector<LinearCase>& linear_cases() {
  // name, {M, D_in, D_out}
  static const std::vector<LinearCase> cases = {
      {"projector/256-2048 M512", {512, 256, 2048}},
      {"projector/2048-128 M512", {512, 2048, 128}},
      {"projector/256-2048 M64", {64, 256, 2048}},
      {"projector/2048-128 M64", {64, 2048, 128}},
      {"predictor/2048-256 M512", {512, 2048, 256}},
      {"temporal/512-256 M512", {512, 512, 256}},
      {"temporal/256-128 M512", {512, 256, 128}},
      {"head/256-5 M256", {256, 256, 5}},
      {"odd/1x1x1", {1, 1, 1}},
      {"odd/one row", {1, 257, 71}},
      {"odd/one column", {130, 250, 1}},
      {"odd/one input", {127, 1, 20}},
      {"odd/7x3x5", {7, 3, 5}},
      {"odd/129x250x250", {129, 250, 250}},
      {"odd/1001x12x3", {1001, 12, 3}},
      {"odd/13x1001x17", {13, 1001, 17}},
  };
  return cases;
}

}  // namespace systole::kernels
