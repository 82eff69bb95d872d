// How losses over pairs of rows go over the pairs on the CPU: in stripes of rows, each of which sees all columns, one
// tile of S after the other. A loss says what becomes of row i's similarities with the columns of a tile:
//   sum_rows   add(i, columns, s, sums) adds them to the row's sums
//   mix_rows   weigh(i, columns, s) turns them into weights; dx_i = factor · Σ_j w_ij y_j
// It treats all pairs alike in vector code. The few that are not alike, a row with itself and the positives, are
// visited one by one: the columns are sorted by their ids once, so that a row finds its own without looking at the
// others.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/similarity_tiles.h"

namespace systole::kernels::cpu {

enum WalkSlot { kTileSlot = 2, kGradientSlot = 3, kFirstSlotOfLoss = 4 };

/// Columns [first, first + count) of a tile.
struct Columns {
  int first, count;
};

/// Which pairs are positives, and which are none.
class Pairs {
 public:
  Pairs(const PairShape& shape, const int32_t* row_ids, const int32_t* column_ids)
      : shape_(shape), row_ids_(row_ids), column_ids_(column_ids), by_id_(static_cast<size_t>(shape.B)) {
    std::iota(by_id_.begin(), by_id_.end(), 0);
    std::stable_sort(by_id_.begin(), by_id_.end(), [&](int a, int b) { return column_ids[a] < column_ids[b]; });
  }

  /// Calls visit(j) for the positives of row i among the columns, ascending; j counts from the first of them.
  template <class Visit>
  void for_each_positive(int i, const Columns& columns, const Visit& visit) const {
    const auto begin = std::partition_point(by_id_.begin(), by_id_.end(), [&](int j) {
      return column_ids_[j] != row_ids_[i] ? column_ids_[j] < row_ids_[i] : j < columns.first;
    });
    for (auto j = begin; j != by_id_.end(); ++j) {
      if (*j >= columns.first + columns.count || column_ids_[*j] != row_ids_[i]) break;
      if (*j != self_of(i)) visit(*j - columns.first);
    }
  }

  /// values[j] = value where the column is row i itself.
  void fill_self(int i, const Columns& columns, float value, float* values) const {
    const int64_t self = self_of(i) - columns.first;
    if (self >= 0 && self < columns.count) values[self] = value;
  }

 private:
  /// The column that is row i itself, or one that is not there.
  int64_t self_of(int i) const {
    return shape_.same_rows ? int64_t{shape_.first_row} + i - shape_.first_column : int64_t{-1};
  }

  const PairShape& shape_;
  const int32_t *row_ids_, *column_ids_;
  std::vector<int> by_id_;  // the columns, by id and then ascending
};

/// The sum of a row's terms in a tile, in an array of whole vectors that is filled up with zeros.
inline float sum_of_terms(const Columns& columns, float* terms) {
  std::fill(terms + columns.count, terms + panel_width(columns.count), 0.0f);
  Vector sum = 0;
  for (int j = 0; j < columns.count; j += kWidth) sum += load(terms + j);
  return std::experimental::reduce(sum);
}

/// Calls body(first row, rows) for all stripes: whole register tiles, at most a tile; fewer where A is small, so that
/// many cores have work.
template <class Body>
void for_each_stripe(int A, const Body& body) {
  constexpr int kStripes = 32;  // at least, while they have kTileRows rows
  const int wanted = (A / kStripes + kTileRows - 1) / kTileRows * kTileRows;
  const int stripe_rows = std::clamp(wanted, kTileRows, kTile / kTileRows * kTileRows);
  parallel_for((A + stripe_rows - 1) / stripe_rows, [&](int64_t stripe) {
    const int row = static_cast<int>(stripe) * stripe_rows;
    body(row, std::min(stripe_rows, A - row));
  });
}

/// Calls body(columns, tile) for all tiles of a stripe; the tile of S may be overwritten.
template <class Body>
void for_each_tile(const SimilarityRows& s, int row, int rows, const Body& body) {
  float* tile = thread_scratch(kTileSlot, kTile * kTile);
  for (int column = 0; column < s.M; column += kTile) {
    dot_tile(s, row, rows, column, tile);
    body(Columns{column, s.columns_from(column)}, tile);
  }
}

/// Adds all columns to the sums of each row, and calls finish(i, sums).
template <class Sums, class Add, class Finish>
void sum_rows(const PairShape& shape, const float* x, const float* y, const Add& add, const Finish& finish) {
  SimilarityRows s = pack_for_dot(shape.B, shape.D, y);
  s.z = x;
  for_each_stripe(shape.A, [&](int row, int rows) {
    std::array<Sums, kTile> sums{};
    for_each_tile(s, row, rows, [&](const Columns& columns, float* tile) {
      for (int i = 0; i < rows; ++i) add(row + i, columns, tile + i * kTile, sums[i]);
    });
    for (int i = 0; i < rows; ++i) finish(row + i, sums[i]);
  });
}

/// dx [A, D] (+)= factor · Σ_j w_ij y_j.
template <class Weigh>
void mix_rows(const PairShape& shape, const float* x, const float* y, const Weigh& weigh, float factor, float* dx,
              GradientMode mode) {
  SimilarityRows s = pack_for_dot_and_mix(shape.B, shape.D, y);
  s.z = x;
  for_each_stripe(shape.A, [&](int row, int rows) {
    const int64_t count = int64_t{rows} * shape.D;
    float* out = thread_scratch(kGradientSlot, static_cast<size_t>(count));
    std::fill_n(out, count, 0.0f);
    for_each_tile(s, row, rows, [&](const Columns& columns, float* tile) {
      for (int i = 0; i < rows; ++i) weigh(row + i, columns, tile + i * kTile);
      mix_tile(s, tile, rows, columns.first, out);
    });
    float* target = dx + int64_t{row} * shape.D;
    if (mode == GradientMode::overwrite) std::fill_n(target, count, 0.0f);
    for (int64_t k = 0; k < count; ++k) target[k] += factor * out[k];
  });
}

}  // namespace systole::kernels::cpu
