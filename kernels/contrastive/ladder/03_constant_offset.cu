// Step 3. Unit rows know their largest logit beforehand: s_ij ≤ 1, so c·s_ij ≤ c, for every row.
//
//   e_ij = exp(c·(s_ij − 1)),   r_i = Σ_{j≠i} e_ij,   loss_i = log r_i − c·(s_ip − 1)
//
// A sum with the same offset everywhere can be cut anywhere and added up: no maxima, nothing to rescale. Compare the
// kernel below with step 2's: RunningSum has become a float.
//
// And the terms are symmetric, e_ij = e_ji, which p_ij = e_ij / r_i is not. Both passes of step 2's gradient become
// one, with one exponential, and it needs rows only:
//
//   g_ij + g_ji = e_ij / r_i + e_ji / r_j − 2·(j = p(i)) = e_ij (1/r_i + 1/r_j) − 2·(j = p(i)) = w_ij
//
// 1/r_j belongs to another block's row, but a float for each row is all that is to be known of it, and the forward pass
// has left it in memory. Without that term the loss still falls, by a wrong gradient.
//
// Forward 1 unit, backward 1 + 1.
//
// The price: the smallest term is exp(−2c). A row whose others are all opposite to it must not add up to zero, so the
// temperature is at least 0.023 (../README.md, "A constant softmax offset", has more of it).

#include "kernels/contrastive/ladder/constant_offset.h"
#include "kernels/contrastive/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {
namespace {

constexpr int kSharers = 16;  // threads that share a row: 4 lanes of each of 4 warps

struct Shared {
  Factors factors;
  float sum[kTile][kSharers], positive[kTile];
};

/// Block I: 1/r and the loss of 64 rows.
__global__ __launch_bounds__(kThreads, 2) void sum_rows(Rows z, Exponent exponent, float c,
                                                        float* __restrict__ inverse,        // [M]
                                                        float* __restrict__ loss_of_row) {  // [M]
  auto& shared = *dynamic_shared<Shared>();
  const int thread = static_cast<int>(threadIdx.x), row = static_cast<int>(blockIdx.x) * kTile;
  float sum[SimilarityTile::kR] = {};
  for (int column = 0; column < z.M; column += kTile) {
    SimilarityTile s = similarities(z, row, column, shared.factors);
    for (int r = 0; r < SimilarityTile::kR; ++r)
      for (int k = 0; k < SimilarityTile::kC; ++k) {
        const int i = row + SimilarityTile::row(r), j = column + SimilarityTile::column(k);
        sum[r] += term(s.at(r, k), i, j, z.M, exponent);
        if (j == partner_of(i, z.M)) shared.positive[i - row] = s.at(r, k);
      }
  }

  const int sharer = thread / 32 % 4 * 4 + thread % 4;
  for (int r = 0; r < SimilarityTile::kR; ++r) shared.sum[SimilarityTile::row(r)][sharer] = sum[r];
  __syncthreads();
  if (thread >= kTile || row + thread >= z.M) return;  // no barrier follows
  double all = 0;
  for (int k = 0; k < kSharers; ++k) all += double{shared.sum[thread][k]};
  finish_row(row + thread, all, shared.positive[thread], c, inverse, loss_of_row);
}

/// Block (I, chunk): 64 rows and 128 columns of dz.
__global__ __launch_bounds__(kThreads, 2) void gradient_of_rows(Rows z, Exponent exponent, float factor,
                                                                const float* __restrict__ inverse,  // [M]
                                                                float* __restrict__ dz) {           // [M, D]
  auto& shared = *dynamic_shared<GradientShared>();
  const int row = static_cast<int>(blockIdx.x) * kTile, first_d = static_cast<int>(blockIdx.y) * kGradientColumns;
  GradientTile sum;
  for (int column = 0; column < z.M; column += kTile) {
    SimilarityTile s = similarities(z, row, column, shared.factors);
    for_each_element(s, row, column, [&](int i, int j, float value) {
      shared.weights.value[i - row][j - column] = weight(value, i, j, z.M, exponent, inverse);
    });
    add_weighted_rows(shared.weights, z, column, first_d, shared.factors, sum);
  }
  store_gradient(sum, z, row, first_d, factor, GradientMode::overwrite, dz);
}

}  // namespace

void rows_backward(Queue& queue, const NtXentShape& shape, const float* z, const float* inverse, float* dz) {
  launch(queue, {.grid = gradient_grid(shape), .block = {kThreads}, .shared_bytes = sizeof(GradientShared)},
         gradient_of_rows, Rows{z, shape.M, shape.D}, exponent_of(shape.temperature),
         1 / (shape.temperature * static_cast<float>(shape.M)), inverse, dz);
}

namespace {

size_t working_floats(const NtXentShape& shape) {
  return 2 * static_cast<size_t>(shape.M);
}

void loss_and_gradient(Queue& queue, const NtXentShape& shape, const float* z, float* working, float* loss, float* dz) {
  check_for_constant_offset(shape);
  float *inverse = working, *loss_of_row = working + shape.M;
  launch(queue, {.grid = {tiles_of(shape)}, .block = {kThreads}, .shared_bytes = sizeof(Shared)}, sum_rows,
         Rows{z, shape.M, shape.D}, exponent_of(shape.temperature), 1 / shape.temperature, inverse, loss_of_row);
  mean_loss(queue, shape.M, loss_of_row, loss);
  rows_backward(queue, shape, z, inverse, dz);
}

}  // namespace

extern const Step constant_offset{"03 constant offset", "one offset for all rows: sums add, e_ij = e_ji",
                                  Precision::f32,       3,
                                  working_floats,       loss_and_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
