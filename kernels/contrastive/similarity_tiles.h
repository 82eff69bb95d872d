// Tiles of the similarity matrix S = Z Zᵀ, one at a time: what every loss over pairs of rows is built from.
//   dot:  tile[i, j] = z_i · z_j                 i from `row`, j from `column`
//   mix:  out[i, :] += Σ_j tile[i, j] z_j        the gradient's product, once the tile holds weights
// Both are products of kernels/common/gemm_tile.h, for which Z is packed twice: its rows as columns, and as it is.
#pragma once

#include <algorithm>

#include "kernels/common/gemm_tile.h"

namespace systole::kernels::cpu {

inline constexpr int kTile = 128;  // rows and columns of a tile: 64 KB
static_assert(kTile % kTileColumns == 0 && kTile % kWidth == 0);

/// Z [M, D] with the panels that the tiles read; they live in the scratch memory of the thread that packed them. For a
/// loss over two sets the columns are packed, and z is set to the rows.
struct SimilarityRows {
  int M, D;
  const float* z;                     // [M, D]
  const float* dot_panels;            // Zᵀ: [panel_count(M)][D, kTileColumns]
  const float* mix_panels = nullptr;  // Z: [panel_count(D)][M, kTileColumns]

  int tiles() const { return (M + kTile - 1) / kTile; }
  int columns_from(int column) const { return std::min(kTile, M - column); }
};

/// Packs for dot_tile alone, or for mix_tile too.
SimilarityRows pack_for_dot(int M, int D, const float* z);
SimilarityRows pack_for_dot_and_mix(int M, int D, const float* z);

/// tile [rows, columns_from(column)], kTile floats from row to row; `column` is a multiple of kTile. Columns are
/// rounded up to a whole vector with zeros.
void dot_tile(const SimilarityRows& s, int row, int rows, int column, float* tile);

/// Adds to out [rows, D] the product of the tile's weights with the rows of Z from `column` on.
void mix_tile(const SimilarityRows& s, const float* tile, int rows, int column, float* out);

}  // namespace systole::kernels::cpu
