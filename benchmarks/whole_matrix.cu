// The passes over the whole matrix on the cuda and simt devices. All are bound by its bytes: neighbouring threads read
// neighbouring columns.
//   row_sums, sigmoid_losses   a block per row
//   column_sums                a block per 32 columns; a warp takes every eighth row, and the eight are added in order
//   weights, sigmoid_weights   a block per row and kColumns columns

#include <cmath>

#include "benchmarks/whole_matrix.h"
#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kColumns = 4 * kThreads;  // of a block that writes weights
constexpr double kLog2E = 1.44269504088896340736;

/// Which pairs there are, and which belong together.
struct Pairs {
  int A, B;
  bool same_rows, positives_in_denominator;
  const int32_t* __restrict__ row_ids;     // [A]
  const int32_t* __restrict__ column_ids;  // [B]

  __device__ __forceinline__ bool is_pair(int i, int j) const { return !(same_rows && i == j); }
  __device__ __forceinline__ bool positive(int i, int j) const { return row_ids[i] == column_ids[j]; }
};

Pairs pairs_of(const PairShape& shape, const int32_t* row_ids, const int32_t* column_ids) {
  return {shape.A, shape.B, shape.same_rows, shape.positives_in_denominator, row_ids, column_ids};
}

/// PairSums in double, of some of a row's or column's pairs.
struct Sums {
  double sum = 0, positive = 0, positives = 0;

  __device__ __forceinline__ void add(const Pairs& pairs, const Exponent& exponent, int i, int j, float s) {
    if (!pairs.is_pair(i, j)) return;
    const bool positive_pair = pairs.positive(i, j);
    if (positive_pair) {
      positive += double{s - 1};
      positives += 1;
    }
    if (pairs.positives_in_denominator || !positive_pair)
      sum += double{exp2_approx(s * exponent.scale + exponent.offset)};
  }
  __device__ __forceinline__ void add(const Sums& other) {
    sum += other.sum;
    positive += other.positive;
    positives += other.positives;
  }
  __device__ __forceinline__ PairSums rounded() const {
    return {0, static_cast<float>(sum), static_cast<float>(positive), static_cast<int32_t>(positives)};
  }
};

__global__ __launch_bounds__(kThreads, 4) void sum_rows(Pairs pairs, Exponent exponent,
                                                        const float* __restrict__ s,    // [A, B]
                                                        PairSums* __restrict__ sums) {  // [A]
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  const int i = static_cast<int>(blockIdx.x);
  const float* row = s + int64_t{i} * pairs.B;
  Sums own;
  for (int j = static_cast<int>(threadIdx.x); j < pairs.B; j += kThreads) own.add(pairs, exponent, i, j, row[j]);
  own = {block_sum(own.sum, scratch_of_sum), block_sum(own.positive, scratch_of_sum),
         block_sum(own.positives, scratch_of_sum)};
  if (threadIdx.x == 0) sums[i] = own.rounded();
}

struct ColumnShared {
  Sums part[kWarps][32];
};

__global__ __launch_bounds__(kThreads, 4) void sum_columns(Pairs pairs, Exponent exponent,
                                                           const float* __restrict__ s,    // [A, B]
                                                           PairSums* __restrict__ sums) {  // [B]
  auto& shared = *dynamic_shared<ColumnShared>();
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int j = static_cast<int>(blockIdx.x) * 32 + lane;
  Sums own;
  for (int i = warp; i < pairs.A && j < pairs.B; i += kWarps)
    own.add(pairs, exponent, i, j, s[int64_t{i} * pairs.B + j]);
  shared.part[warp][lane] = own;
  __syncthreads();
  if (warp != 0 || j >= pairs.B) return;
  for (int w = 1; w < kWarps; ++w) own.add(shared.part[w][lane]);
  sums[j] = own.rounded();
}

/// One row or column: g/r in the scale of e_ij, and g/n.
__global__ __launch_bounds__(kThreads, 4) void factors_of(const PairRow* __restrict__ rows, int count,
                                                          Exponent exponent,
                                                          float2* __restrict__ factors) {  // [count]
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  float2 factor{0, 0};
  if (rows != nullptr) {
    const PairRow row = rows[i];
    factor.x = static_cast<float>(double{row.weight} * exp2(-double{row.log_sum} * kLog2E - exponent.shift));
    factor.y = row.positive_weight;
  }
  factors[i] = factor;
}

__global__ __launch_bounds__(kThreads, 4) void write_weights(Pairs pairs, Exponent exponent,
                                                             const float2* __restrict__ of_row,     // [A]
                                                             const float2* __restrict__ of_column,  // [B]
                                                             const float* __restrict__ upstream, float c,
                                                             float* __restrict__ s) {  // [A, B]
  const int i = static_cast<int>(blockIdx.x), first = static_cast<int>(blockIdx.y) * kColumns;
  const float factor = c * *upstream;
  const float2 own = of_row[i];
  for (int j = first + static_cast<int>(threadIdx.x); j < first + kColumns && j < pairs.B; j += kThreads) {
    float& value = s[int64_t{i} * pairs.B + j];
    const bool positive = pairs.positive(i, j);
    const float2 other = of_column[j];
    float w = exp2_approx(value * exponent.scale + exponent.offset) * (own.x + other.x);
    if (positive && !pairs.positives_in_denominator) w = 0;
    if (positive) w -= own.y + other.y;
    value = pairs.is_pair(i, j) ? factor * w : 0.0f;
  }
}

