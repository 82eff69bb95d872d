// The rows of a contrastive loss as its products read them: rounded to the precision of the queue once, and padded with
// zeros to whole tiles, so that every load is a copy of 16 aligned bytes without a condition, for any M and D. The
// backward pass multiplies weights with Z too and needs it a second time, transposed: product_tile.h takes both factors
// with the depth contiguous.
//
// Tiles go through two stages of shared memory: while one is multiplied, cp.async fills the other.
#pragma once

#include "kernels/common/intrinsics.h"
#include "kernels/common/launch.h"
#include "kernels/linear/product_tile.h"

namespace systole::kernels::SYSTOLE_TARGET {

inline constexpr int kTile = 64;              // rows and columns of a tile of S
inline constexpr int kGradientColumns = 128;  // of dz that a block computes
inline constexpr int kStageRows = 128;        // two factors of S, or one of the gradient
inline constexpr int kBlocksWanted = 264;     // two for each of the 132 multiprocessors of an H100 or H200

using SimilarityTile = ProductTile<kTile, kTile>;

template <Precision P>
struct PackedRows {
  int M, D;
  int padded_M;                     // whole tiles
  int padded_D;                     // whole steps of kProductDepth
  Factor<P>* rows;                  // [padded_M, padded_D]
  int transposed_rows = 0;          // D in whole kGradientColumns, or 0: not there
  Factor<P>* transposed = nullptr;  // [transposed_rows, padded_M]
};

template <Precision P>
using Stage = FactorTile<P, kStageRows>;

/// Starts the copies of kRows rows of one step, from row to row `pitch` factors, to rows of a stage.
template <Precision P, int kRows>
__device__ __forceinline__ void start_copies(const Factor<P>* from, size_t pitch, Factor<P>* to) {
  constexpr int kFactors = 16 / static_cast<int>(sizeof(Factor<P>));  // of one copy
  constexpr int kCopies = kProductDepth / kFactors;                   // of one row
  constexpr int kRowsAtOnce = kProductThreads / kCopies;
  const int row = static_cast<int>(threadIdx.x) / kCopies, first = static_cast<int>(threadIdx.x) % kCopies * kFactors;
  from += static_cast<size_t>(row) * pitch + first;
  to += row * Stage<P>::kPitch + first;
#pragma unroll
  for (int j = 0; j < kRows / kRowsAtOnce; ++j, from += kRowsAtOnce * pitch, to += kRowsAtOnce * Stage<P>::kPitch)
    cp_async<16>(to, from, true);
}

/// start(step, stage) starts a step's copies, use(step, stage) reads them. Ends with a barrier: the stages are free.
template <Precision P, class Start, class Use>
__device__ __forceinline__ void stream_steps(Stage<P> (&stage)[2], int steps, const Start& start, const Use& use) {
  start(0, stage[0]);
  cp_async_commit();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) start(step + 1, stage[(step + 1) % 2]);
    cp_async_commit();  // empty after the last step, so that "all but one" is always this step
    cp_async_wait<1>();
    __syncthreads();
    use(step, stage[step % 2]);
    __syncthreads();
  }
}

/// s = the tile of S = X Yᵀ from (row, column); for NT-Xent both are Z.
template <Precision P>
__device__ __forceinline__ void similarity_tile(const PackedRows<P>& x, const PackedRows<P>& y, int row, int column,
                                                Stage<P> (&stage)[2], SimilarityTile& s) {
  const size_t pitch = static_cast<size_t>(x.padded_D);
  const Factor<P>*left = x.rows + static_cast<size_t>(row) * pitch,
        *right = y.rows + static_cast<size_t>(column) * pitch;
  stream_steps<P>(
      stage, x.padded_D / kProductDepth,
      [&](int step, Stage<P>& to) {
        start_copies<P, kTile>(left + step * kProductDepth, pitch, to.value[0]);
        start_copies<P, kTile>(right + step * kProductDepth, pitch, to.value[kTile]);
      },
      [&](int, const Stage<P>& from) {
        s.template add<P>(from.value[0], from.kPitch, from.value[kTile], from.kPitch);
      });
}

template <Precision P>
__device__ __forceinline__ void similarity_tile(const PackedRows<P>& z, int row, int column, Stage<P> (&stage)[2],
                                                SimilarityTile& s) {
  similarity_tile<P>(z, z, row, column, stage, s);
}

inline constexpr int kPackTile = 32, kPackRows = 8;

template <Precision P>
struct PackTile {
  Factor<P> value[kPackTile][kPackTile + 1];
};

/// A block packs 32 × 32 numbers; through shared memory, both results are written along their rows.
template <Precision P>
__global__ __launch_bounds__(kPackTile* kPackRows, 4) void pack_rows(const float* __restrict__ z,  // [M, D]
                                                                     PackedRows<P> to) {
  auto& shared = *dynamic_shared<PackTile<P>>();
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int first_row = static_cast<int>(blockIdx.x) * kPackTile, first_d = static_cast<int>(blockIdx.y) * kPackTile;
  for (int j = y; j < kPackTile; j += kPackRows) {
    const int i = first_row + j, d = first_d + x;
    const float value = i < to.M && d < to.D ? z[static_cast<size_t>(i) * to.D + d] : 0.0f;
    shared.value[j][x] = to_factor<P>(value);
    if (d < to.padded_D) to.rows[static_cast<size_t>(i) * to.padded_D + d] = shared.value[j][x];
  }
  __syncthreads();
  if (first_d < to.transposed_rows)
    for (int j = y; j < kPackTile; j += kPackRows)
      to.transposed[static_cast<size_t>(first_d + j) * to.padded_M + first_row + x] = shared.value[x][j];
}

template <Precision P>
void pack(Queue& queue, const float* z, const PackedRows<P>& to) {
  const int depth = to.transposed_rows > to.padded_D ? to.transposed_rows : to.padded_D;
  launch(queue,
         {.grid = {to.padded_M / kPackTile, depth / kPackTile},
          .block = {kPackTile, kPackRows},
          .shared_bytes = sizeof(PackTile<P>)},
         pack_rows<P>, z, to);
}

/// One allocation of working memory, cut into arrays.
class ScratchLayout {
 public:
  /// The place of an array of `count` T.
  template <class T>
  size_t add(size_t count) {
    const size_t at = bytes_;
    bytes_ += ceil_div(count * sizeof(T), size_t{256}) * 256;
    return at;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

}  // namespace systole::kernels::SYSTOLE_TARGET
