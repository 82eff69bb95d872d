// Vectors of bf16 for tests.
#pragma once

#include <vector>

#include "kernels/common/bf16.h"

namespace systole::test {

inline std::vector<bf16> rounded(const std::vector<float>& values) {
  std::vector<bf16> result;
  for (float x : values) result.push_back(to_bf16(x));
  return result;
}
inline std::vector<float> widened(const std::vector<bf16>& values) {
  std::vector<float> result;
  for (bf16 x : values) result.push_back(to_float(x));
  return result;
}

}  // namespace systole::test
