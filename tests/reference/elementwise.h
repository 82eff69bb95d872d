// The elementwise operations by the book, in float or double.
#pragma once

#include <vector>

#include "kernels/elementwise/elementwise.h"

namespace systole::test::reference {

template <class T>
std::vector<T> relu(const std::vector<T>& x) {
  std::vector<T> y(x);
  for (T& value : y)
    if (value < 0) value = 0;
  return y;
}

template <class T>
std::vector<T> concatenate(const kernels::ConcatenateShape& s, const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> y;
  for (int64_t row = 0; row < s.rows; ++row) {
    y.insert(y.end(), a.begin() + row * s.C_a, a.begin() + (row + 1) * s.C_a);
    y.insert(y.end(), b.begin() + row * s.C_b, b.begin() + (row + 1) * s.C_b);
  }
  return y;
}

/// Whether element i of record n is kept: the definition in DropoutShape, one draw at a time.
inline bool is_kept(const kernels::DropoutShape& s, int n, int64_t i) {
  const RandomStream stream(s.seed, Purpose::dropout, s.step, s.first_record + static_cast<uint32_t>(n), 0, s.layer);
  return stream.uniform(static_cast<uint32_t>(i)) >= s.p;
}

template <class T>
std::vector<T> dropout(const kernels::DropoutShape& s, const std::vector<T>& x) {
  std::vector<T> y(x.size());
  for (int n = 0; n < s.N; ++n)
    for (int64_t i = 0; i < s.elements; ++i) {
      const auto at = static_cast<size_t>(n * s.elements + i);
      y[at] = is_kept(s, n, i) ? x[at] / (1 - static_cast<T>(s.p)) : T{0};
    }
  return y;
}

}  // namespace systole::test::reference
