#include "kernels/common/gemm_tile.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/common/parallel.h"

namespace systole::kernels::cpu {
namespace {

/// The inner loop of everything: per depth V loads of B, R broadcasts of A and R·V multiply-adds. `add` comes last, so
/// that its cache misses hide behind the sums.
template <int R, int V>
void tile_of(const Tile& tile) {
  Vector sum[R][V] = {};
  const float* rows[R];
  std::copy_n(tile.rows, R, rows);
  const float* b = tile.panel;
  const ptrdiff_t end = tile.depth * tile.step;
  for (ptrdiff_t at = 0; at != end; at += tile.step, b += V * kWidth) {
    Vector column[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) column[v] = load(b + v * kWidth);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Vector a = rows[r][at];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(a, column[v], sum[r][v]);
    }
  }
  if (const float* add = tile.add) {
    const ptrdiff_t add_row = tile.add_row;
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += load(add + r * add_row + v * kWidth);
  }
  float* c = tile.c;
  const ptrdiff_t c_row = tile.c_row;
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(sum[r][v], c + r * c_row + v * kWidth);
}

using TileFunction = void (*)(const Tile&);

template <int... I>
constexpr std::array<TileFunction, sizeof...(I)> tile_functions(std::integer_sequence<int, I...>) {
  return {tile_of<I / kTileVectors + 1, I % kTileVectors + 1>...};
}

constexpr auto kTileFunctions = tile_functions(std::make_integer_sequence<int, kTileRows * kTileVectors>());

/// A tile whose last vector is not full goes through a buffer.
void multiply_partial_tile(const Tile& tile, int rows, int columns, TileFunction function) {
  float buffer[kTileRows * kTileColumns];
  Tile whole = tile;
  whole.add = nullptr;
  whole.c = buffer;
  whole.c_row = kTileColumns;
  function(whole);
  for (int r = 0; r < rows; ++r) {
    for (int j = 0; j < columns; ++j) {
      const float sum = buffer[r * kTileColumns + j];
      tile.c[r * tile.c_row + j] = tile.add ? tile.add[r * tile.add_row + j] + sum : sum;
    }
  }
}

}  // namespace

void multiply_tile(const Tile& tile, int rows, int columns) {
  const int vectors = panel_width(columns) / kWidth;
  const TileFunction function = kTileFunctions[static_cast<size_t>((rows - 1) * kTileVectors + vectors - 1)];
  if (columns == vectors * kWidth)
    function(tile);
  else
    multiply_partial_tile(tile, rows, columns, function);
}

void multiply_panel(int64_t rows, int columns, int depth, const float* a, ptrdiff_t a_row, const float* panel,
                    const PanelOutput& output) {
  const int width = panel_width(columns);
  const int blocks = std::max(1, (depth + kDepthBlock - 1) / kDepthBlock);
  for (int block = 0; block < blocks; ++block) {
    const Range range = piece_of(depth, blocks, block);
    const PanelOutput& to = output;
    const float* add = block == 0 ? to.add : to.c;
    const ptrdiff_t add_row = block == 0 ? to.add_row : to.c_row;
    for (int64_t row = 0; row < rows; row += kTileRows) {
      const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows - row));
      Tile tile{{},
                1,
                panel + range.begin * width,
                static_cast<int>(range.end - range.begin),
                add ? add + row * add_row : nullptr,
                add_row,
                to.c + row * to.c_row,
                to.c_row};
      for (int r = 0; r < count; ++r) tile.rows[r] = a + (row + r) * a_row + range.begin;
      multiply_tile(tile, count, columns);
    }
  }
}

void pack_panel(int64_t depth, int columns, const float* b, ptrdiff_t depth_stride, ptrdiff_t column_stride,
                float* panel) {
  const int width = panel_width(columns);
  for (int64_t d = 0; d < depth; ++d, b += depth_stride, panel += width) {
    if (column_stride == 1)
      std::copy_n(b, columns, panel);
    else
      for (int j = 0; j < columns; ++j) panel[j] = b[j * column_stride];
    std::fill(panel + columns, panel + width, 0.0f);
  }
}

}  // namespace systole::kernels::cpu
