// Losses over pairs of rows on the CPU (pair_loss.h has the formulas, pair_walk.h how tiles are gone through): the sums
// of a row, the loss made of them, and the weights of the gradient.

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/contrastive/exp2.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/pair_walk.h"

namespace systole::kernels::cpu {
namespace {

enum Slot { kRowFactorSlot = kFirstSlotOfLoss, kColumnFactorSlot };

constexpr int64_t kDotPieces = 64;  // of the sum over all numbers of x and dx

/// values[j] = value for the columns that are not in row i's denominator.
void fill_outside(const Pairs& pairs, const PairShape& shape, int i, const Columns& columns, float value,
                  float* values) {
  pairs.fill_self(i, columns, value, values);
  if (!shape.positives_in_denominator) pairs.for_each_positive(i, columns, [&](int j) { values[j] = value; });
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
void add_row(const Pairs& pairs, const PairShape& shape, const Exponent& exponent, int i, const Columns& columns,
             float* s, RowSums& sums) {
  pairs.for_each_positive(i, columns, [&](int j) {
    sums.positive += double{s[j]} - 1;
    ++sums.positives;
  });
  float largest = 0;
  if (exponent.offset_per_row) {
    for (int j = 0; j < columns.count; ++j) s[j] = s[j] * exponent.scale + exponent.offset;
    fill_outside(pairs, shape, i, columns, -std::numeric_limits<float>::infinity(), s);
    largest = *std::max_element(s, s + columns.count);
    if (std::isinf(largest)) return;  // nothing in the denominator
    exponentiate(s, columns.count, 1, -largest);
  } else {
    exponentiate(s, columns.count, exponent.scale, exponent.offset);
  }
  fill_outside(pairs, shape, i, columns, 0, s);
  sums.add(largest, sum_of_terms(columns, s));
}

void pair_sums(Queue&, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
               const int32_t* column_ids, PairSums* sums, GradientMode mode) {
  check(shape);
  const Exponent exponent = exponent_of(shape.temperature);
  const Pairs pairs(shape, row_ids, column_ids);
  sum_rows<RowSums>(
      shape, x, y,
      [&](int i, const Columns& columns, float* s, RowSums& row) {
        add_row(pairs, shape, exponent, i, columns, s, row);
      },
      [&](int i, RowSums& row) {
        if (mode == GradientMode::accumulate) row.add(sums[i]);
        sums[i] = row.rounded();
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
  const Factors row_factors = factors_of(kRowFactorSlot, shape.A, rows, exponent);
  const Factors column_factors = factors_of(kColumnFactorSlot, shape.B, columns, exponent);
  const auto weights = [&](int i, const Columns& part, float* w) {
    weigh(exponent, row_factors, i, column_factors, part, w);
    fill_outside(pairs, shape, i, part, 0, w);
    const float own = row_factors.positive[i];
    pairs.for_each_positive(i, part, [&](int j) {  // here, where what remains is small and exact
      w[j] -= own + column_factors.positive[part.first + j];
    });
  };
  mix_rows(shape, x, y, weights, static_cast<float>(double{*upstream} / shape.temperature), dx, mode);
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
