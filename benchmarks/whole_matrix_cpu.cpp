// The passes over the whole matrix on the CPU. A row is gone through in chunks: exponentials by vectors first, then
// what depends on ids and on the pair of a row with itself.

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "benchmarks/whole_matrix.h"
#include "kernels/common/parallel.h"
#include "kernels/contrastive/exp2.h"
#include "kernels/contrastive/softplus.h"

namespace systole::kernels::cpu {
namespace {

constexpr int kChunk = 256;  // columns

/// Columns [first, first + count) of the matrix.
struct Chunk {
  int first, count;
};

/// Calls body(i, chunk) for the chunks of a row, in order.
template <class Body>
void for_each_chunk(int B, const Body& body) {
  for (int first = 0; first < B; first += kChunk) body(Chunk{first, std::min(kChunk, B - first)});
}

/// values[j] = f(from[j]), by vectors; the last one is filled up with zeros, and `values` has room for it.
template <class F>
void map(const float* from, int count, float* values, const F& f) {
  int j = 0;
  for (; j + kWidth <= count; j += kWidth) store(f(load(from + j)), values + j);
  if (j == count) return;
  std::array<float, kWidth> last{};
  std::copy(from + j, from + count, last.begin());
  store(f(load(last.data())), values + j);
}

/// The column of a chunk that is row i itself, or one that is not there.
int self_in(const PairShape& shape, int i, const Chunk& chunk) {
  const int j = i - chunk.first;
  return shape.same_rows && j >= 0 && j < chunk.count ? j : -1;
}

/// Row i's e_ij in a chunk, 0 for itself.
void terms(const PairShape& shape, const Exponent& exponent, const float* s, int i, const Chunk& chunk, float* e) {
  const Vector scale = exponent.scale, offset = exponent.offset;
  map(s + int64_t{i} * shape.B + chunk.first, chunk.count, e,
      [&](const Vector& value) { return exp2(multiply_add(value, scale, offset)); });
  if (const int self = self_in(shape, i, chunk); self >= 0) e[self] = 0;
}

void row_sums(Queue&, const PairShape& shape, const float* s, const int32_t* row_ids, const int32_t* column_ids,
              PairSums* sums) {
  const Exponent exponent = exponent_of(shape.temperature);
  const bool all = shape.positives_in_denominator;
  parallel_for(shape.A, [&](int64_t row) {
    const int i = static_cast<int>(row);
    std::array<float, kChunk> e;
    double sum = 0, positive = 0;
    int32_t positives = 0;
    for_each_chunk(shape.B, [&](const Chunk& chunk) {
      terms(shape, exponent, s, i, chunk, e.data());
      const float* from = s + row * shape.B + chunk.first;
      const int32_t *ids = column_ids + chunk.first, own = row_ids[i];
      float chunk_sum = 0, chunk_positive = 0;
      int32_t chunk_positives = 0;
#pragma omp simd reduction(+ : chunk_sum, chunk_positive, chunk_positives)
      for (int j = 0; j < chunk.count; ++j) {
        const bool same = ids[j] == own;
        chunk_sum += all || !same ? e[j] : 0.0f;
        chunk_positive += same ? from[j] - 1 : 0.0f;
        chunk_positives += same;
      }
      if (const int self = self_in(shape, i, chunk); self >= 0) {
        chunk_positive -= from[self] - 1;  // nearly 0: rows have unit length
        --chunk_positives;
      }
      sum += chunk_sum;
      positive += chunk_positive;
      positives += chunk_positives;
    });
    sums[i] = {0, static_cast<float>(sum), static_cast<float>(positive), positives};
  });
}

void column_sums(Queue&, const PairShape& shape, const float* s, const int32_t* row_ids, const int32_t* column_ids,
                 PairSums* sums) {
  const Exponent exponent = exponent_of(shape.temperature);
  const bool all = shape.positives_in_denominator;
  parallel_for((shape.B + kChunk - 1) / kChunk, [&](int64_t number) {
    const int first = static_cast<int>(number) * kChunk;
    const Chunk chunk{first, std::min(kChunk, shape.B - first)};
    const int32_t* ids = column_ids + first;
    std::array<float, kChunk> e;
    std::array<double, kChunk> sum{}, positive{};
    std::array<int32_t, kChunk> positives{};
    for (int i = 0; i < shape.A; ++i) {
      terms(shape, exponent, s, i, chunk, e.data());
      const float* from = s + int64_t{i} * shape.B + first;
      const int32_t own = row_ids[i];
#pragma omp simd
      for (int j = 0; j < chunk.count; ++j) {
        const bool same = ids[j] == own && !(shape.same_rows && first + j == i);
        sum[j] += all || !same ? e[j] : 0.0f;
        positive[j] += same ? from[j] - 1 : 0.0f;
        positives[j] += same;
      }
    }
    for (int j = 0; j < chunk.count; ++j)
      sums[first + j] = {0, static_cast<float>(sum[j]), static_cast<float>(positive[j]), positives[j]};
  });
}

/// What weights have of each row or column: g/r in the scale of e_ij, and g/n.
struct Factors {
  std::vector<float> normalizer, positive;

