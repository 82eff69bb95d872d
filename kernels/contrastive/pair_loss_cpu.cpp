// Losses over pairs of rows on the CPU, tile by tile (pair_loss.h has the formulas).
// Both passes go over stripes of rows; a stripe sees all columns, one tile of S after the other. Vector code treats all
// pairs of a tile alike. The few that are not alike, a row with itself and the positives, are visited one by one: the
// columns are sorted by their ids once, so that a row finds its own without looking at the others.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <span>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/contrastive/exp2.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/similarity_tiles.h"

namespace systole::kernels::cpu {
namespace {

namespace stdx = std::experimental;

enum Slot { kTileSlot = 2, kGradientSlot = 3, kRowFactorSlot = 4, kColumnFactorSlot = 5 };

constexpr int kStripes = 32;        // at least, while they have kTileRows rows
constexpr int64_t kDotPieces = 64;  // of the sum over all numbers of x and dx

/// Whole register tiles, at most a tile; fewer where A is small, so that many cores have work.
int rows_of_stripe(int A) {
  const int rows = (A / kStripes + kTileRows - 1) / kTileRows * kTileRows;
  return std::clamp(rows, kTileRows, kTile / kTileRows * kTileRows);
}

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

  /// values[j] = value for the columns that are not in row i's denominator.
  void fill_outside(int i, const Columns& columns, float value, float* values) const {
    const int self = self_of(i) - columns.first;
    if (self >= 0 && self < columns.count) values[self] = value;
    if (!shape_.positives_in_denominator) for_each_positive(i, columns, [&](int j) { values[j] = value; });
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

/// The tiles of S have x's rows and y's as columns.
SimilarityRows similarities(SimilarityRows columns, const float* x) {
  columns.z = x;
  return columns;
}

/// row[j] = 2^(scale·row[j] + offset).
void exponentiate(float* row, int columns, float scale, float offset) {
  for (int j = 0; j < columns; j += kWidth)
    store(exp2(multiply_add(load(row + j), Vector(scale), Vector(offset))), row + j);
}

/// PairSums with sums in double.
struct RowSums {
  float largest = -std::numeric_limits<float>::infinity();
  double sum = 0, positive = 0;
  int32_t positives = 0;

  /// Adds terms · 2^exponent; rescales when the exponent is the largest so far.
  void add(float exponent, double terms) {
    if (terms == 0) return;
    if (exponent > largest) {
      sum *= std::exp2(double{largest} - exponent);
      largest = exponent;
    }
    sum += terms * std::exp2(double{exponent} - largest);
  }
  void add(const PairSums& other) {
    add(other.largest, other.sum);
    positive += other.positive;
    positives += other.positives;
  }
  PairSums rounded() const {
    return {sum > 0 ? largest : 0.0f, static_cast<float>(sum), static_cast<float>(positive), positives};
  }
};

/// Adds row i of a tile of S, which is overwritten.
void add_row(const Pairs& pairs, const Exponent& exponent, int i, const Columns& columns, float* s, RowSums& sums) {
  pairs.for_each_positive(i, columns, [&](int j) {
    sums.positive += double{s[j]} - 1;
    ++sums.positives;
  });
  float largest = 0;
  if (exponent.offset_per_row) {
    for (int j = 0; j < columns.count; ++j) s[j] = s[j] * exponent.scale + exponent.offset;
    pairs.fill_outside(i, columns, -std::numeric_limits<float>::infinity(), s);
    largest = *std::max_element(s, s + columns.count);
    if (std::isinf(largest)) return;  // nothing in the denominator
    exponentiate(s, columns.count, 1, -largest);
  } else {
    exponentiate(s, columns.count, exponent.scale, exponent.offset);
  }
  pairs.fill_outside(i, columns, 0, s);
  std::fill(s + columns.count, s + panel_width(columns.count), 0.0f);
  Vector terms = 0;
  for (int j = 0; j < columns.count; j += kWidth) terms += load(s + j);
  sums.add(largest, stdx::reduce(terms));
}

void pair_sums(Queue&, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
               const int32_t* column_ids, PairSums* sums, GradientMode mode) {
  check(shape);
  const Exponent exponent = exponent_of(shape.temperature);
  const Pairs pairs(shape, row_ids, column_ids);
  const SimilarityRows s = similarities(pack_for_dot(shape.B, shape.D, y), x);
  const int stripe_rows = rows_of_stripe(shape.A);

  parallel_for((shape.A + stripe_rows - 1) / stripe_rows, [&](int64_t stripe) {
    const int row = static_cast<int>(stripe) * stripe_rows, rows = std::min(stripe_rows, shape.A - row);
    float* tile = thread_scratch(kTileSlot, kTile * kTile);
    std::array<RowSums, kTile> running;
    for (int column = 0; column < shape.B; column += kTile) {
      dot_tile(s, row, rows, column, tile);
      for (int i = 0; i < rows; ++i)
        add_row(pairs, exponent, row + i, {column, s.columns_from(column)}, tile + i * kTile, running[i]);
    }
    for (int i = 0; i < rows; ++i) {
      if (mode == GradientMode::accumulate) running[i].add(sums[row + i]);
      sums[row + i] = running[i].rounded();
    }
  });
}

void pair_loss_of_sums(Queue&, const PairLossShape& shape, const PairSums* sums, float* loss, PairRow* rows,
                       int32_t* left_out) {
  const Exponent exponent = exponent_of(shape.temperature);
  double total = 0, weights = 0;
  *left_out = 0;
  for (int i = 0; i < shape.A; ++i) {
    const PairSums& row = sums[i];
    rows[i] = {};
    if (row.positives == 0 || row.sum == 0) {
      ++*left_out;
      continue;
    }
    const double log_sum = std::log(double{row.sum}) + (double{row.largest} - exponent.shift) * std::numbers::ln2;
    const double logit = double{exponent.scale} * row.positive / row.positives * std::numbers::ln2;
    const double weight = shape.mean == PairMean::rows ? 1 : row.positives;
    rows[i].log_sum = static_cast<float>(log_sum);
    total += weight * (log_sum - logit);
    weights += weight;
  }
  *loss = static_cast<float>(weights > 0 ? total / weights : 0);
  for (int i = 0; i < shape.A; ++i) {
    if (sums[i].positives == 0 || sums[i].sum == 0) continue;
    const double weight = (shape.mean == PairMean::rows ? 1 : sums[i].positives) / weights;
    rows[i].weight = static_cast<float>(weight);
    rows[i].positive_weight = static_cast<float>(weight / sums[i].positives);
  }
}

/// What the weights have of each row or column: arrays filled up with zeros to whole vectors.
struct Factors {
  float* normalizer;  // g/r, or log2 r with an offset per row
  float* weight;      // g
  float* positive;    // g/n
};

Factors factors_of(Slot slot, int count, const PairRow* rows, const Exponent& exponent) {
  const int width = panel_width(count);
  float* memory = thread_scratch(slot, size_t(3) * width);
  const Factors f{memory, memory + width, memory + 2 * int64_t{width}};
  std::fill_n(memory, size_t(3) * width, 0.0f);
  for (int i = 0; rows && i < count; ++i) {
    const double log2_sum = rows[i].log_sum * std::numbers::log2e;
    f.normalizer[i] =
        static_cast<float>(exponent.offset_per_row ? log2_sum : rows[i].weight * std::exp2(-log2_sum - exponent.shift));
    f.weight[i] = rows[i].weight;
    f.positive[i] = rows[i].positive_weight;
  }
  return f;
}

/// s[j] becomes e_ij (g_i/r_i + h_j/q_j), the weight of a pair that is no positive.
void weigh(const Exponent& exponent, const Factors& row, int i, const Factors& column, const Columns& columns,
           float* s) {
  const Vector scale = exponent.scale, offset = exponent.offset, own = row.normalizer[i], own_weight = row.weight[i];
  for (int j = 0; j < columns.count; j += kWidth) {
    const Vector logit = multiply_add(load(s + j), scale, offset), other = load(column.normalizer + columns.first + j);
    if (exponent.offset_per_row) {
      const Vector other_weight = load(column.weight + columns.first + j);
      store(multiply_add(own_weight, exp2(logit - own), other_weight * exp2(logit - other)), s + j);
    } else {
      store(exp2(logit) * (own + other), s + j);
    }
  }
}

void pair_gradient(Queue&, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
                   const int32_t* column_ids, const PairRow* rows, const PairRow* columns, const float* upstream,
                   float* dx, GradientMode mode) {
  check(shape);
  const Exponent exponent = gradient_exponent_of(shape.temperature);
  const Pairs pairs(shape, row_ids, column_ids);
  const SimilarityRows s = similarities(pack_for_dot_and_mix(shape.B, shape.D, y), x);
  const Factors row_factors = factors_of(kRowFactorSlot, shape.A, rows, exponent);
  const Factors column_factors = factors_of(kColumnFactorSlot, shape.B, columns, exponent);
  const auto factor = static_cast<float>(double{*upstream} / shape.temperature);
  const int D = shape.D, stripe_rows = rows_of_stripe(shape.A);

  parallel_for((shape.A + stripe_rows - 1) / stripe_rows, [&](int64_t stripe) {
    const int row = static_cast<int>(stripe) * stripe_rows, count = std::min(stripe_rows, shape.A - row);
    float* tile = thread_scratch(kTileSlot, kTile * kTile);
    float* out = thread_scratch(kGradientSlot, size_t(stripe_rows) * D);
    std::fill_n(out, size_t(count) * D, 0.0f);
    for (int column = 0; column < shape.B; column += kTile) {
      const Columns part{column, s.columns_from(column)};
      dot_tile(s, row, count, column, tile);
      for (int i = 0; i < count; ++i) {
        float* w = tile + i * kTile;
        weigh(exponent, row_factors, row + i, column_factors, part, w);
        pairs.fill_outside(row + i, part, 0, w);
        const float own = row_factors.positive[row + i];
        pairs.for_each_positive(row + i, part, [&](int j) {  // here, where what remains is small and exact
          w[j] -= own + column_factors.positive[column + j];
        });
      }
      mix_tile(s, tile, count, column, out);
    }
    float* target = dx + int64_t{row} * D;
    if (mode == GradientMode::overwrite) std::fill_n(target, size_t(count) * D, 0.0f);
    for (int64_t k = 0; k < int64_t{count} * D; ++k) target[k] += factor * out[k];
  });
}

void pair_temperature(Queue&, const PairTemperatureShape& shape, const float* x, const float* dx, float* dtemperature,
                      GradientMode mode) {
  std::array<double, kDotPieces> parts{};
  parallel_for(kDotPieces, [&](int64_t piece) {
    const Range range = piece_of(int64_t{shape.A} * shape.D, kDotPieces, piece);
    double sum = 0;
    for (int64_t k = range.begin; k < range.end; ++k) sum += double{x[k]} * dx[k];
    parts[piece] = sum;
  });
  double sum = 0;
  for (double part : parts) sum += part;
  const auto value = static_cast<float>(-sum * (shape.both_roles ? 0.5 : 1) / shape.temperature);
  *dtemperature = mode == GradientMode::accumulate ? *dtemperature + value : value;
}

}  // namespace

extern const PairLossKernels pair_loss{
    .sums = pair_sums, .loss = pair_loss_of_sums, .gradient = pair_gradient, .temperature = pair_temperature};

}  // namespace systole::kernels::cpu
