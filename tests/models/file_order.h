// Parameters' gradients in PyTorch's order of elements.
#pragma once

#include <vector>

#include "engine/parameters.h"

namespace systole::test {

inline std::vector<float> gradient_in_file_order(const Parameter& p) {
  const std::vector<float> g = gradient_of(p.value).to_vector();
  if (p.layout == Layout::plain) return g;
  const bool conv = p.layout == Layout::conv1d;
  const int64_t K = conv ? p.shape[0] : 1, in = p.shape[conv ? 1 : 0], out = p.shape[conv ? 2 : 1];
  std::vector<float> result(g.size());
  for (int64_t k = 0; k < K; ++k)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t o = 0; o < out; ++o)
        result[static_cast<size_t>((o * in + i) * K + k)] = g[static_cast<size_t>((k * in + i) * out + o)];
  return result;
}

}  // namespace systole::test