  Factors(int count, const PairRow* rows, const Exponent& exponent, double factor)
      : normalizer(static_cast<size_t>(count)), positive(normalizer) {
    for (int i = 0; rows && i < count; ++i) {
      const double log2_sum = rows[i].log_sum * std::numbers::log2e;
      normalizer[i] = static_cast<float>(factor * rows[i].weight * std::exp2(-log2_sum - exponent.shift));
      positive[i] = static_cast<float>(factor * rows[i].positive_weight);
    }
  }
};

void weights(Queue&, const PairShape& shape, const int32_t* row_ids, const int32_t* column_ids, const PairRow* rows,
             const PairRow* columns, const float* upstream, float* s) {
  const Exponent exponent = exponent_of(shape.temperature);
  const double factor = double{*upstream} / shape.temperature;
  const Factors of_row(shape.A, rows, exponent, factor), of_column(shape.B, columns, exponent, factor);
  const bool all = shape.positives_in_denominator;
  parallel_for(shape.A, [&](int64_t row) {
    const int i = static_cast<int>(row);
    std::array<float, kChunk> e;
    for_each_chunk(shape.B, [&](const Chunk& chunk) {
      terms(shape, exponent, s, i, chunk, e.data());
      float* to = s + row * shape.B + chunk.first;
      const int32_t *ids = column_ids + chunk.first, own = row_ids[i];
      const float normalizer = of_row.normalizer[i], positive = of_row.positive[i];
      const float *normalizers = of_column.normalizer.data() + chunk.first,
                  *positives = of_column.positive.data() + chunk.first;
#pragma omp simd
      for (int j = 0; j < chunk.count; ++j) {
        const bool same = ids[j] == own;
        to[j] = (all || !same ? e[j] * (normalizer + normalizers[j]) : 0.0f) - (same ? positive + positives[j] : 0.0f);
      }
      if (const int self = self_in(shape, i, chunk); self >= 0) to[self] = 0;
    });
  });
}

/// Row i's similarities in a chunk become a_ij.
void logits_against(const SigmoidShape& shape, const float* s, int own, const int32_t* ids, int count, float* a) {
  const auto scale = static_cast<float>(1 / double{shape.pairs.temperature});
#pragma omp simd
  for (int j = 0; j < count; ++j) {
    const float logit = s[j] * scale + shape.bias;
    a[j] = ids[j] == own ? -logit : logit;
  }
}

void sigmoid_losses(Queue&, const SigmoidShape& shape, const float* s, const int32_t* row_ids,
                    const int32_t* column_ids, float* losses) {
  const PairShape& pairs = shape.pairs;
  parallel_for(pairs.A, [&](int64_t row) {
    const int i = static_cast<int>(row);
    std::array<float, kChunk> a;
    double sum = 0;
    for_each_chunk(pairs.B, [&](const Chunk& chunk) {
      logits_against(shape, s + row * pairs.B + chunk.first, row_ids[i], column_ids + chunk.first, chunk.count,
                     a.data());
      map(a.data(), chunk.count, a.data(), [](const Vector& value) { return softplus(value); });
      if (const int self = self_in(pairs, i, chunk); self >= 0) a[self] = 0;
      float chunk_sum = 0;
#pragma omp simd reduction(+ : chunk_sum)
      for (int j = 0; j < chunk.count; ++j) chunk_sum += a[j];
      sum += chunk_sum;
    });
    losses[i] = static_cast<float>(sum * pairs.A / static_cast<double>(shape.count));
  });
}

void sigmoid_weights(Queue&, const SigmoidShape& shape, const int32_t* row_ids, const int32_t* column_ids,
                     const float* upstream, float* s) {
  const PairShape& pairs = shape.pairs;
  const auto factor = static_cast<float>(double{*upstream} / pairs.temperature / static_cast<double>(shape.count));
  parallel_for(pairs.A, [&](int64_t row) {
    const int i = static_cast<int>(row);
    std::array<float, kChunk> a;
    for_each_chunk(pairs.B, [&](const Chunk& chunk) {
      float* to = s + row * pairs.B + chunk.first;
      const int32_t *ids = column_ids + chunk.first, own = row_ids[i];
      logits_against(shape, to, own, ids, chunk.count, a.data());
      map(a.data(), chunk.count, a.data(), [](const Vector& value) { return sigmoid(value); });
#pragma omp simd
      for (int j = 0; j < chunk.count; ++j) to[j] = ids[j] == own ? -factor * a[j] : factor * a[j];
      if (const int self = self_in(pairs, i, chunk); self >= 0) to[self] = 0;
    });
  });
}

}  // namespace

extern const benchmarks::WholeMatrixKernels whole_matrix{.row_sums = row_sums,
                                                         .column_sums = column_sums,
                                                         .weights = weights,
                                                         .sigmoid_losses = sigmoid_losses,
                                                         .sigmoid_weights = sigmoid_weights};

}  // namespace systole::kernels::cpu
