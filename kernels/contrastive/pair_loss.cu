// Losses over pairs of rows on the cuda and simt devices, tile by tile: sums, loss and the gradient by the temperature
// (pair_loss.h has the formulas; the gradient by the rows is in pair_gradient.cu).
//
// Sums: a thread keeps the sums of its own four rows over its own columns in registers; the 16 threads that share a row
// are joined at the end, and so are the parts of the columns, in order.

#include <algorithm>
#include <cstddef>

#include "kernels/common/collectives.h"
#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/pair_loss.cuh"
#include "kernels/contrastive/pair_walk.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;      // of the kernels with one thread per row or number
constexpr int kSharersOfRow = 16;  // threads that have columns of a row: 4 warps, 4 lanes of each
constexpr int kDotPieces = 256;    // of the sum over all numbers of x and dx
constexpr double kLn2 = 0.69314718055994530942;

// ---- sums

/// Adds 2^exponent. Without an offset per row `largest` stays 0.
template <bool kOffsetPerRow>
__device__ __forceinline__ void add_term(PairSums& sums, float exponent) {
  if constexpr (!kOffsetPerRow) {
    sums.sum += exp2_approx(exponent);
  } else if (sums.sum > 0 && exponent <= sums.largest) {
    sums.sum += exp2_approx(exponent - sums.largest);
  } else {
    sums.sum = 1 + (sums.sum > 0 ? sums.sum * exp2_approx(sums.largest - exponent) : 0.0f);
    sums.largest = exponent;
  }
}

/// The sum of two, in double but for what is stored.
struct JoinedSums {
  float largest = 0;
  double sum = 0, positive = 0;
  int32_t positives = 0;

  __device__ __forceinline__ void add(const PairSums& other) {
    if (other.sum > 0) {
      const bool larger = sum == 0 || other.largest > largest;
      const double difference = double{other.largest} - double{largest};
      sum = larger ? other.sum + (sum > 0 ? sum * exp2(-difference) : 0.0) : sum + other.sum * exp2(difference);
      largest = larger ? other.largest : largest;
    }
    positive += double{other.positive};
    positives += other.positives;
  }
  __device__ __forceinline__ PairSums rounded() const {
    return {largest, static_cast<float>(sum), static_cast<float>(positive), positives};
  }
};

template <Precision P>
struct SumsShared {
  Stage<P> stage[2];
  PairSums part[kTile][kSharersOfRow + 1];  // a row more, so that rows are in different banks
};

/// Block (I, p): 64 rows, the column tiles of part p.
template <Precision P, bool kOffsetPerRow>
__global__ __launch_bounds__(kProductThreads, 2) void sum_pairs(PackedRows<P> x, PackedRows<P> y, Pairs pairs,
                                                                Exponent exponent, bool positives_in_denominator,
                                                                PairSums* __restrict__ sums) {  // [parts, x.padded_M]
  auto& shared = *dynamic_shared<SumsShared<P>>();
  PairSums running[SimilarityTile::kR] = {};
  for_each_tile<P>(x, y, shared.stage, [&](SimilarityTile& tile, int row, int column) {
    for_each_pair(tile, pairs, row, column, [&](int r, float s, bool positive) {
      if (positive) {
        running[r].positive += s - 1;
        ++running[r].positives;
      }
      if (positives_in_denominator || !positive)
        add_term<kOffsetPerRow>(running[r], s * exponent.scale + exponent.offset);
    });
  });
  const int thread = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r)
    shared.part[SimilarityTile::row(r)][thread / 32 % 4 * 4 + thread % 4] = running[r];
  __syncthreads();
  if (thread < kTile) {
    JoinedSums sum;
    for (int k = 0; k < kSharersOfRow; ++k) sum.add(shared.part[thread][k]);
    sums[(int64_t{blockIdx.y} * gridDim.x + blockIdx.x) * kTile + thread] = sum.rounded();
  }
}

