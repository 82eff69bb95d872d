// What the two passes over pairs of rows share on the cuda and simt devices.
#pragma once

#include "kernels/common/launch.h"
#include "kernels/contrastive/packed_rows.h"
#include "kernels/contrastive/pair_loss.h"

namespace systole::kernels::SYSTOLE_TARGET {

/// Which pairs count, and how.
struct Pairs {
  int A, B;
  int self;  // i − j of a row with itself
  bool positives_in_denominator;
  const int32_t* row_ids;     // [A]
  const int32_t* column_ids;  // [B]

  __device__ __forceinline__ bool is_pair(int i, int j) const { return i < A && j < B && i - j != self; }
  __device__ __forceinline__ int32_t row_id(int i) const { return i < A ? row_ids[i] : 0; }
  __device__ __forceinline__ int32_t column_id(int j) const { return j < B ? column_ids[j] : 0; }
};

inline Pairs pairs_of(const PairShape& shape, const int32_t* row_ids, const int32_t* column_ids) {
  const int self = shape.same_rows ? shape.first_column - shape.first_row : -shape.B;  // i − j > −B
  return {shape.A, shape.B, self, shape.positives_in_denominator, row_ids, column_ids};
}

/// The layout of M rows, padded to whole tiles.
template <Precision P>
PackedRows<P> layout_of(int M, int D, int transposed_rows = 0) {
  return {.M = M,
          .D = D,
          .padded_M = ceil_div(M, kTile) * kTile,
          .padded_D = ceil_div(D, kProductDepth) * kProductDepth,
          .rows = nullptr,
          .transposed_rows = transposed_rows,
          .transposed = nullptr};
}

template <Precision P>
size_t add_rows(ScratchLayout& layout, const PackedRows<P>& rows) {
  return layout.add<Factor<P>>(static_cast<size_t>(rows.padded_M) * static_cast<size_t>(rows.padded_D));
}

void pair_gradient(Queue& queue, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
                   const int32_t* column_ids, const PairRow* rows, const PairRow* columns, const float* upstream,
                   float* dx, GradientMode mode);

}  // namespace systole::kernels::SYSTOLE_TARGET
