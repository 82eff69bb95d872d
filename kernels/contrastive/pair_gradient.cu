// The gradient of losses over pairs of rows on the cuda and simt devices (pair_loss.h has the formulas).
//
// As in nt_xent_backward.cu a block has 64 rows and 128 columns of dx in registers, and for each tile of
// columns computes the similarities again, turns them into weights in shared memory, and multiplies these with the rows
// of y. Few rows make few blocks, so the columns are cut into parts, which the last kernel adds in order.
// Where the cuts are depends on the shape alone.

#include <algorithm>
#include <cstddef>

#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/gradient_tiles.cuh"
#include "kernels/contrastive/pair_loss.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;  // of the kernel with one thread per row
constexpr double kLog2E = 1.44269504088896340736;

/// What the weights have of a row or column; zeros beyond the last.
struct MixFactor {
  float normalizer;  // g/r in the scale of e_ij, or log2 r with an offset per row
  float weight;      // g
  float positive;    // g/n
};

__global__ __launch_bounds__(kThreads, 4) void mix_factors(const PairRow* __restrict__ rows,  // [count] or null: zeros
                                                           int count, int padded_count, Exponent exponent,
                                                           MixFactor* __restrict__ factors) {  // [padded_count]
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= padded_count) return;
  MixFactor factor{0, 0, 0};
  if (rows != nullptr && i < count) {
    const PairRow row = rows[i];
    const double log2_sum = row.log_sum * kLog2E;
    const double normalizer = exponent.offset_per_row ? log2_sum : row.weight * exp2(-log2_sum - exponent.shift);
    factor = {static_cast<float>(normalizer), row.weight, row.positive_weight};
  }
  factors[i] = factor;
}

/// Writes w_ij for a tile of s_ij; zero where there is no pair.
template <Precision P, bool kOffsetPerRow>
__device__ __forceinline__ void store_weights(SimilarityTile& s, const Pairs& pairs, int row, int column,
                                              const Exponent& exponent,
                                              const MixFactor* __restrict__ rows,     // [padded A]
                                              const MixFactor* __restrict__ columns,  // [padded B]
                                              FactorTile<P, kTile, kTile>& weights) {
  MixFactor own[SimilarityTile::kR];
  int32_t id[SimilarityTile::kR];
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) {
    own[r] = rows[row + SimilarityTile::row(r)];
    id[r] = pairs.row_id(row + SimilarityTile::row(r));
  }
#pragma unroll
  for (int c = 0; c < SimilarityTile::kC; ++c) {
    const int j = column + SimilarityTile::column(c);
    const MixFactor other = columns[j];
    const int32_t column_id = pairs.column_id(j);
#pragma unroll
    for (int r = 0; r < SimilarityTile::kR; ++r) {
      const float logit = s.at(r, c) * exponent.scale + exponent.offset;
      const bool positive = id[r] == column_id;
      float w = kOffsetPerRow ? own[r].weight * exp2_approx(logit - own[r].normalizer) +
                                    other.weight * exp2_approx(logit - other.normalizer)
                              : exp2_approx(logit) * (own[r].normalizer + other.normalizer);
      if (positive && !pairs.positives_in_denominator) w = 0;
      if (positive) w -= own[r].positive + other.positive;  // here, where what remains is small and exact
      if (!pairs.is_pair(row + SimilarityTile::row(r), j)) w = 0;
      weights.value[SimilarityTile::row(r)][SimilarityTile::column(c)] = to_factor<P>(w);
    }
  }
}

/// out = Σ_j w_ij y_j, in parts, by blocks as in mix_tiles.
template <Precision P, bool kOffsetPerRow>
__global__ __launch_bounds__(kProductThreads,
                             2) void mix_columns(PackedRows<P> x, PackedRows<P> y, Pairs pairs, Exponent exponent,
                                                 const MixFactor* __restrict__ rows,
                                                 const MixFactor* __restrict__ columns,
                                                 float* __restrict__ out) {  // [parts, padded A, chunks]
  mix_tiles<P>(
      x, y,
      [&](SimilarityTile& s, int row, int column, FactorTile<P, kTile, kTile>& weights) {
        store_weights<P, kOffsetPerRow>(s, pairs, row, column, exponent, rows, columns, weights);
      },
      out);
}

