// NT-Xent forward on the cuda and simt devices: log_sum_i = log Σ_{j≠i} exp(c (s_ij − 1)) and the mean loss, tile by
// tile (contrastive.h has the formulas, README.md derives them and draws the tiles).
//
// With a constant offset the tiles on and above the diagonal suffice. Their list, row of tiles after row of tiles, is
// cut into at most 256 pieces of equal length, one block each: about two blocks on every multiprocessor, and 1 KB of
// partial sums per row of Z. A block adds the row sums and column sums of its tiles to a vector [M] of its own; then
// the vectors are added in order. No two blocks ever write to the same place.
//
// With an offset per row (low temperatures) e_ij is not symmetric: a block has 64 rows and a range of column tiles.
//
// A term is one multiply-add and one ex2: exponents are in units of ln 2 (exponent.h).

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/nt_xent.h"
#include "kernels/contrastive/nt_xent_forward_wgmma.cuh"
#include "kernels/contrastive/packed_rows.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kPieces = 256;                        // of the triangle
constexpr int kFinishThreads = 256;                 // of a block of the last stages
constexpr int kMostRows = 1024;                     // that one block finishes, and the loss with them
constexpr int kFinishRows = 32, kFinishRanges = 8;  // of a block, where there are more
constexpr double kLn2 = 0.69314718055994530942;

/// Keeps s_ip(i) as the tile has it, so that its rounding cancels in log_sum − c·s_ip. Rows of the second view add
/// nothing.
__device__ __forceinline__ void keep_positives(SimilarityTile& s, int M, int row, int column,
                                               float* positive) {  // [M / 2]
  const int N = M / 2, diagonal = row + N - column;
  if (diagonal <= -kTile || diagonal >= kTile) return;  // no partner in this tile
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r)
#pragma unroll
    for (int c = 0; c < SimilarityTile::kC; ++c) {
      const int i = row + SimilarityTile::row(r);
      if (i < N && column + SimilarityTile::column(c) == i + N) positive[i] = s.at(r, c);
    }
}

/// s_ij → e_ij; 0 on the diagonal and outside of the matrix.
__device__ __forceinline__ void exponentiate(SimilarityTile& s, int M, int row, int column, const Exponent& exponent) {
  const bool whole = row != column && column + kTile <= M && row + kTile <= M;
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r)
#pragma unroll
    for (int c = 0; c < SimilarityTile::kC; ++c) {
      const int i = row + SimilarityTile::row(r), j = column + SimilarityTile::column(c);
      const float e = exp2_approx(s.at(r, c) * exponent.scale + exponent.offset);
      s.at(r, c) = whole || (i != j && i < M && j < M) ? e : 0.0f;
    }
}

template <Precision P>
struct TriangleShared {
  Stage<P> stage[2];
  float row_part[4][kTile];     // sums over the columns of each of the four warps beside each other
  float column_part[2][kTile];  // over the rows of each of the two below each other
};

/// The sums of a tile's terms, first over the lanes that share a row (t) or a column (g), then in shared memory.
template <Precision P>
__device__ __forceinline__ void sum_rows_and_columns(SimilarityTile& e, TriangleShared<P>& shared) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) {
    float sum = 0;
#pragma unroll
    for (int c = 0; c < SimilarityTile::kC; ++c) sum += e.at(r, c);
    for (int lanes = 1; lanes < 4; lanes *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, lanes);
    if (lane % 4 == 0) shared.row_part[warp % 4][SimilarityTile::row(r)] = sum;
  }
#pragma unroll
  for (int c = 0; c < SimilarityTile::kC; ++c) {
    float sum = 0;
#pragma unroll
    for (int r = 0; r < SimilarityTile::kR; ++r) sum += e.at(r, c);
    for (int lanes = 4; lanes < 32; lanes *= 2) sum += __shfl_xor_sync(kWholeWarp, sum, lanes);
    if (lane < 4) shared.column_part[warp / 4][SimilarityTile::column(c)] = sum;
  }
}

