// The register tile that every matrix product of the cpu device is made of, and the two layers around it:
//
//   tile   C[R, V vectors] = add + Σ_d A[r, d] · B[d, columns], up to 6 rows; its R · V sums stay in registers
//   panel  tiles below each other, all columns of one panel; the depth is cut so that the panel's part stays in L1
//   pack   B as panels [depth, up to kTileColumns]: column blocks of B whose rows follow each other in memory
//
// The scheme is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS 34(3), 2008,
// with A read where it lies: its element (r, d) is rows[r][d · step], so A may be a matrix, its transpose, or
// overlapping windows.
//
// Every element of C is one chain of fused multiply-adds per depth block, in ascending depth, whatever tile it falls
// into: a product cut differently among threads has the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/simd.h"

namespace systole::kernels::cpu {

// 6 · 2 sums, 2 vectors of B and one element of A fill 15 of 16 registers; 6 · 4 + 4 + 1 fill 29 of 32.
inline constexpr int kTileRows = 6;
inline constexpr int kTileVectors = kVectorRegisters == 32 ? 4 : 2;
inline constexpr int kTileColumns = kTileVectors * kWidth;

// A panel's part of this many floats (16 KB of a 32 KB L1, 24 KB of 48 KB) is reused by all row tiles.
inline constexpr int kPanelFloats = kTileColumns > 32 ? 6144 : 4096;
inline constexpr int kDepthBlock = kPanelFloats / kTileColumns;

/// One tile: c[r, j] = add[r, j] + Σ_{d < depth} rows[r][d · step] · panel[d, j].
struct Tile {
  const float* rows[kTileRows];
  ptrdiff_t step;      // from one depth to the next, in floats
  const float* panel;  // [depth, columns rounded up to whole vectors]
  int depth;
  const float* add;  // [rows, columns]: null adds nothing; may be c itself
  ptrdiff_t add_row;
  float* c;  // [rows, columns]
  ptrdiff_t c_row;
};

/// Computes a tile of 1 … kTileRows rows and 1 … kTileColumns columns. Nothing outside of them is read or written.
void multiply_tile(const Tile& tile, int rows, int columns);

/// Where a panel product adds to and writes: c[r, j] at c + r · c_row + j; `add` as in Tile.
struct PanelOutput {
  float* c;
  ptrdiff_t c_row;
  const float* add = nullptr;
  ptrdiff_t add_row = 0;
};

/// c[r, j] = add[r, j] + Σ_{d < depth} a[r · a_row + d] · panel[d, j] for `rows` rows and the `columns` of one panel.
void multiply_panel(int64_t rows, int columns, int depth, const float* a, ptrdiff_t a_row, const float* panel,
                    const PanelOutput& output);

/// Column panels of a matrix with `columns` columns: panel p holds columns [p · kTileColumns, …).
inline int panel_count(int columns) {
  return (columns + kTileColumns - 1) / kTileColumns;
}
inline int panel_columns(int columns, int panel) {
  const int rest = columns - panel * kTileColumns;
  return rest < kTileColumns ? rest : kTileColumns;
}
/// Floats between the rows of a packed panel: its columns rounded up to whole vectors.
inline int panel_width(int columns) {
  return (columns + kWidth - 1) / kWidth * kWidth;
}
/// Size of all panels of a packed matrix; panel p starts at p · depth · kTileColumns.
inline size_t packed_size(int64_t depth, int columns) {
  return static_cast<size_t>(depth) * static_cast<size_t>(panel_width(columns));
}

/// panel[d, j] = b[d · depth_stride + j · column_stride], zero in the columns that fill up the last vector.
void pack_panel(int64_t depth, int columns, const float* b, ptrdiff_t depth_stride, ptrdiff_t column_stride,
                float* panel);

}  // namespace systole::kernels::cpu
