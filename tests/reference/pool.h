// Pooling by the book, in float or double.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/pool/pool.h"

namespace systole::test::reference {

/// The mean over time of z = relu?(x · scale + shift), scale and shift [groups, C]; both empty: z = x.
template <class T>
std::vector<T> mean_over_time(const kernels::MeanShape& s, const std::vector<T>& x, const std::vector<T>& scale,
                              const std::vector<T>& shift, int groups, bool relu) {
  std::vector<T> y;
  for (int n = 0; n < s.N; ++n)
    for (int c = 0; c < s.C; ++c) {
      const int gc = n / (s.N / groups) * s.C + c;
      T sum = 0;
      for (int l = 0; l < s.L; ++l) {
        T z = x[(static_cast<size_t>(n) * s.L + l) * s.C + c];
        if (!scale.empty()) z = z * scale[gc] + shift[gc];
        sum += relu && z < 0 ? T{0} : z;
      }
      y.push_back(sum / static_cast<T>(s.L));
    }
  return y;
}

template <class T>
struct MaxPoolResult {
  std::vector<T> y;
  std::vector<int32_t> index;
};

template <class T>
MaxPoolResult<T> max_pool(const kernels::MaxPoolShape& s, const std::vector<T>& x) {
  MaxPoolResult<T> result;
  for (int n = 0; n < s.N; ++n)
    for (int l = 0; l < s.L_out(); ++l)
      for (int c = 0; c < s.C; ++c) {
        T best = -INFINITY;
        int32_t where = -1;
        for (int k = 0; k < s.window; ++k) {
          const int i = l * s.stride - s.padding + k;
          if (i < 0 || i >= s.L || std::isnan(best)) continue;
          const T value = x[(static_cast<size_t>(n) * s.L + i) * s.C + c];
          if (where >= 0 && !(value > best) && !std::isnan(value)) continue;
          best = value;
          where = i;
        }
        result.y.push_back(best);
        result.index.push_back(where);
      }
  return result;
}

/// Each dy goes to the input that its window took.
template <class T>
std::vector<T> max_pool_backward(const kernels::MaxPoolShape& s, const std::vector<T>& dy,
                                 const std::vector<int32_t>& index) {
  std::vector<T> dx(static_cast<size_t>(s.N) * s.L * s.C);
  const size_t per_record = static_cast<size_t>(s.L_out()) * s.C;
  for (size_t i = 0; i < dy.size(); ++i) dx[(i / per_record * s.L + index[i]) * s.C + i % s.C] += dy[i];
  return dx;
}

}  // namespace systole::test::reference
