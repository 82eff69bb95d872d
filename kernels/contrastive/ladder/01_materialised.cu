// Step 1. The formulas as they stand, with the whole matrix in memory.
//
//   S = Z Zᵀ                                      [M, M]                        1 unit of 2·M²·D operations
//   p_ij = exp(c·s_ij) / Σ_{k≠i} exp(c·s_ik)      softmax over row i, p_ii = 0
//   loss_i = log Σ_{j≠i} exp(c·s_ij) − c·s_ip
//   g_ij = p_ij − (j = p(i))                      = (M/c) ∂loss / ∂s_ij
//   dz = (c/M) (G Z + Gᵀ Z)                                                     2 units
//
// Why two products: s_ij = z_i·z_j moves when either of its rows moves. Automatic differentiation finds both: to it S
// is a product of two matrices, each of which gets a gradient, and they happen to be the same.
//
// exp(c·s) leaves the range of float for c > 88, so each row subtracts its largest logit; that does not change p.
//
// S becomes G in place: one matrix, which moves seven times. It is written; read for the maxima, for the sums, and to
// become G; written; read as rows and read as columns. 28 bytes for the 6·D operations of a pair.

#include <cfloat>
#include <cmath>

#include "kernels/common/collectives.h"
#include "kernels/contrastive/ladder/ladder.h"
#include "kernels/contrastive/ladder/tiles.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {
namespace {

constexpr int kRowsPerBlock = kThreads / 32;  // of the softmax: a warp each

__global__ __launch_bounds__(kThreads, 2) void all_similarities(Rows z, float* __restrict__ matrix) {  // [M, M]
  const int row = static_cast<int>(blockIdx.y) * kTile, column = static_cast<int>(blockIdx.x) * kTile;
  SimilarityTile s = similarities(z, row, column, *dynamic_shared<Factors>());
  for_each_element(s, row, column, [&](int i, int j, float value) {
    if (i < z.M && j < z.M) matrix[static_cast<size_t>(i) * z.M + j] = value;
  });
}

/// A row of S becomes a row of G.
__global__ __launch_bounds__(kThreads, 4) void softmax_of_rows(float* __restrict__ matrix,  // [M, M]
                                                               int M, float c,
                                                               float* __restrict__ loss_of_row) {  // [M]
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int i = static_cast<int>(blockIdx.x) * kRowsPerBlock + static_cast<int>(threadIdx.x / 32);
  if (i >= M) return;  // the whole warp
  float* row = matrix + static_cast<size_t>(i) * M;

  float largest = -FLT_MAX, sum = 0;
  for (int j = lane; j < M; j += 32)
    if (j != i) largest = fmaxf(largest, c * row[j]);
  largest = warp_max(largest);
  for (int j = lane; j < M; j += 32)
    if (j != i) sum += expf(c * row[j] - largest);
  const float log_sum = largest + logf(warp_sum(sum));

  for (int j = lane; j < M; j += 32) {
    const bool positive = j == partner_of(i, M);
    if (positive) loss_of_row[i] = log_sum - c * row[j];
    row[j] = j == i ? 0.0f : expf(c * row[j] - log_sum) - (positive ? 1.0f : 0.0f);
  }
}

/// to[i][j] = G[row + i, column + j], or G[column + j, row + i] where transposed. Neighbouring threads read along a row
/// of G in both cases.
__device__ __forceinline__ void load_weights(const float* __restrict__ matrix, int M, int row, int column,
                                             bool transposed, Weights& to) {
  const int top = transposed ? column : row, left = transposed ? row : column;
  for (int k = static_cast<int>(threadIdx.x); k < kTile * kTile; k += kThreads) {
    const int down = k / kTile, across = k % kTile;
    const bool inside = top + down < M && left + across < M;
    const float g = inside ? matrix[static_cast<size_t>(top + down) * M + left + across] : 0.0f;
    (transposed ? to.value[across][down] : to.value[down][across]) = g;
  }
}

/// Block (I, chunk): 64 rows and 128 columns of dz = factor · (G Z + Gᵀ Z).
__global__ __launch_bounds__(kThreads, 2) void multiply_both_ways(Rows z, const float* __restrict__ matrix,  // [M, M]
                                                                  float factor, float* __restrict__ dz) {    // [M, D]
  auto& shared = *dynamic_shared<GradientShared>();
  const int row = static_cast<int>(blockIdx.x) * kTile, first_d = static_cast<int>(blockIdx.y) * kGradientColumns;
  GradientTile sum;
  for (int column = 0; column < z.M; column += kTile)
    for (int way = 0; way < 2; ++way) {
      __syncthreads();  // the last weights have been read
      load_weights(matrix, z.M, row, column, way == 1, shared.weights);
      add_weighted_rows(shared.weights, z, column, first_d, shared.factors, sum);
    }
  store_gradient(sum, z, row, first_d, factor, GradientMode::overwrite, dz);
}

size_t working_floats(const NtXentShape& shape) {
  const auto M = static_cast<size_t>(shape.M);
  return M * M + M;
}

void loss_and_gradient(Queue& queue, const NtXentShape& shape, const float* z, float* working, float* loss, float* dz) {
  check(shape);
  const Rows rows{z, shape.M, shape.D};
  const float c = 1 / shape.temperature;
  float *loss_of_row = working, *matrix = working + shape.M;  // [M], [M, M]
  launch(queue, {.grid = {tiles_of(shape), tiles_of(shape)}, .block = {kThreads}, .shared_bytes = sizeof(Factors)},
         all_similarities, rows, matrix);
  launch(queue, {.grid = {ceil_div(shape.M, kRowsPerBlock)}, .block = {kThreads}}, softmax_of_rows, matrix, shape.M, c,
         loss_of_row);
  mean_loss(queue, shape.M, loss_of_row, loss);
  launch(queue, {.grid = gradient_grid(shape), .block = {kThreads}, .shared_bytes = sizeof(GradientShared)},
         multiply_both_ways, rows, matrix, c / static_cast<float>(shape.M), dz);
}

}  // namespace

extern const Step materialised{"01 materialised", "the whole matrix in memory: softmax of its rows, then G Z + Gᵀ Z",
                               Precision::f32,    3,
                               working_floats,    loss_and_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