/// One row per thread: the parts in order, after what is there when it accumulates.
__global__ __launch_bounds__(kThreads, 4) void join_parts(const PairSums* __restrict__ part,  // [parts, padded_A]
                                                          int parts, int padded_A, int A,
                                                          PairSums* __restrict__ sums,  // [A]
                                                          GradientMode mode) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= A) return;
  JoinedSums sum;
  if (mode == GradientMode::accumulate) sum.add(sums[i]);
  for (int p = 0; p < parts; ++p) sum.add(part[int64_t{p} * padded_A + i]);
  sums[i] = sum.rounded();
}

template <Precision P>
void sums_in(Queue& queue, const PairShape& shape, const Pairs& pairs, const float* x, const float* y, PairSums* sums,
             GradientMode mode) {
  const Exponent exponent = exponent_of(shape.temperature);
  ScratchLayout layout;
  PairPass<P> pass = plan_pass<P>(layout, shape, PassKind::sums);
  const int padded_A = pass.x.padded_M;
  const size_t sums_at = layout.add<PairSums>(pass.parts() * static_cast<size_t>(padded_A));
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  auto* part = reinterpret_cast<PairSums*>(memory + sums_at);

  pack(queue, x, y, memory, pass);
  const auto kernel = exponent.offset_per_row ? sum_pairs<P, true> : sum_pairs<P, false>;
  launch(queue, {.grid = pass.grid, .block = {kProductThreads}, .shared_bytes = sizeof(SumsShared<P>)}, kernel, pass.x,
         pass.y, pairs, exponent, shape.positives_in_denominator, part);
  launch(queue, {.grid = {ceil_div(shape.A, kThreads)}, .block = {kThreads}}, join_parts, part,
         static_cast<int>(pass.parts()), padded_A, shape.A, sums, mode);
}

void pair_sums(Queue& queue, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
               const int32_t* column_ids, PairSums* sums, GradientMode mode) {
  check(shape);
  const Pairs pairs = pairs_of(shape, row_ids, column_ids);
  with_precision(queue.precision(), [&]<Precision P>() { sums_in<P>(queue, shape, pairs, x, y, sums, mode); });
}

// ---- loss

__device__ __forceinline__ bool has_loss(const PairSums& sums) {
  return sums.positives > 0 && sums.sum > 0;
}
__device__ __forceinline__ double weight_of(const PairSums& sums, PairMean mean) {
  return mean == PairMean::rows ? 1.0 : double(sums.positives);
}

/// Σ weight · loss, Σ weight, and how many rows have no loss.
struct LossPart {
  double loss, weight, left_out;
};

/// The sums of the three over a block, in every thread.
__device__ __forceinline__ LossPart block_sum_of(const LossPart& part, BlockSumScratch<double>& scratch_of_sum) {
  return {block_sum(part.loss, scratch_of_sum), block_sum(part.weight, scratch_of_sum),
          block_sum(part.left_out, scratch_of_sum)};
}

/// One row per thread: log_sum, and the block's part of the loss.
__global__ __launch_bounds__(kThreads, 2) void row_losses(const PairSums* __restrict__ sums,  // [A]
                                                          int A, PairMean mean, Exponent exponent,
                                                          PairRow* __restrict__ rows,     // [A]
                                                          LossPart* __restrict__ part) {  // [blocks]
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  LossPart own{0, 0, 0};
  if (i < A && has_loss(sums[i])) {
    const PairSums row = sums[i];
    const double log_sum = log(double{row.sum}) + (double{row.largest} - exponent.shift) * kLn2;
    const double logit = double{exponent.scale} * double{row.positive} / row.positives * kLn2;
    const double weight = weight_of(row, mean);
    rows[i].log_sum = static_cast<float>(log_sum);
    own = {weight * (log_sum - logit), weight, 0};
  } else if (i < A) {
    rows[i].log_sum = 0;
    own.left_out = 1;
  }
  own = block_sum_of(own, scratch_of_sum);
  if (threadIdx.x == 0) part[blockIdx.x] = own;
}