/// The arguments of an entry call that every precision has.
struct GradientCall {
  const PairShape& shape;
  Pairs pairs;
  const float *x, *y;
  const PairRow *rows, *columns;
  const float* upstream;
  float* dx;
  GradientMode mode;
};

template <Precision P>
void gradient_in(Queue& queue, const GradientCall& call) {
  const PairShape& shape = call.shape;
  const Exponent exponent = gradient_exponent_of(shape.temperature);
  const int64_t stripes = ceil_div(shape.A, kTile), tiles = ceil_div(shape.B, kTile);
  const int chunks = ceil_div(shape.D, kGradientColumns);
  const int64_t parts = std::clamp(kBlocksWanted / (stripes * chunks), int64_t{1}, tiles);
  PackedRows<P> x = layout_of<P>(shape.A, shape.D), y = layout_of<P>(shape.B, shape.D, chunks * kGradientColumns);
  const auto padded_A = static_cast<size_t>(x.padded_M), padded_B = static_cast<size_t>(y.padded_M);
  const auto padded_D = static_cast<size_t>(y.transposed_rows);

  ScratchLayout layout;
  const size_t x_at = add_rows(layout, x), y_at = add_rows(layout, y);
  const size_t transposed_at = layout.add<Factor<P>>(padded_B * padded_D);
  const size_t rows_at = layout.add<MixFactor>(padded_A), columns_at = layout.add<MixFactor>(padded_B);
  const size_t out_at = layout.add<float>(static_cast<size_t>(parts) * padded_A * padded_D);
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  x.rows = reinterpret_cast<Factor<P>*>(memory + x_at);
  y.rows = reinterpret_cast<Factor<P>*>(memory + y_at);
  y.transposed = reinterpret_cast<Factor<P>*>(memory + transposed_at);
  auto *rows = reinterpret_cast<MixFactor*>(memory + rows_at),
       *columns = reinterpret_cast<MixFactor*>(memory + columns_at);
  auto* out = reinterpret_cast<float*>(memory + out_at);

  pack(queue, call.x, x);
  pack(queue, call.y, y);
  launch(queue, {.grid = {ceil_div(x.padded_M, kThreads)}, .block = {kThreads}}, mix_factors, call.rows, shape.A,
         x.padded_M, exponent, rows);
  launch(queue, {.grid = {ceil_div(y.padded_M, kThreads)}, .block = {kThreads}}, mix_factors, call.columns, shape.B,
         y.padded_M, exponent, columns);
  const auto kernel = exponent.offset_per_row ? mix_columns<P, true> : mix_columns<P, false>;
  launch(queue, {.grid = {stripes * chunks, parts}, .block = {kProductThreads}, .shared_bytes = sizeof(MixShared<P>)},
         kernel, x, y, call.pairs, exponent, rows, columns, out);
  launch(queue, {.grid = {ceil_div(int64_t{shape.A} * shape.D, int64_t{kFinishThreads})}, .block = {kFinishThreads}},
         finish_gradient, out, static_cast<int>(parts), x.padded_M, y.transposed_rows, shape.A, shape.D, call.upstream,
         shape.temperature, 1, call.dx, call.mode);
}

}  // namespace

void pair_gradient(Queue& queue, const PairShape& shape, const float* x, const float* y, const int32_t* row_ids,
                   const int32_t* column_ids, const PairRow* rows, const PairRow* columns, const float* upstream,
                   float* dx, GradientMode mode) {
  check(shape);
  const GradientCall call{shape, pairs_of(shape, row_ids, column_ids), x, y, rows, columns, upstream, dx, mode};
  with_precision(queue.precision(), [&]<Precision P>() { gradient_in<P>(queue, call); });
}

}  // namespace systole::kernels::SYSTOLE_TARGET
