// NT-Xent on the CPU, tile by tile (contrastive.h has the formulas, README.md derives them).
// Forward: the tiles on and above the diagonal. One above it gives row sums for its rows and, since S is symmetric, for
// its columns. A fixed number of pieces of that triangle have sums of their own, which are added in order.
// Backward: stripes of rows against all columns; a tile of S again, its weights in place, then the product with Z.
// Exponents are in units of ln 2: one multiply-add and one exp2 make a term, e_ij = 2^(scale·s_ij + offset).

#include "kernels/contrastive/nt_xent_cpu.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/contrastive/exp2.h"
#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/similarity_tiles.h"

namespace systole::kernels::cpu {
namespace {

namespace stdx = std::experimental;

enum Slot { kTileSlot = 2, kGradientSlot = 3, kNormalizerSlot = 4 };

constexpr int kForwardPieces = 64;    // one vector of sums each: 512 bytes per row
constexpr int kBackwardStripes = 32;  // at least, while they have kTileRows rows

/// row[j] = 2^(scale·row[j] + offset) for `columns` columns; 0 in column `masked` and in the rest of the last vector.
void exponentiate(float* row, int columns, int masked, float scale, float offset) {
  for (int j = 0; j < columns; j += kWidth) store(exp2(load(row + j) * scale + offset), row + j);
  std::fill(row + columns, row + panel_width(columns), 0.0f);
  if (masked >= 0 && masked < columns) row[masked] = 0;
}

/// Keeps s_ip(i) where a tile has row i of the first view, and its partner as a column. Rows of the second add nothing.
void keep_positives(int M, const float* tile, int row, int rows, int column, int columns,
                    float* positive) {  // [M / 2]
  for (int i = 0; i < std::min(rows, M / 2 - row); ++i) {
    const int partner = row + i + M / 2 - column;
    if (partner >= 0 && partner < columns) positive[row + i] = tile[i * kTile + partner];
  }
}

/// Adds the sums of a tile of S to its rows and, off the diagonal, to its columns.
void add_tile_sums(const SimilarityRows& z, const Exponent& exponent, int row, int column, float* tile,
                   double* sums,       // [M]
                   float* positive) {  // [M / 2]
  const int rows = std::min(kTile, z.M - row), columns = z.columns_from(column);
  const int vectors = panel_width(columns) / kWidth;
  std::array<Vector, kTile / kWidth> column_sum;
  column_sum.fill(0);

  dot_tile(z, row, rows, column, tile);
  keep_positives(z.M, tile, row, rows, column, columns, positive);
  for (int i = 0; i < rows; ++i) {
    float* e = tile + i * kTile;
    exponentiate(e, columns, row + i - column, exponent.scale, exponent.offset);
    Vector row_sum = 0;
    for (int v = 0; v < vectors; ++v) {
      row_sum += load(e + v * kWidth);
      column_sum[v] += load(e + v * kWidth);
    }
    sums[row + i] += stdx::reduce(row_sum);
  }
  if (row == column) return;
  for (int j = 0; j < columns; ++j) sums[column + j] += column_sum[j / kWidth][j % kWidth];
}

/// The tiles `range` of the triangle, counted row of tiles after row of tiles.
void add_triangle_sums(const SimilarityRows& z, const Exponent& exponent, Range range, double* sums, float* positive) {
  const int tiles = z.tiles();
  float* tile = thread_scratch(kTileSlot, kTile * kTile);
  int64_t index = 0;
  for (int I = 0; I < tiles; ++I)
    for (int J = I; J < tiles; ++J, ++index)
      if (index >= range.begin && index < range.end)
        add_tile_sums(z, exponent, I * kTile, J * kTile, tile, sums, positive);
}

/// What the forward pass finds.
struct RowSums {
  std::vector<double> log_sum;  // [M]
  std::vector<float> positive;  // [M / 2] s_ip(i), as the tiles have it: its rounding cancels in log_sum − c·s_ip
};

/// The sums with the constant offset, from half of the tiles.
RowSums sum_by_symmetry(const SimilarityRows& z, const Exponent& exponent) {
  const int64_t tiles = z.tiles(), triangle = tiles * (tiles + 1) / 2;
  const int64_t pieces = std::min<int64_t>(kForwardPieces, triangle);
  RowSums result{std::vector<double>(z.M), std::vector<float>(z.M / 2)};
  std::vector<double> sums(pieces * z.M);  // [pieces, M]
  parallel_for(pieces, [&](int64_t piece) {
    add_triangle_sums(z, exponent, piece_of(triangle, pieces, piece), sums.data() + piece * z.M,
                      result.positive.data());
  });
  parallel_for(z.M, [&](int64_t i) {
    double sum = 0;
    for (int64_t piece = 0; piece < pieces; ++piece) sum += sums[piece * z.M + i];
    result.log_sum[i] = std::log(sum) - exponent.shift * std::numbers::ln2;
  });
  return result;
}

/// A sum of powers of two that is rescaled when a larger exponent arrives: Σ 2^x = sum · 2^largest.
struct RunningSum {
  float largest = -std::numeric_limits<float>::infinity();
  double sum = 0;

