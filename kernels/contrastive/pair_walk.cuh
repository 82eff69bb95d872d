// How losses over pairs of rows go over the pairs on the cuda and simt devices, tile by tile.
//   sums       for_each_tile: a block has 64 rows and a range of the column tiles; for_each_pair hands each thread its
//              own pairs of a tile
//   gradients  mix_tiles (gradient_tiles.cuh) with store_weights, which turns a tile of similarities into weights
// Few rows make few blocks, so the columns are cut into parts, which a last kernel adds in order. Where the cuts are
// depends on the shape alone.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/contrastive/gradient_tiles.cuh"
#include "kernels/contrastive/packed_rows.h"
#include "kernels/contrastive/pair_loss.h"

namespace systole::kernels::SYSTOLE_TARGET {

/// Which pairs count, and which belong together.
struct Pairs {
  int A, B;
  int self;                   // i − j of a row with itself
  const int32_t* row_ids;     // [A]
  const int32_t* column_ids;  // [B]

  __device__ __forceinline__ bool is_pair(int i, int j) const { return i < A && j < B && i - j != self; }
  __device__ __forceinline__ int32_t row_id(int i) const { return i < A ? row_ids[i] : 0; }
  __device__ __forceinline__ int32_t column_id(int j) const { return j < B ? column_ids[j] : 0; }
};

inline Pairs pairs_of(const PairShape& shape, const int32_t* row_ids, const int32_t* column_ids) {
  const int self = shape.same_rows ? shape.first_column - shape.first_row : -shape.B;  // i − j > −B
  return {shape.A, shape.B, self, row_ids, column_ids};
}

/// Block (I, p): calls use(s, row, column) for the tiles of stripe I and of the columns of part p.
template <Precision P, class Use>
__device__ __forceinline__ void for_each_tile(const PackedRows<P>& x, const PackedRows<P>& y, Stage<P> (&stage)[2],
                                              const Use& use) {
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int row = static_cast<int>(blockIdx.x) * kTile, tiles = y.padded_M / kTile;
  const int begin = static_cast<int>(tiles * part / parts), end = static_cast<int>(tiles * (part + 1) / parts);
  for (int J = begin; J < end; ++J) {
    SimilarityTile s;
    similarity_tile<P>(x, y, row, J * kTile, stage, s);
    use(s, row, J * kTile);
  }
}

/// Calls add(r, s_ij, positive) for this thread's pairs of a tile; r counts the rows that the thread has.
template <class Add>
__device__ __forceinline__ void for_each_pair(SimilarityTile& s, const Pairs& pairs, int row, int column,
                                              const Add& add) {
  int32_t id[SimilarityTile::kR];
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) id[r] = pairs.row_id(row + SimilarityTile::row(r));
#pragma unroll
  for (int c = 0; c < SimilarityTile::kC; ++c) {
    const int j = column + SimilarityTile::column(c);
    const int32_t column_id = pairs.column_id(j);
#pragma unroll
    for (int r = 0; r < SimilarityTile::kR; ++r)
      if (pairs.is_pair(row + SimilarityTile::row(r), j)) add(r, s.at(r, c), id[r] == column_id);
  }
}

/// Writes w_ij = weight(s_ij, positive, weight.row(i), weight.column(j)) for a tile, zero where there is no pair.
/// Returns the sum of this thread's weights before they are rounded.
template <Precision P, class Weight>
__device__ __forceinline__ float store_weights(SimilarityTile& s, const Pairs& pairs, int row, int column,
                                               const Weight& weight, FactorTile<P, kTile, kTile>& weights) {
  typename Weight::Row own[SimilarityTile::kR];
  int32_t id[SimilarityTile::kR];
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) {
    own[r] = weight.row(row + SimilarityTile::row(r));
    id[r] = pairs.row_id(row + SimilarityTile::row(r));
  }
  float sum = 0;
