// Step 2. No matrix: a tile of S lives in registers, and what is needed of it is taken before it is gone.
//
// Forward, a block goes through the tiles of 64 rows. The largest logit of a row is known only at the end, so every sum
// carries the largest one so far, m, and is rescaled when a larger one comes ("online softmax", Milakov and Gimelshein
// 2018; FlashAttention, Dao et al. 2022):
//
//   Σ_j exp(x_j) = exp(m) · sum          x > m:  sum ← sum · exp(m − x), m ← x;          then  sum ← sum + exp(x − m)
//
// Each of the 16 threads that share a row has such a pair, over its own columns; they are joined at the end. All that
// remains of M² logits is log_sum_i, one float a row.
//
// Backward, tiles are computed again: p_ij = exp(c·s_ij − log_sum_i). Each g_ij adds to the gradient of row i and to
// that of row j. Attention code sends the second part to its row by atomic additions, in an order that changes from run
// to run, or makes two passes, as here: G Z, then Gᵀ Z.
//
//   dz_i = (c/M) [ Σ_j g_ij z_j + Σ_j g_ji z_j ]          g_ji = exp(c·s_ij − log_sum_j) − (j = p(i))
//
// Forward 1 unit, backward twice 1 + 1. But both passes compute the same tile, since s_ij = s_ji: that is step 3.

#include <cfloat>
#include <cmath>

#include "kernels/contrastive/ladder/ladder.h"
#include "kernels/contrastive/ladder/tiles.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {
namespace {

/// Σ exp(x) = sum · exp(largest)
struct RunningSum {
  float largest = -FLT_MAX, sum = 0;

  /// Adds terms · exp(logit).
  __device__ __forceinline__ void add(float logit, float terms) {
    if (logit > largest) sum *= expf(largest - logit), largest = logit;
    sum += terms * expf(logit - largest);
  }
};

constexpr int kSharers = 16;  // threads that share a row: 4 lanes of each of 4 warps

struct ForwardShared {
  Factors factors;
  float largest[kTile][kSharers], sum[kTile][kSharers], positive[kTile];
};

/// Block I: log_sum and loss of 64 rows.
__global__ __launch_bounds__(kThreads, 2) void online_softmax(Rows z, float c, float* __restrict__ log_sum,  // [M]
                                                              float* __restrict__ loss_of_row) {             // [M]
  auto& shared = *dynamic_shared<ForwardShared>();
  const int thread = static_cast<int>(threadIdx.x), row = static_cast<int>(blockIdx.x) * kTile;
  RunningSum running[SimilarityTile::kR];
  for (int column = 0; column < z.M; column += kTile) {
    SimilarityTile s = similarities(z, row, column, shared.factors);
    for (int r = 0; r < SimilarityTile::kR; ++r)
      for (int k = 0; k < SimilarityTile::kC; ++k) {
        const int i = row + SimilarityTile::row(r), j = column + SimilarityTile::column(k);
        if (j < z.M && j != i) running[r].add(c * s.at(r, k), 1);
        if (j == partner_of(i, z.M)) shared.positive[i - row] = c * s.at(r, k);
      }
  }

  const int sharer = thread / 32 % 4 * 4 + thread % 4;
  for (int r = 0; r < SimilarityTile::kR; ++r) {
    shared.largest[SimilarityTile::row(r)][sharer] = running[r].largest;
    shared.sum[SimilarityTile::row(r)][sharer] = running[r].sum;
  }
  __syncthreads();
  if (thread >= kTile || row + thread >= z.M) return;  // no barrier follows
  RunningSum all;
  for (int k = 0; k < kSharers; ++k) all.add(shared.largest[thread][k], shared.sum[thread][k]);
  const float log_of_all = all.largest + logf(all.sum);
  log_sum[row + thread] = log_of_all;
  loss_of_row[row + thread] = log_of_all - shared.positive[thread];
}

/// Block (I, chunk): 64 rows and 128 columns of G Z, or of Gᵀ Z, which is added to what dz holds.
template <bool kTransposed>
__global__ __launch_bounds__(kThreads, 2) void multiply_slopes(Rows z, float c, const float* __restrict__ log_sum,
                                                               float* __restrict__ dz) {  // [M], [M, D]
  auto& shared = *dynamic_shared<GradientShared>();
  const int row = static_cast<int>(blockIdx.x) * kTile, first_d = static_cast<int>(blockIdx.y) * kGradientColumns;
  GradientTile sum;
  for (int column = 0; column < z.M; column += kTile) {
    SimilarityTile s = similarities(z, row, column, shared.factors);
    for_each_element(s, row, column, [&](int i, int j, float value) {
      const bool inside = i != j && i < z.M && j < z.M;
      const float p = inside ? expf(c * value - log_sum[kTransposed ? j : i]) : 0;
      shared.weights.value[i - row][j - column] = inside && j == partner_of(i, z.M) ? p - 1 : p;
    });
    add_weighted_rows(shared.weights, z, column, first_d, shared.factors, sum);
  }
  constexpr GradientMode mode = kTransposed ? GradientMode::accumulate : GradientMode::overwrite;
  store_gradient(sum, z, row, first_d, c / static_cast<float>(z.M), mode, dz);
}

size_t working_floats(const NtXentShape& shape) {
  return 2 * static_cast<size_t>(shape.M);
}

void loss_and_gradient(Queue& queue, const NtXentShape& shape, const float* z, float* working, float* loss, float* dz) {
  check(shape);
  const Rows rows{z, shape.M, shape.D};
  const float c = 1 / shape.temperature;
  float *log_sum = working, *loss_of_row = working + shape.M;
  launch(queue, {.grid = {tiles_of(shape)}, .block = {kThreads}, .shared_bytes = sizeof(ForwardShared)}, online_softmax,
         rows, c, log_sum, loss_of_row);
  mean_loss(queue, shape.M, loss_of_row, loss);
  const Launch backward{.grid = gradient_grid(shape), .block = {kThreads}, .shared_bytes = sizeof(GradientShared)};
  launch(queue, backward, multiply_slopes<false>, rows, c, log_sum, dz);
  launch(queue, backward, multiply_slopes<true>, rows, c, log_sum, dz);
}

}  // namespace

extern const Step running_max{"02 running max", "tiles in registers, sums rescaled when a larger logit comes",
                              Precision::f32,   5,
                              working_floats,   loss_and_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