/// Block p: the tiles of piece p of the triangle.
template <Precision P>
__global__ __launch_bounds__(kProductThreads, 2) void sum_triangle(PackedRows<P> z, Exponent exponent,
                                                                   float* __restrict__ sums,  // [pieces, padded_M]
                                                                   float* __restrict__ positive) {  // [M / 2]
  auto& shared = *dynamic_shared<TriangleShared<P>>();
  const int thread = static_cast<int>(threadIdx.x), tiles = z.padded_M / kTile;
  const int64_t triangle = int64_t{tiles} * (tiles + 1) / 2, pieces = gridDim.x, piece = blockIdx.x;
  const int64_t begin = triangle * piece / pieces, end = triangle * (piece + 1) / pieces;
  float* own = sums + piece * z.padded_M;
  for (int i = thread; i < z.padded_M; i += kProductThreads) own[i] = 0;

  int I = 0;
  int64_t before = 0;  // tiles in the rows of tiles above
  for (; before + tiles - I <= begin; ++I) before += tiles - I;
  int J = I + static_cast<int>(begin - before);
  for (int64_t index = begin; index < end; ++index) {
    const int row = I * kTile, column = J * kTile;
    SimilarityTile tile;
    similarity_tile<P>(z, row, column, shared.stage, tile);
    keep_positives(tile, z.M, row, column, positive);
    exponentiate(tile, z.M, row, column, exponent);
    sum_rows_and_columns<P>(tile, shared);
    __syncthreads();
    if (thread < kTile) {
      own[row + thread] += (shared.row_part[0][thread] + shared.row_part[1][thread]) +
                           (shared.row_part[2][thread] + shared.row_part[3][thread]);
    } else if (thread < 2 * kTile && I != J) {  // a diagonal tile is whole: its columns are its rows again
      const int j = thread - kTile;
      own[column + j] += shared.column_part[0][j] + shared.column_part[1][j];
    }
    if (++J == tiles) J = ++I;
  }
}

/// A sum of powers of two with the largest exponent taken out: Σ 2^x = sum · 2^largest. Nothing yet: sum = 0.
struct ScaledSum {
  float largest, sum;
};

__device__ __forceinline__ ScaledSum add(ScaledSum a, ScaledSum b) {
  if (a.sum == 0) return b;
  if (b.sum == 0) return a;
  if (a.largest < b.largest) return {b.largest, b.sum + a.sum * exp2_approx(a.largest - b.largest)};
  return {a.largest, a.sum + b.sum * exp2_approx(b.largest - a.largest)};
}

constexpr int kSharersOfRow = 16;  // threads that have columns of a row: 4 warps, 4 lanes of each

template <Precision P>
struct StripeShared {
  Stage<P> stage[2];
  ScaledSum part[kTile][kSharersOfRow];
};

/// Adds 2^(scale·s_ij + offset) of a tile to the sums of this thread's rows, over this thread's columns.
__device__ __forceinline__ void add_exponentials(SimilarityTile& s, int M, int row, int column,
                                                 const Exponent& exponent, ScaledSum (&running)[SimilarityTile::kR]) {
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r) {
    const int i = row + SimilarityTile::row(r);
#pragma unroll
    for (int c = 0; c < SimilarityTile::kC; ++c) {
      const int j = column + SimilarityTile::column(c);
      if (j < M && i != j) running[r] = add(running[r], {s.at(r, c) * exponent.scale + exponent.offset, 1});
    }
  }
}

/// Block (I, p): 64 rows, the column tiles of part p; with an offset per row.
template <Precision P>
__global__ __launch_bounds__(kProductThreads, 2) void sum_stripes(PackedRows<P> z, Exponent exponent,
                                                                  ScaledSum* __restrict__ sums,    // [parts, padded_M]
                                                                  float* __restrict__ positive) {  // [M / 2]
  auto& shared = *dynamic_shared<StripeShared<P>>();
  const int thread = static_cast<int>(threadIdx.x), tiles = z.padded_M / kTile;
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int row = static_cast<int>(blockIdx.x) * kTile;
  const int begin = static_cast<int>(tiles * part / parts), end = static_cast<int>(tiles * (part + 1) / parts);

  ScaledSum running[SimilarityTile::kR] = {};
  for (int J = begin; J < end; ++J) {
    SimilarityTile tile;
    similarity_tile<P>(z, row, J * kTile, shared.stage, tile);
    keep_positives(tile, z.M, row, J * kTile, positive);
    add_exponentials(tile, z.M, row, J * kTile, exponent, running);
  }
#pragma unroll
  for (int r = 0; r < SimilarityTile::kR; ++r)
    shared.part[SimilarityTile::row(r)][thread / 32 % 4 * 4 + thread % 4] = running[r];
  __syncthreads();
  if (thread < kTile) {
    ScaledSum sum = shared.part[thread][0];
    for (int k = 1; k < kSharersOfRow; ++k) sum = add(sum, shared.part[thread][k]);
    sums[part * z.padded_M + row + thread] = sum;
  }
}

// The last stage of a row. Its parts are `stride` apart; a block has blockDim.x rows, and blockDim.y threads for each,
// which take every blockDim.y-th part: a thread alone would wait for up to 256 of them, one after the other.

struct FinishShared {
  BlockSumScratch<double> of_block;
  double range[kFinishRanges][kFinishRows];
};

