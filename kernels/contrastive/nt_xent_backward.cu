// NT-Xent backward on the cuda and simt devices: dz_i = (c/M) Σ_{j≠i} w_ij z_j with the weights
// w_ij = e_ij (1/r_i + 1/r_j) − 2·(j = p(i)) (README.md derives them).
//
// A block has a stripe of 64 rows and 128 columns of dz, whose sums stay in its registers. Tile of columns after tile,
// it computes its part of S again, turns it into weights, lays these into shared memory and multiplies them with the
// rows of Z they belong to. All columns of one tile of S are needed for any column of dz, so a wider Z (D > 128)
// computes S once for every 128 columns.
//
// A small batch has few stripes: the tiles of columns are then cut into parts with sums of their own, as many as fill
// the GPU, and the last kernel adds the parts in order. Where the cuts are depends on the shape alone.

#include <algorithm>
#include <cstddef>

#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/nt_xent.h"
#include "kernels/contrastive/packed_rows.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;  // of the kernels with one thread per element

/// What a row's sum becomes for the weights: 1/r_i in the scale of e_ij, or its logarithm in units of ln 2; 0 beyond M.
__global__ __launch_bounds__(kThreads, 4) void normalizers(const float* __restrict__ log_sum,  // [M]
                                                           int M, int padded_M, Exponent exponent,
                                                           float* __restrict__ normalizer) {  // [padded_M]
  constexpr double kLog2E = 1.44269504088896340736;
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= padded_M) return;
  const double log2_sum = i < M ? log_sum[i] * kLog2E : 0;
  const double value = exponent.offset_per_row ? log2_sum : exp2(-log2_sum - exponent.shift);
  normalizer[i] = i < M ? static_cast<float>(value) : 0.0f;
}

template <Precision P>
struct MixShared {
  Stage<P> stage[2];
  FactorTile<P, kTile, kTile> weights;
};

/// Writes w_ij for a tile of s_ij. Zero on the diagonal and outside of the matrix.
template <Precision P>
__device__ __forceinline__ void store_weights(SimilarityTile& s, int M, int row, int column, const Exponent& exponent,
                                              const float* __restrict__ normalizer,  // [padded_M]
                                              FactorTile<P, kTile, kTile>& weights) {
  float own[SimilarityTile::kR];
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) own[r] = normalizer[row + SimilarityTile::row(r)];
#pragma unroll
  for (int c = 0; c < SimilarityTile::kC; ++c) {
    const int j = column + SimilarityTile::column(c);
    const float other = normalizer[j];
    const int partner = j < M / 2 ? j + M / 2 : j - M / 2;
#pragma unroll
    for (int r = 0; r < SimilarityTile::kR; ++r) {
      const int i = row + SimilarityTile::row(r);
      const float logit = s.at(r, c) * exponent.scale + exponent.offset;
      float w = exponent.offset_per_row ? exp2_approx(logit - own[r]) + exp2_approx(logit - other)
                                        : exp2_approx(logit) * (own[r] + other);
      if (i == partner) w -= 2;  // here, where what remains is small and exact
      if (i == j || i >= M || j >= M) w = 0;
      weights.value[SimilarityTile::row(r)][SimilarityTile::column(c)] = to_factor<P>(w);
    }
  }
}

/// Block (stripe · chunks + chunk, part): out[part, i, d] = Σ_j w_ij z_j[d] over the tiles of columns of the part, for
/// 64 rows i and 128 columns d.
template <Precision P>
__global__ __launch_bounds__(kProductThreads, 2) void mix_rows(PackedRows<P> z, Exponent exponent,
                                                               const float* __restrict__ normalizer,  // [padded_M]
                                                               float* __restrict__ out) {  // [parts, padded_M, columns]
  using GradientTile = ProductTile<kTile, kGradientColumns>;
  auto& shared = *dynamic_shared<MixShared<P>>();
  const int chunks = z.transposed_rows / kGradientColumns, tiles = z.padded_M / kTile;
  const int row = static_cast<int>(blockIdx.x) / chunks * kTile;
  const int first_d = static_cast<int>(blockIdx.x) % chunks * kGradientColumns;
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int begin = static_cast<int>(tiles * part / parts), end = static_cast<int>(tiles * (part + 1) / parts);
  const size_t pitch = static_cast<size_t>(z.padded_M);

  GradientTile gradient;
  for (int column = begin * kTile; column < end * kTile; column += kTile) {
    {
      SimilarityTile s;
      similarity_tile<P>(z, row, column, shared.stage, s);
      store_weights<P>(s, z.M, row, column, exponent, normalizer, shared.weights);
    }
    const Factor<P>* columns = z.transposed + static_cast<size_t>(first_d) * pitch + column;
    stream_steps<P>(  // its first barrier also ends the writing of the weights
        shared.stage, kTile / kProductDepth,
        [&](int step, Stage<P>& to) {
          start_copies<P, kGradientColumns>(columns + step * kProductDepth, pitch, to.value[0]);
        },
        [&](int step, const Stage<P>& from) {
          gradient.template add<P>(shared.weights.value[0] + step * kProductDepth, shared.weights.kPitch, from.value[0],
                                   from.kPitch);
        });
  }

  float* own = out + (static_cast<size_t>(part) * pitch + static_cast<size_t>(row)) * z.transposed_rows + first_d;
#pragma unroll
  for (int r = 0; r < GradientTile::kR; ++r)
#pragma unroll
    for (int c = 0; c < GradientTile::kC; ++c)
      own[static_cast<size_t>(GradientTile::row(r)) * z.transposed_rows + GradientTile::column(c)] = gradient.at(r, c);
}