#pragma unroll
  for (int c = 0; c < SimilarityTile::kC; ++c) {
    const int j = column + SimilarityTile::column(c);
    const auto other = weight.column(j);
    const int32_t column_id = pairs.column_id(j);
#pragma unroll
    for (int r = 0; r < SimilarityTile::kR; ++r) {
      float w = weight(s.at(r, c), id[r] == column_id, own[r], other);
      if (!pairs.is_pair(row + SimilarityTile::row(r), j)) w = 0;
      sum += w;
      weights.value[SimilarityTile::row(r)][SimilarityTile::column(c)] = to_factor<P>(w);
    }
  }
  return sum;
}

/// M rows, padded to whole tiles; where they lie is set by pack.
template <Precision P>
PackedRows<P> layout_of(int M, int D, int transposed_rows) {
  return {.M = M,
          .D = D,
          .padded_M = ceil_div(M, kTile) * kTile,
          .padded_D = ceil_div(D, kProductDepth) * kProductDepth,
          .rows = nullptr,
          .transposed_rows = transposed_rows,
          .transposed = nullptr};
}

/// What a pass reads, packed in scratch memory, and the blocks that share its tiles.
template <Precision P>
struct PairPass {
  PackedRows<P> x, y;
  Extent grid;                       // stripes of rows · chunks of a gradient's columns, parts of the tiles
  size_t x_at, y_at, transposed_at;  // in the memory

  size_t parts() const { return static_cast<size_t>(grid.y); }
  size_t blocks() const { return parts() * static_cast<size_t>(grid.x); }
  int chunks() const { return y.transposed_rows / kGradientColumns; }
  /// Numbers of a gradient before its parts are added.
  size_t mixed() const { return parts() * static_cast<size_t>(x.padded_M) * static_cast<size_t>(y.transposed_rows); }
};

enum class PassKind { sums, gradient };

template <Precision P>
PairPass<P> plan_pass(ScratchLayout& layout, const PairShape& shape, PassKind kind) {
  const int chunks = kind == PassKind::gradient ? ceil_div(shape.D, kGradientColumns) : 0;
  PairPass<P> pass{};
  pass.x = layout_of<P>(shape.A, shape.D, 0);
  pass.y = layout_of<P>(shape.B, shape.D, chunks * kGradientColumns);
  pass.grid.x = int64_t{ceil_div(shape.A, kTile)} * std::max(chunks, 1);
  pass.grid.y = std::clamp(kBlocksWanted / pass.grid.x, int64_t{1}, int64_t{ceil_div(shape.B, kTile)});
  const auto add = [&](int rows, int width) {
    return layout.add<Factor<P>>(static_cast<size_t>(rows) * static_cast<size_t>(width));
  };
  pass.x_at = add(pass.x.padded_M, pass.x.padded_D);
  pass.y_at = add(pass.y.padded_M, pass.y.padded_D);
  pass.transposed_at = add(pass.y.padded_M, pass.y.transposed_rows);
  return pass;
}

template <Precision P>
void pack(Queue& queue, const float* x, const float* y, std::byte* memory, PairPass<P>& pass) {
  pass.x.rows = reinterpret_cast<Factor<P>*>(memory + pass.x_at);
  pass.y.rows = reinterpret_cast<Factor<P>*>(memory + pass.y_at);
  pass.y.transposed = reinterpret_cast<Factor<P>*>(memory + pass.transposed_at);
  pack(queue, x, pass.x);
  pack(queue, y, pass.y);
}

/// dx (+)= upstream / (τ · count) · Σ_part out.
template <Precision P>
void add_parts(Queue& queue, const PairPass<P>& pass, const float* out, const float* upstream, float temperature,
               double count, float* dx, GradientMode mode) {
  const int64_t numbers = int64_t{pass.x.M} * pass.x.D;
  launch(queue, {.grid = {ceil_div(numbers, int64_t{kFinishThreads})}, .block = {kFinishThreads}}, finish_gradient, out,
         static_cast<int>(pass.parts()), pass.x.padded_M, pass.y.transposed_rows, pass.x.M, pass.x.D, upstream,
         temperature, count, dx, mode);
}

/// result (+)= factor · Σ part, and times upstream where it is not null.
void add_parts(Queue& queue, const double* part, size_t parts, double factor, const float* upstream, float* result,
               GradientMode mode);

}  // namespace systole::kernels::SYSTOLE_TARGET