  /// Adds 2^(scale·s_j + offset) for the columns j of one row of a tile of S, without column `masked`.
  void add(float* s, int columns, int masked, const Exponent& exponent) {
    if (masked >= 0 && masked < columns) s[masked] = -2;  // below every similarity
    for (int j = 0; j < columns; ++j) s[j] = s[j] * exponent.scale + exponent.offset;
    const float top = *std::max_element(s, s + columns);
    if (top > largest) {
      sum *= std::exp2(double{largest} - top);
      largest = top;
    }
    exponentiate(s, columns, masked, 1, -largest);
    for (int j = 0; j < columns; ++j) sum += s[j];
  }
};

/// One stripe of rows with an offset per row: all columns, since e_ij is no longer symmetric.
void sum_stripe(const SimilarityRows& z, const Exponent& exponent, int row, RowSums& result) {
  const int rows = std::min(kTile, z.M - row);
  float* tile = thread_scratch(kTileSlot, kTile * kTile);
  std::array<RunningSum, kTile> running;
  for (int column = 0; column < z.M; column += kTile) {
    const int columns = z.columns_from(column);
    dot_tile(z, row, rows, column, tile);
    keep_positives(z.M, tile, row, rows, column, columns, result.positive.data());
    for (int i = 0; i < rows; ++i) running[i].add(tile + i * kTile, columns, row + i - column, exponent);
  }
  for (int i = 0; i < rows; ++i)
    result.log_sum[row + i] = std::log(running[i].sum) + running[i].largest * std::numbers::ln2;
}

RowSums sum_by_stripes(const SimilarityRows& z, const Exponent& exponent) {
  RowSums result{std::vector<double>(z.M), std::vector<float>(z.M / 2)};
  parallel_for(z.tiles(), [&](int64_t stripe) { sum_stripe(z, exponent, static_cast<int>(stripe) * kTile, result); });
  return result;
}

/// (1/M) Σ_i [ log_sum_i − c (s_ip(i) − 1) ], pair by pair.
float mean_loss(const Exponent& exponent, const RowSums& sums) {
  const size_t N = sums.positive.size();
  double sum = 0;
  for (size_t i = 0; i < N; ++i) {
    const double logit = double{exponent.scale} * (double{sums.positive[i]} - 1) * std::numbers::ln2;
    sum += sums.log_sum[i] + sums.log_sum[i + N] - 2 * logit;
  }
  return static_cast<float>(sum / (2.0 * static_cast<double>(N)));
}

/// What a row's sum becomes for the weights: 1/r_i in the scale of e_ij, or its logarithm in units of ln 2; 0 beyond M.
float* normalizers(const SimilarityRows& z, const Exponent& exponent, const float* log_sum) {
  float* result = thread_scratch(kNormalizerSlot, panel_width(z.M));
  for (int i = 0; i < z.M; ++i) {
    const double log2_sum = log_sum[i] * std::numbers::log2e;
    result[i] = static_cast<float>(exponent.offset_per_row ? log2_sum : std::exp2(-log2_sum - exponent.shift));
  }
  std::fill(result + z.M, result + panel_width(z.M), 0.0f);
  return result;
}

/// s[j] becomes e_ij (1/r_i + 1/r_j), the derivative of M·loss/c by s_ij without its positives.
void weigh(const Exponent& exponent, float own, const float* others, int columns, float* s) {
  const float scale = exponent.scale;
  for (int j = 0; j < columns; j += kWidth) {
    const Vector logit = load(s + j) * scale + exponent.offset, other = load(others + j);
    const Vector weight =
        exponent.offset_per_row ? exp2(logit - own) + exp2(logit - other) : exp2(logit) * (own + other);
    store(weight, s + j);
  }
}

/// out [rows, D] = Σ_j w_ij z_j over all columns, for the rows from `row`.
void gradient_of_stripe(const SimilarityRows& z, const Exponent& exponent, const float* normalizer, int row, int rows,
                        float* out) {
  float* tile = thread_scratch(kTileSlot, kTile * kTile);
  std::fill_n(out, size_t(rows) * z.D, 0.0f);
  for (int column = 0; column < z.M; column += kTile) {
    const int columns = z.columns_from(column);
    dot_tile(z, row, rows, column, tile);
    for (int i = 0; i < rows; ++i) {
      float* w = tile + i * kTile;
      weigh(exponent, normalizer[row + i], normalizer + column, columns, w);
      const int self = row + i - column, partner = (row + i + z.M / 2) % z.M - column;
      if (self >= 0 && self < columns) w[self] = 0;
      if (partner >= 0 && partner < columns) w[partner] -= 2;  // here, where what remains is small and exact
    }
    mix_tile(z, tile, rows, column, out);
  }
}

/// Whole register tiles, at most a tile; fewer where M is small, so that many cores have work.
int rows_of_stripe(int M) {
  const int rows = (M / kBackwardStripes + kTileRows - 1) / kTileRows * kTileRows;
  return std::clamp(rows, kTileRows, kTile / kTileRows * kTileRows);
}

}  // namespace

void nt_xent_forward(Queue&, const NtXentShape& shape, const float* z, float* loss, float* log_sum) {
  check(shape);
  const Exponent exponent = exponent_of(shape.temperature);
  const SimilarityRows packed = pack_for_dot(shape.M, shape.D, z);
  const RowSums sums = exponent.offset_per_row ? sum_by_stripes(packed, exponent) : sum_by_symmetry(packed, exponent);
  *loss = mean_loss(exponent, sums);
  std::copy(sums.log_sum.begin(), sums.log_sum.end(), log_sum);
}

void nt_xent_backward(Queue&, const NtXentShape& shape, const float* z, const float* log_sum, const float* upstream,
                      float* dz, GradientMode mode) {
  check(shape);
  const Exponent exponent = exponent_of(shape.temperature);
  const SimilarityRows packed = pack_for_dot_and_mix(shape.M, shape.D, z);
  const float* normalizer = normalizers(packed, exponent, log_sum);
  const auto factor = static_cast<float>(double{*upstream} / shape.temperature / shape.M);
  const int D = shape.D, stripe_rows = rows_of_stripe(shape.M);

  parallel_for((shape.M + stripe_rows - 1) / stripe_rows, [&](int64_t stripe) {
    const int row = static_cast<int>(stripe) * stripe_rows, rows = std::min(stripe_rows, shape.M - row);
    float* out = thread_scratch(kGradientSlot, size_t(stripe_rows) * D);
    gradient_of_stripe(packed, exponent, normalizer, row, rows, out);
    float* target = dz + int64_t{row} * D;
    if (mode == GradientMode::overwrite) std::fill_n(target, rows * D, 0.0f);
    for (int k = 0; k < rows * D; ++k) target[k] += factor * out[k];
  });
}

}  // namespace systole::kernels::cpu
