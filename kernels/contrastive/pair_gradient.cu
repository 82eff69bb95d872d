// The gradient of losses over pairs of rows on the cuda and simt devices (pair_loss.h has the formulas).
//
// As in nt_xent_backward.cu a block has 64 rows and 128 columns of dx in registers, and for each tile of columns
// computes the similarities again, turns them into weights in shared memory, and multiplies these with the rows of y.

#include <cstddef>

#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/pair_loss.cuh"
#include "kernels/contrastive/pair_walk.cuh"

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

/// w_ij of pair_loss.h, for store_weights.
template <bool kOffsetPerRow>
struct SoftmaxWeight {
  using Row = MixFactor;
  const Exponent& exponent;
  bool positives_in_denominator;
  const MixFactor *rows, *columns;  // [padded A], [padded B]

  __device__ __forceinline__ MixFactor row(int i) const { return rows[i]; }
  __device__ __forceinline__ MixFactor column(int j) const { return columns[j]; }
  __device__ __forceinline__ float operator()(float s, bool positive, const MixFactor& own,
                                              const MixFactor& other) const {
    const float logit = s * exponent.scale + exponent.offset;
    float w = kOffsetPerRow ? own.weight * exp2_approx(logit - own.normalizer) +
                                  other.weight * exp2_approx(logit - other.normalizer)
                            : exp2_approx(logit) * (own.normalizer + other.normalizer);
    if (positive && !positives_in_denominator) w = 0;
    if (positive) w -= own.positive + other.positive;  // here, where what remains is small and exact
    return w;
  }
};

/// out = Σ_j w_ij y_j, in parts, by blocks as in mix_tiles.
template <Precision P, bool kOffsetPerRow>
__global__ __launch_bounds__(kProductThreads,
                             2) void mix_columns(PackedRows<P> x, PackedRows<P> y, Pairs pairs, Exponent exponent,
                                                 bool positives_in_denominator, const MixFactor* __restrict__ rows,
                                                 const MixFactor* __restrict__ columns,
                                                 float* __restrict__ out) {  // [parts, padded A, chunks]
  const SoftmaxWeight<kOffsetPerRow> weight{exponent, positives_in_denominator, rows, columns};
  mix_tiles<P>(
      x, y,
      [&](SimilarityTile& s, int row, int column, FactorTile<P, kTile, kTile>& weights) {
        store_weights<P>(s, pairs, row, column, weight, weights);
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
  ScratchLayout layout;
  PairPass<P> pass = plan_pass<P>(layout, shape, PassKind::gradient);
  const int padded_A = pass.x.padded_M, padded_B = pass.y.padded_M;
  const size_t rows_at = layout.add<MixFactor>(static_cast<size_t>(padded_A)),
               columns_at = layout.add<MixFactor>(static_cast<size_t>(padded_B));
  const size_t out_at = layout.add<float>(pass.mixed());
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  auto *rows = reinterpret_cast<MixFactor*>(memory + rows_at),
       *columns = reinterpret_cast<MixFactor*>(memory + columns_at);
  auto* out = reinterpret_cast<float*>(memory + out_at);

  pack(queue, call.x, call.y, memory, pass);
  launch(queue, {.grid = {ceil_div(padded_A, kThreads)}, .block = {kThreads}}, mix_factors, call.rows, shape.A,
         padded_A, exponent, rows);
  launch(queue, {.grid = {ceil_div(padded_B, kThreads)}, .block = {kThreads}}, mix_factors, call.columns, shape.B,
         padded_B, exponent, columns);
  const auto kernel = exponent.offset_per_row ? mix_columns<P, true> : mix_columns<P, false>;
  launch(queue, {.grid = pass.grid, .block = {kProductThreads}, .shared_bytes = sizeof(MixShared<P>)}, kernel, pass.x,
         pass.y, call.pairs, exponent, shape.positives_in_denominator, rows, columns, out);
  add_parts(queue, pass, out, call.upstream, shape.temperature, 1, call.dx, call.mode);
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