/// log Σ_{j≠i} exp(c (s_ij − 1)) from the parts of the thread's row; in the threads with threadIdx.y = 0.
__device__ double log_of_sum(const float* part, int parts, int64_t stride, const Exponent& exponent,
                             FinishShared& shared) {
  double sum = 0;
#pragma unroll 8
  for (int p = static_cast<int>(threadIdx.y); p < parts; p += static_cast<int>(blockDim.y))
    sum += double{part[p * stride]};
  if (blockDim.y > 1) {
    shared.range[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (unsigned range = 0; range < blockDim.y; ++range) sum += shared.range[range][threadIdx.x];
  }
  return log(sum) - exponent.shift * kLn2;
}
/// blockDim.y is 1.
__device__ double log_of_sum(const ScaledSum* part, int parts, int64_t stride, const Exponent&, FinishShared&) {
  float largest = part[0].largest;
  for (int p = 1; p < parts; ++p) largest = part[p * stride].largest > largest ? part[p * stride].largest : largest;
  double sum = 0;
  for (int p = 0; p < parts; ++p)
    sum += double{part[p * stride].sum} * exp2(double{part[p * stride].largest} - double{largest});
  return log(sum) + double{largest} * kLn2;
}

/// log_sum, and the block's share of Σ_i [ log_sum_i − c (s_ip(i) − 1) ]; or, by the only block, the loss, which is
/// their mean.
template <class Part>
__global__ __launch_bounds__(kMostRows, 1) void finish_rows(const Part* __restrict__ part,  // [parts, padded_M]
                                                            int parts, int padded_M, int M, Exponent exponent,
                                                            const float* __restrict__ positive,  // [M / 2]
                                                            float* __restrict__ log_sum,         // [M]
                                                            double* __restrict__ loss_part,      // [blocks]
                                                            float* __restrict__ loss_of_all) {
  auto& shared = *dynamic_shared<FinishShared>();
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const double log_of_row = log_of_sum(part + (i < M ? i : 0), parts, padded_M, exponent, shared);
  double loss = 0;
  if (i < M && threadIdx.y == 0) {
    const double logit = double{exponent.scale} * (double{positive[i % (M / 2)]} - 1) * kLn2;
    log_sum[i] = static_cast<float>(log_of_row);
    loss = log_of_row - logit;
  }
  loss = blockDim.y > 1 ? warp_sum(loss) : block_sum(loss, shared.of_block);
  if (threadIdx.x > 0 || threadIdx.y > 0) return;
  if (gridDim.x == 1)
    *loss_of_all = static_cast<float>(loss / M);
  else
    loss_part[blockIdx.x] = loss;
}

/// One block: *loss = the sum of the parts over M.
__global__ __launch_bounds__(kFinishThreads, 4) void mean_loss(const double* __restrict__ loss_part,  // [parts]
                                                               int parts, int M, float* __restrict__ loss) {
  auto& scratch_of_sum = *dynamic_shared<BlockSumScratch<double>>();
  double sum = 0;
  for (int p = static_cast<int>(threadIdx.x); p < parts; p += kFinishThreads) sum += loss_part[p];
  sum = block_sum(sum, scratch_of_sum);
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / M);
}

/// The last stages: log_sum and the loss from the parts of the rows.
template <class Part>
void finish(Queue& queue, const NtXentShape& shape, const Exponent& exponent, const Part* sums, int64_t parts,
            int padded_M, const float* positive, double* loss_part, float* loss, float* log_sum) {
  const bool together = shape.M <= kMostRows, shared_rows = !together && std::is_same_v<Part, float>;
  const Extent block = together      ? Extent{ceil_div(shape.M, 32) * 32}
                       : shared_rows ? Extent{kFinishRows, kFinishRanges}
                                     : Extent{kFinishThreads};
  const int64_t blocks = ceil_div<int64_t>(shape.M, block.x);
  launch(queue, {.grid = {blocks}, .block = block, .shared_bytes = sizeof(FinishShared)}, finish_rows<Part>, sums,
         static_cast<int>(parts), padded_M, shape.M, exponent, positive, log_sum, loss_part, loss);
  if (blocks == 1) return;
  launch(queue, {.grid = {1}, .block = {kFinishThreads}, .shared_bytes = sizeof(BlockSumScratch<double>)}, mean_loss,
         loss_part, static_cast<int>(blocks), shape.M, loss);
}

