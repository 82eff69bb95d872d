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
#include "kernels/contrastive/gradient_tiles.cuh"
#include "kernels/contrastive/nt_xent.h"
#include "kernels/contrastive/nt_xent_backward_wgmma.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;  // of the kernel with one thread per row

/// normalizer_of all rows; 0 beyond M.
__global__ __launch_bounds__(kThreads, 4) void normalizers(const float* __restrict__ log_sum,  // [M]
                                                           int M, int padded_M, Exponent exponent,
                                                           float* __restrict__ normalizer) {  // [padded_M]
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < padded_M) normalizer[i] = i < M ? normalizer_of(log_sum[i], exponent) : 0;
}

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

/// out = Σ_j w_ij z_j, in parts, by blocks as in mix_tiles.
template <Precision P>
__global__ __launch_bounds__(kProductThreads, 2) void mix_rows(PackedRows<P> z, Exponent exponent,
                                                               const float* __restrict__ normalizer,  // [padded_M]
                                                               float* __restrict__ out) {  // [parts, padded_M, columns]
  mix_tiles<P>(
      z, z,
      [&](SimilarityTile& s, int row, int column, FactorTile<P, kTile, kTile>& weights) {
        store_weights<P>(s, z.M, row, column, exponent, normalizer, weights);
      },
      out);
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
  launch(queue, {.grid = {ceil_div(int64_t{shape.M} * shape.D, int64_t{kFinishThreads})}, .block = {kFinishThreads}},
         finish_gradient, out, static_cast<int>(parts), packed.padded_M, packed.transposed_rows, shape.M, shape.D,
         upstream, shape.temperature, shape.M, dz, mode);
}

void backward_by_wgmma(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum,
                       const float* upstream, float* dz, GradientMode mode) {
  const Exponent exponent = exponent_of(shape.temperature);
  const int64_t tiles = ceil_div(shape.M, kWgmmaTile), stripes = ceil_div(shape.M, kMixRows);
  const int64_t parts = std::clamp(kBlocksWanted / stripes, int64_t{1}, tiles);
  const auto padded_M = static_cast<size_t>(tiles) * kWgmmaTile;
  ScratchLayout layout;
  const size_t rows_at = layout.add<uint4>(padded_M * kWgmmaOctets);
  const size_t normalizer_at = layout.add<float>(padded_M);
  const size_t out_at = layout.add<float>(static_cast<size_t>(parts) * padded_M * kWgmmaTile);
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  auto* normalizer = reinterpret_cast<float*>(memory + normalizer_at);
  auto* out = reinterpret_cast<float*>(memory + out_at);

  const WgmmaRows rows =
      wgmma_rows_of(queue, shape, z, reinterpret_cast<uint4*>(memory + rows_at), log_sum, normalizer);
  launch(queue, {.grid = {stripes, parts}, .block = {kMixThreads}, .shared_bytes = sizeof(WgmmaMixShared)},
         mix_rows_wgmma, rows, exponent, normalizer, out);
  launch(queue, {.grid = {ceil_div(int64_t{shape.M} * shape.D, int64_t{kFinishThreads})}, .block = {kFinishThreads}},
         finish_gradient, out, static_cast<int>(parts), static_cast<int>(padded_M), kWgmmaTile, shape.M, shape.D,
         upstream, shape.temperature, shape.M, dz, mode);
}

}  // namespace

void nt_xent_backward_wgmma(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum,
                            const float* upstream, float* dz, GradientMode mode) {
  check(shape);
  const bool possible = wgmma_can_compute(queue, shape);
  (possible ? backward_by_wgmma : nt_xent_backward)(queue, shape, z, log_sum, upstream, dz, mode);
}

void nt_xent_backward(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum,
                      const float* upstream, float* dz, GradientMode mode) {
  check(shape);
  with_precision(queue.precision(), [&]<Precision P>() { backward<P>(queue, shape, z, log_sum, upstream, dz, mode); });
}

}  // namespace systole::kernels::SYSTOLE_TARGET