void row_sums(Queue& queue, const PairShape& shape, const float* s, const int32_t* row_ids, const int32_t* column_ids,
              PairSums* sums) {
  launch(queue, {.grid = {shape.A}, .block = {kThreads}, .shared_bytes = sizeof(BlockSumScratch<double>)}, sum_rows,
         pairs_of(shape, row_ids, column_ids), exponent_of(shape.temperature), s, sums);
}

void column_sums(Queue& queue, const PairShape& shape, const float* s, const int32_t* row_ids,
                 const int32_t* column_ids, PairSums* sums) {
  launch(queue, {.grid = {ceil_div(shape.B, 32)}, .block = {kThreads}, .shared_bytes = sizeof(ColumnShared)},
         sum_columns, pairs_of(shape, row_ids, column_ids), exponent_of(shape.temperature), s, sums);
}

void weights(Queue& queue, const PairShape& shape, const int32_t* row_ids, const int32_t* column_ids,
             const PairRow* rows, const PairRow* columns, const float* upstream, float* s) {
  const Exponent exponent = exponent_of(shape.temperature);
  auto* of_row = scratch<float2>(queue, static_cast<size_t>(shape.A) + static_cast<size_t>(shape.B));
  float2* of_column = of_row + shape.A;
  launch(queue, {.grid = {ceil_div(shape.A, kThreads)}, .block = {kThreads}}, factors_of, rows, shape.A, exponent,
         of_row);
  launch(queue, {.grid = {ceil_div(shape.B, kThreads)}, .block = {kThreads}}, factors_of, columns, shape.B, exponent,
         of_column);
  launch(queue, {.grid = {shape.A, ceil_div(shape.B, kColumns)}, .block = {kThreads}}, write_weights,
         pairs_of(shape, row_ids, column_ids), exponent, of_row, of_column, upstream, 1 / shape.temperature, s);
}

// ---- the sigmoid loss

/// a_ij, which speaks against the pair.
__device__ __forceinline__ float against(float s, float scale, float bias, bool positive) {
  const float logit = s * scale + bias;
  return positive ? -logit : logit;
}

__global__ __launch_bounds__(kThreads, 4) void sum_softplus(Pairs pairs, float scale, float bias, double share,
                                                            const float* __restrict__ s,   // [A, B]
                                                            float* __restrict__ losses) {  // [A]
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  const int i = static_cast<int>(blockIdx.x);
  double sum = 0;
  for (int j = static_cast<int>(threadIdx.x); j < pairs.B; j += kThreads) {
    const float a = against(s[int64_t{i} * pairs.B + j], scale, bias, pairs.positive(i, j));
    const float softplus = fmaxf(a, 0.0f) + log1pf(expf(-fabsf(a)));
    if (pairs.is_pair(i, j)) sum += double{softplus};
  }
  sum = block_sum(sum, scratch_of_sum);
  if (threadIdx.x == 0) losses[i] = static_cast<float>(sum * share);
}

__global__ __launch_bounds__(kThreads, 4) void write_slopes(Pairs pairs, float scale, float bias,
                                                            const float* __restrict__ upstream, float factor,
                                                            float* __restrict__ s) {  // [A, B]
  const int i = static_cast<int>(blockIdx.x), first = static_cast<int>(blockIdx.y) * kColumns;
  const float whole_factor = factor * *upstream;
  for (int j = first + static_cast<int>(threadIdx.x); j < first + kColumns && j < pairs.B; j += kThreads) {
    float& value = s[int64_t{i} * pairs.B + j];
    const bool positive = pairs.positive(i, j);
    const float slope = whole_factor / (1 + expf(-against(value, scale, bias, positive)));
    value = !pairs.is_pair(i, j) ? 0.0f : positive ? -slope : slope;
  }
}

void sigmoid_losses(Queue& queue, const SigmoidShape& shape, const float* s, const int32_t* row_ids,
                    const int32_t* column_ids, float* losses) {
  const PairShape& pairs = shape.pairs;
  launch(queue, {.grid = {pairs.A}, .block = {kThreads}, .shared_bytes = sizeof(BlockSumScratch<double>)}, sum_softplus,
         pairs_of(pairs, row_ids, column_ids), 1 / pairs.temperature, shape.bias,
         pairs.A / static_cast<double>(shape.count), s, losses);
}

void sigmoid_weights(Queue& queue, const SigmoidShape& shape, const int32_t* row_ids, const int32_t* column_ids,
                     const float* upstream, float* s) {
  const PairShape& pairs = shape.pairs;
  launch(queue, {.grid = {pairs.A, ceil_div(pairs.B, kColumns)}, .block = {kThreads}}, write_slopes,
         pairs_of(pairs, row_ids, column_ids), 1 / pairs.temperature, shape.bias, upstream,
         static_cast<float>(1 / double{pairs.temperature} / static_cast<double>(shape.count)), s);
}

}  // namespace

extern const benchmarks::WholeMatrixKernels whole_matrix{.row_sums = row_sums,
                                                         .column_sums = column_sums,
                                                         .weights = weights,
                                                         .sigmoid_losses = sigmoid_losses,
                                                         .sigmoid_weights = sigmoid_weights};

}  // namespace systole::kernels::SYSTOLE_TARGET