/// Part is what rows are added up in: float with the constant offset, ScaledSum with an offset per row.
template <Precision P, class Part>
void forward(Queue& queue, const NtXentShape& shape, const Exponent& exponent, const float* z, float* loss,
             float* log_sum) {
  constexpr bool kSymmetric = std::is_same_v<Part, float>;
  const int64_t tiles = ceil_div(shape.M, kTile), triangle = tiles * (tiles + 1) / 2;
  const int64_t stripe_parts = tiles >= kBlocksWanted ? 1 : std::min(tiles, kBlocksWanted / tiles);
  const int64_t parts = kSymmetric ? std::min<int64_t>(kPieces, triangle) : stripe_parts;
  PackedRows<P> packed{.M = shape.M,
                       .D = shape.D,
                       .padded_M = static_cast<int>(tiles) * kTile,
                       .padded_D = ceil_div(shape.D, kProductDepth) * kProductDepth,
                       .rows = nullptr};

  ScratchLayout layout;
  const size_t rows_at = layout.add<Factor<P>>(static_cast<size_t>(packed.padded_M) * packed.padded_D);
  const size_t sums_at = layout.add<Part>(static_cast<size_t>(parts) * packed.padded_M);
  const size_t positive_at = layout.add<float>(static_cast<size_t>(shape.M / 2));
  const size_t loss_at = layout.add<double>(static_cast<size_t>(ceil_div(shape.M, kFinishRows)));
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  packed.rows = reinterpret_cast<Factor<P>*>(memory + rows_at);
  auto* sums = reinterpret_cast<Part*>(memory + sums_at);
  auto* positive = reinterpret_cast<float*>(memory + positive_at);
  auto* loss_part = reinterpret_cast<double*>(memory + loss_at);

  pack(queue, z, packed);
  if constexpr (kSymmetric)
    launch(queue, {.grid = {parts}, .block = {kProductThreads}, .shared_bytes = sizeof(TriangleShared<P>)},
           sum_triangle<P>, packed, exponent, sums, positive);
  else
    launch(queue, {.grid = {tiles, parts}, .block = {kProductThreads}, .shared_bytes = sizeof(StripeShared<P>)},
           sum_stripes<P>, packed, exponent, sums, positive);
  finish(queue, shape, exponent, sums, parts, packed.padded_M, positive, loss_part, loss, log_sum);
}

void forward_by_wgmma(Queue& queue, const NtXentShape& shape, const float* z, float* loss, float* log_sum) {
  const Exponent exponent = exponent_of(shape.temperature);
  const int64_t tiles = ceil_div(shape.M, kWgmmaTile), parts = std::min<int64_t>(kPieces, tiles * (tiles + 1) / 2);
  const auto padded_M = static_cast<size_t>(tiles) * kWgmmaTile;
  ScratchLayout layout;
  const size_t rows_at = layout.add<uint4>(padded_M * kWgmmaOctets);
  const size_t sums_at = layout.add<float>(static_cast<size_t>(parts) * padded_M);
  const size_t positive_at = layout.add<float>(static_cast<size_t>(shape.M / 2));
  const size_t loss_at = layout.add<double>(static_cast<size_t>(ceil_div(shape.M, kFinishRows)));
  auto* memory = scratch<std::byte>(queue, layout.bytes());
  auto* sums = reinterpret_cast<float*>(memory + sums_at);
  auto* positive = reinterpret_cast<float*>(memory + positive_at);

  const WgmmaRows rows = wgmma_rows_of(queue, shape, z, reinterpret_cast<uint4*>(memory + rows_at));
  launch(queue, {.grid = {parts}, .block = {kTriangleThreads}, .shared_bytes = sizeof(WgmmaTriangleShared)},
         sum_triangle_wgmma, rows, exponent, sums, positive);
  finish(queue, shape, exponent, sums, parts, static_cast<int>(padded_M), positive,
         reinterpret_cast<double*>(memory + loss_at), loss, log_sum);
}

}  // namespace

void nt_xent_forward_wgmma(Queue& queue, const NtXentShape& shape, const float* z, float* loss, float* log_sum) {
  check(shape);
  const bool possible = wgmma_can_compute(queue, shape);
  (possible ? forward_by_wgmma : nt_xent_forward)(queue, shape, z, loss, log_sum);
}

void nt_xent_forward(Queue& queue, const NtXentShape& shape, const float* z, float* loss, float* log_sum) {
  check(shape);
  const Exponent exponent = exponent_of(shape.temperature);
  with_precision(queue.precision(), [&]<Precision P>() {
    if (exponent.offset_per_row)
      forward<P, ScaledSum>(queue, shape, exponent, z, loss, log_sum);
    else
      forward<P, float>(queue, shape, exponent, z, loss, log_sum);
  });
}

}  // namespace systole::kernels::SYSTOLE_TARGET
