// Half of the tiles, for steps 4 and 5: which tiles a block has, the sums of a tile to both of its sides, and the sum
// of all blocks.
#pragma once

#include <algorithm>

#include "kernels/contrastive/ladder/constant_offset.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {

/// How many tiles are on and above the diagonal.
__host__ __device__ inline int64_t triangle_of(int64_t tiles) {
  return tiles * (tiles + 1) / 2;
}
/// They are cut, row after row, into pieces of equally many: at most 256, two blocks for each multiprocessor of an
/// H100. Where the cuts are depends on M alone.
inline int pieces_of(const NtXentShape& shape) {
  return static_cast<int>(std::min<int64_t>(256, triangle_of(tiles_of(shape))));
}

/// What is left of a piece, and its first tile (I, J).
struct Piece {
  int64_t left;
  int I, J;

  __device__ __forceinline__ Piece(int64_t tiles, int64_t number, int64_t pieces) : I(0) {
    const int64_t triangle = triangle_of(tiles), begin = triangle * number / pieces;
    left = triangle * (number + 1) / pieces - begin;
    int64_t index = begin;
    for (; index >= tiles - I; ++I) index -= tiles - I;
    J = I + static_cast<int>(index);
  }
  __device__ __forceinline__ void next(int tiles) {
    --left;
    if (++J == tiles) J = ++I;
  }
};

struct TileSums {
  float row[4][kTile];     // of the four warps beside each other
  float column[2][kTile];  // of the two below each other
};

/// Adds the row sums of a tile of terms to own[row …], and off the diagonal its column sums to own[column …]. A
/// diagonal tile is whole: its columns are its rows again. The sums run over the lanes that share a row (4) or a column
/// (8), then over warps. One barrier; `shared` may be used again after the next one.
__device__ __forceinline__ void add_sums(SimilarityTile& e, int row, int column, TileSums& shared,
                                         float* __restrict__ own) {  // [padded_M]
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) {
    float sum = 0;
    for (int c = 0; c < SimilarityTile::kC; ++c) sum += e.at(r, c);
    for (int lanes = 1; lanes < 4; lanes *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, lanes);
    if (lane % 4 == 0) shared.row[warp % 4][SimilarityTile::row(r)] = sum;
  }
#pragma unroll
  for (int c = 0; c < SimilarityTile::kC; ++c) {
    float sum = 0;
    for (int r = 0; r < SimilarityTile::kR; ++r) sum += e.at(r, c);
    for (int lanes = 4; lanes < 32; lanes *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, lanes);
    if (lane < 4) shared.column[warp / 4][SimilarityTile::column(c)] = sum;
  }
  __syncthreads();
  const int k = thread % kTile;
  if (thread < kTile)
    own[row + k] += (shared.row[0][k] + shared.row[1][k]) + (shared.row[2][k] + shared.row[3][k]);
  else if (thread < 2 * kTile && row != column)
    own[column + k] += shared.column[0][k] + shared.column[1][k];
}

/// Step 4's end of the forward pass, which step 5 has too: the sums of all pieces [pieces, padded_M], and the loss.
void finish_loss(Queue& queue, const NtXentShape& shape, const float* sums, const float* positive, float* inverse,
                 float* loss_of_row, float* loss);

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