/// One block: the mean, and Σ weight for the rows.
__global__ __launch_bounds__(kThreads, 2) void mean_loss(const LossPart* __restrict__ part,  // [parts]
                                                         int parts, float* __restrict__ loss,
                                                         int32_t* __restrict__ left_out, double* __restrict__ weight) {
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  LossPart sum{0, 0, 0};
  for (int p = static_cast<int>(threadIdx.x); p < parts; p += kThreads) {
    sum.loss += part[p].loss;
    sum.weight += part[p].weight;
    sum.left_out += part[p].left_out;
  }
  sum = block_sum_of(sum, scratch_of_sum);
  if (threadIdx.x != 0) return;
  *loss = static_cast<float>(sum.weight > 0 ? sum.loss / sum.weight : 0.0);
  *left_out = static_cast<int32_t>(sum.left_out);
  *weight = sum.weight;
}

/// One row per thread: its share of the mean.
__global__ __launch_bounds__(kThreads, 4) void row_weights(const PairSums* __restrict__ sums,  // [A]
                                                           int A, PairMean mean, const double* __restrict__ total,
                                                           PairRow* __restrict__ rows) {  // [A]
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= A) return;
  const bool counts = has_loss(sums[i]);
  const double weight = counts ? weight_of(sums[i], mean) / *total : 0.0;
  rows[i].weight = static_cast<float>(weight);
  rows[i].positive_weight = static_cast<float>(counts ? weight / sums[i].positives : 0.0);
}

void pair_loss_of_sums(Queue& queue, const PairLossShape& shape, const PairSums* sums, float* loss, PairRow* rows,
                       int32_t* left_out) {
  const int blocks = ceil_div(shape.A, kThreads);
  auto* part = scratch<LossPart>(queue, static_cast<size_t>(blocks) + 1);
  auto* total = reinterpret_cast<double*>(part + blocks);
  const size_t shared = sizeof(BlockSumScratch<double>);
  launch(queue, {.grid = {blocks}, .block = {kThreads}, .shared_bytes = shared}, row_losses, sums, shape.A, shape.mean,
         exponent_of(shape.temperature), rows, part);
  launch(queue, {.grid = {1}, .block = {kThreads}, .shared_bytes = shared}, mean_loss, part, blocks, loss, left_out,
         total);
  launch(queue, {.grid = {blocks}, .block = {kThreads}}, row_weights, sums, shape.A, shape.mean, total, rows);
}

// ---- temperature

/// Block p: piece p of Σ_k x[k] dx[k].
__global__ __launch_bounds__(kThreads, 2) void dot_pieces(const float* __restrict__ x, const float* __restrict__ dx,
                                                          int64_t count, double* __restrict__ part) {  // [blocks]
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  const int64_t pieces = gridDim.x, piece = blockIdx.x;
  double sum = 0;
  for (int64_t k = count * piece / pieces + threadIdx.x; k < count * (piece + 1) / pieces; k += kThreads)
    sum += double{x[k]} * double{dx[k]};
  sum = block_sum(sum, scratch_of_sum);
  if (threadIdx.x == 0) part[piece] = sum;
}

void pair_temperature(Queue& queue, const PairTemperatureShape& shape, const float* x, const float* dx,
                      float* dtemperature, GradientMode mode) {
  const int64_t count = int64_t{shape.A} * shape.D;
  const int64_t pieces = std::min(int64_t{kDotPieces}, ceil_div(count, int64_t{kThreads}));
  auto* part = scratch<double>(queue, static_cast<size_t>(pieces));
  const size_t shared = sizeof(BlockSumScratch<double>);
  launch(queue, {.grid = {pieces}, .block = {kThreads}, .shared_bytes = shared}, dot_pieces, x, dx, count, part);
  add_parts(queue, part, static_cast<size_t>(pieces), -(shape.both_roles ? 0.5 : 1.0) / double{shape.temperature},
            nullptr, dtemperature, mode);
}

}  // namespace

extern const PairLossKernels pair_loss{
    .sums = pair_sums, .loss = pair_loss_of_sums, .gradient = pair_gradient, .temperature = pair_temperature};

}  // namespace systole::kernels::SYSTOLE_TARGET
