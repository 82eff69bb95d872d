// Linear on the cpu device: three matrix products on one register tile (kernels/common/gemm_tile.h).
//
//   forward          y  [M, D_out]    = bias + x · w
//   input gradient   dx [M, D_in]     = dy · wᵀ
//   weight gradient  dw [D_in, D_out] = xᵀ · dy
//
// The right matrix is packed into column panels by all threads; then all threads work on (block of rows, panel) units.
// The sum of an element is never cut, so there is nothing to combine and no dependence on the number of threads.

#include <algorithm>

#include "kernels/common/column_sums.h"
#include "kernels/common/gemm_tile.h"
#include "kernels/common/parallel.h"
#include "kernels/common/series_cpu.h"
#include "kernels/linear/linear.h"

namespace systole::kernels::cpu {
namespace {

// Slots of thread_scratch.
constexpr int kPacked = 0;  // of the calling thread, read by all: the packed right matrix
constexpr int kBlock = 1;   // of each thread: a block of xᵀ

// Rows of C that one unit of work computes: 16 tiles, enough to pay for fetching a panel.
constexpr int kRowBlock = 16 * kTileRows;

/// The right matrix of a product, b[d · depth_stride + j · column_stride].
struct RightMatrix {
  int64_t depth;
  int columns;
  const float* b;
  ptrdiff_t depth_stride, column_stride;
};

const float* pack(const RightMatrix& right) {
  float* packed = thread_scratch(kPacked, packed_size(right.depth, right.columns));
  parallel_for(panel_count(right.columns), [&](int64_t p) {
    pack_panel(right.depth, panel_columns(right.columns, static_cast<int>(p)),
               right.b + p * kTileColumns * right.column_stride, right.depth_stride, right.column_stride,
               packed + p * right.depth * kTileColumns);
  });
  return packed;
}

/// c [M, columns] = add + a [M, depth] · right
void multiply(int M, const float* a, const RightMatrix& right, const float* bias, GradientMode mode, float* c) {
  const float* packed = pack(right);
  const ptrdiff_t C = right.columns;
  const int64_t panels = panel_count(right.columns);
  const int64_t blocks = (M + kRowBlock - 1) / kRowBlock;
  parallel_for(blocks * panels, [&](int64_t unit) {
    const int64_t row = unit / panels * kRowBlock;
    const int64_t p = unit % panels;
    PanelOutput to{c + row * C + p * kTileColumns, C};
    if (bias) {
      to.add = bias + p * kTileColumns;
    } else if (mode == GradientMode::accumulate) {
      to.add = to.c;
      to.add_row = C;
    }
    multiply_panel(std::min<int64_t>(kRowBlock, M - row), panel_columns(right.columns, static_cast<int>(p)),
                   static_cast<int>(right.depth), a + row * right.depth, right.depth,
                   packed + p * right.depth * kTileColumns, to);
  });
}

int64_t weights_of(const LinearShape& s) {
  return int64_t{s.D_in} * s.D_out;
}

void forward(Queue& queue, const LinearShape& s, const float* x, const float* w, const float* bias, float* y) {
  const Rounded x_factors(queue.precision(), x, int64_t{s.M} * s.D_in), w_factors(queue.precision(), w, weights_of(s));
  multiply(s.M, x_factors, {s.D_in, s.D_out, w_factors, s.D_out, 1}, bias, GradientMode::overwrite, y);
}

void input_gradient(Queue& queue, const LinearShape& s, const float* dy, const float* w, float* dx, GradientMode mode) {
  const Rounded dy_factors(queue.precision(), dy, int64_t{s.M} * s.D_out);
  const Rounded w_factors(queue.precision(), w, weights_of(s));
  multiply(s.M, dy_factors, {s.D_out, s.D_in, w_factors, 1, s.D_out}, nullptr, mode, dx);
}

/// c[r, columns] = add[r, columns] + Σ_d block[d, r] · panel[d, columns] for `rows` columns r of a block [depth,
/// kRowBlock].
void multiply_transposed(int rows, int depth, const float* block, const float* panel, int columns, PanelOutput to) {
  for (int row = 0; row < rows; row += kTileRows) {
    const int count = std::min(kTileRows, rows - row);
    Tile tile{{}, kRowBlock, panel, depth, to.add, to.add_row, to.c, to.c_row};
    for (int r = 0; r < count; ++r) tile.rows[r] = block + row + r;
    multiply_tile(tile, count, columns);
    to.c += kTileRows * to.c_row;
    if (to.add) to.add += kTileRows * to.add_row;
  }
}

/// Rows [first, first + rows) of some panels of dw. Each block of x is copied: its rows as they lie are a large power
/// of two apart and would meet in a few sets of the cache.
void weight_gradient_rows(const LinearShape& s, const float* x, const float* packed_dy, int first, int rows,
                          const Range& panels, GradientMode mode, float* dw) {
  float* block = thread_scratch(kBlock, size_t{kDepthBlock} * kRowBlock);
  const int64_t blocks = (s.M + kDepthBlock - 1) / kDepthBlock;
  for (int64_t i = 0; i < blocks; ++i) {
    const Range range = piece_of(s.M, blocks, i);
    const int depth = static_cast<int>(range.end - range.begin);
    for (int d = 0; d < depth; ++d) std::copy_n(x + (range.begin + d) * s.D_in + first, rows, block + d * kRowBlock);
    const bool add = i > 0 || mode == GradientMode::accumulate;
    for (int64_t p = panels.begin; p < panels.end; ++p) {
      const int columns = panel_columns(s.D_out, static_cast<int>(p));
      const float* panel = packed_dy + p * s.M * kTileColumns + range.begin * panel_width(columns);
      float* c = dw + ptrdiff_t{first} * s.D_out + p * kTileColumns;
      multiply_transposed(rows, depth, block, panel, columns, {c, s.D_out, add ? c : nullptr, s.D_out});
    }
  }
}

void bias_gradient(const LinearShape& s, const float* dy, float* dbias, GradientMode mode) {
  if (mode == GradientMode::overwrite) {
    sum_columns(dy, s.M, s.D_out, s.D_out, dbias);
    return;
  }
  float* sum = thread_scratch(kBlock, static_cast<size_t>(s.D_out));
  sum_columns(dy, s.M, s.D_out, s.D_out, sum);
  for (int o = 0; o < s.D_out; ++o) dbias[o] += sum[o];
}

void weight_gradient(Queue& queue, const LinearShape& s, const float* x, const float* dy, float* dw, float* dbias,
                     GradientMode mode) {
  const Rounded x_factors(queue.precision(), x, int64_t{s.M} * s.D_in);
  const Rounded dy_factors(queue.precision(), dy, int64_t{s.M} * s.D_out);
  const float* packed_dy = pack({s.M, s.D_out, dy_factors, s.D_out, 1});
  const int panels = panel_count(s.D_out);
  const int blocks = (s.D_in + kRowBlock - 1) / kRowBlock;
  const int groups = std::clamp(4 * threads() / blocks, 1, panels);  // of panels: enough units for all threads
  parallel_for(int64_t{blocks} * groups, [&](int64_t unit) {
    const int first = static_cast<int>(unit / groups) * kRowBlock;
    const int rows = std::min(kRowBlock, s.D_in - first);
    weight_gradient_rows(s, x_factors, packed_dy, first, rows, piece_of(panels, groups, unit % groups), mode, dw);
  });
  if (dbias) bias_gradient(s, dy, dbias, mode);
}

}  // namespace

extern const LinearKernels linear{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::cpu
