// Sums over the rows of a matrix, one per column: bias gradients and moments. Each column adds up its rows in their
// order.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/simd.h"

namespace systole::kernels::cpu {

template <class V, int Count, class Add>
void sum_column_block(const float* y, int64_t rows, ptrdiff_t y_row, int column, const Add& add, float* sums) {
  constexpr int kLanes = static_cast<int>(V::size());
  V total[Count] = {};
  for (int64_t r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < Count; ++i) {
      const int c = column + i * kLanes;
      add(total[i], V(y + r * y_row + c, std::experimental::element_aligned), c);
    }
  for (int i = 0; i < Count; ++i) total[i].copy_to(sums + column + i * kLanes, std::experimental::element_aligned);
}

/// sums[c] = Σ_r of what add(sum, y[r · y_row + c], c) adds to the sum. Values are simds of neighbouring columns; c is
/// the first.
template <class Add>
void sum_columns(const float* y, int64_t rows, ptrdiff_t y_row, int columns, const Add& add, float* sums) {
  using Single = std::experimental::simd<float, std::experimental::simd_abi::scalar>;
  int c = 0;
  for (; c + 4 * kWidth <= columns; c += 4 * kWidth) sum_column_block<Vector, 4>(y, rows, y_row, c, add, sums);
  for (; c + kWidth <= columns; c += kWidth) sum_column_block<Vector, 1>(y, rows, y_row, c, add, sums);
  for (; c < columns; ++c) sum_column_block<Single, 1>(y, rows, y_row, c, add, sums);
}

/// sums[c] = Σ_r y[r · y_row + c]
inline void sum_columns(const float* y, int64_t rows, ptrdiff_t y_row, int columns, float* sums) {
  sum_columns(
      y, rows, y_row, columns, [](auto& sum, const auto& value, int) { sum += value; }, sums);
}

/// sums[c] = Σ_r (y[r · y_row + c] − mean[c])²
inline void sum_squared_deviations(const float* y, int64_t rows, ptrdiff_t y_row, int columns, const float* mean,
                                   float* sums) {
  const auto add_square = [mean]<class V>(V& sum, const V& value, int c) {
    const V deviation = value - V(mean + c, std::experimental::element_aligned);
    sum = multiply_add(deviation, deviation, sum);
  };
  sum_columns(y, rows, y_row, columns, add_square, sums);
}

}  // namespace systole::kernels::cpu