/// dz (+)= upstream · c/M · Σ_part out: one thread per element.
__global__ __launch_bounds__(kThreads, 4) void finish_gradient(const float* __restrict__ out,  // as mix_rows writes it
                                                               int parts, int padded_M, int columns, int M, int D,
                                                               const float* __restrict__ upstream, float temperature,
                                                               float* __restrict__ dz,  // [M, D]
                                                               GradientMode mode) {
  const int64_t k = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (k >= int64_t{M} * D) return;
  const float factor = static_cast<float>(double{*upstream} / temperature / M);
  const float* element = out + k / D * columns + k % D;
  float sum = 0;
  for (int p = 0; p < parts; ++p) sum += element[p * int64_t{padded_M} * columns];
  dz[k] = mode == GradientMode::accumulate ? dz[k] + factor * sum : factor * sum;
}

template <Precision P>
void backward(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum, const float* upstream,
              float* dz, GradientMode mode) {
  const Exponent exponent = exponent_of(shape.temperature);
  const int64_t tiles = ceil_div(shape.M, kTile), chunks = ceil_div(shape.D, kGradientColumns);
  const int64_t parts = std::clamp(kBlocksWanted / (tiles * chunks), int64_t{1}, tiles);
  PackedRows<P> packed{.M = shape.M,
                       .D = shape.D,
                       .padded_M = static_cast<int>(tiles) * kTile,
                       .padded_D = ceil_div(shape.D, kProductDepth) * kProductDepth,
                       .rows = nullptr,
                       .transposed_rows = static_cast<int>(chunks) * kGradientColumns,
                       .transposed = nullptr};
  const auto padded_M = static_cast<size_t>(packed.padded_M), columns = static_cast<size_t>(packed.transposed_rows);

  ScratchLayout layout;
  const size_t rows_at = layout.add<Factor<P>>(padded_M * static_cast<size_t>(packed.padded_D));
  const size_t transposed_at = layout.add<Factor<P>>(padded_M * columns);
  const size_t normalizer_at = layout.add<float>(padded_M);
  const size_t out_at = layout.add<float>(static_cast<size_t>(parts) * padded_M * columns);
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  packed.rows = reinterpret_cast<Factor<P>*>(memory + rows_at);
  packed.transposed = reinterpret_cast<Factor<P>*>(memory + transposed_at);
  auto* normalizer = reinterpret_cast<float*>(memory + normalizer_at);
  auto* out = reinterpret_cast<float*>(memory + out_at);

  pack(queue, z, packed);
  launch(queue, {.grid = {ceil_div(packed.padded_M, kThreads)}, .block = {kThreads}}, normalizers, log_sum, shape.M,
         packed.padded_M, exponent, normalizer);
  launch(queue, {.grid = {tiles * chunks, parts}, .block = {kProductThreads}, .shared_bytes = sizeof(MixShared<P>)},
         mix_rows<P>, packed, exponent, normalizer, out);
  launch(queue, {.grid = {ceil_div(int64_t{shape.M} * shape.D, int64_t{kThreads})}, .block = {kThreads}},
         finish_gradient, out, static_cast<int>(parts), packed.padded_M, packed.transposed_rows, shape.M, shape.D,
         upstream, shape.temperature, dz, mode);
}

}  // namespace

void nt_xent_backward(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum,
                      const float* upstream, float* dz, GradientMode mode) {
  check(shape);
  with_precision(queue.precision(), [&]<Precision P>() { backward<P>(queue, shape, z, log_sum, upstream, dz, mode); });
}

}  // namespace systole::kernels::SYSTOLE_TARGET
