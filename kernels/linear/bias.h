// What a library's matrix product leaves to do for a layer with a bias: the bias itself, and its gradient.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// Rows that column_sums adds up in one piece.
inline constexpr int64_t kColumnSumsPiece = 512;
/// Floats of working memory that column_sums needs.
inline size_t column_sums_scratch(int64_t rows, int C) {
  return static_cast<size_t>((rows + kColumnSumsPiece - 1) / kColumnSumsPiece * C);
}

struct BiasKernels {
  /// y[r, c] += bias[c]. y [rows, C].
  Entry<"bias.add", void(int64_t rows, int C, const float* bias, float* y)> add;
  /// sums[c] = Σ_r x[r, c], in an order that depends on the shape alone. x [rows, C]; partial: column_sums_scratch.
  Entry<"bias.column_sums", void(int64_t rows, int C, const float* x, float* partial, float* sums, GradientMode mode)>
      column_sums;
};

namespace simt {
extern const BiasKernels bias;
}
namespace cuda {
extern const BiasKernels bias;
}

}  // namespace systole::kernels
