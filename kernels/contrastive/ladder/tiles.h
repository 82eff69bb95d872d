// What steps 1 to 4 compute with: tiles of S = Z Zᵀ, and weights times Z, by blocks of 256 threads in f32. How such a
// product is made fast is the subject of the other ladder (kernels/conv1d/ladder); here it is always the same one, that
// of kernels/linear/product_tile.h, so that what a step gains is due to its idea.
//
//   similarities         s [64, 64]   = Z_I Z_Jᵀ        depth d, 32 at a time
//   add_weighted_rows    dz [64, 128] += w Z_J          depth j, 32 at a time
//
// Where a tile reaches past the last row or number, Z is filled up with zeros.
#pragma once

#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/packed_rows.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {

inline constexpr int kThreads = kProductThreads;
using GradientTile = ProductTile<kTile, kGradientColumns>;  // of dz: what a block keeps in registers

struct Rows {
  const float* z;  // [M, D]
  int M, D;
};

inline int tiles_of(const NtXentShape& shape) {
  return ceil_div(shape.M, kTile);
}
/// One block for each 64 rows and 128 columns of dz.
inline Extent gradient_grid(const NtXentShape& shape) {
  return {tiles_of(shape), ceil_div(shape.D, kGradientColumns)};
}

__device__ __forceinline__ int partner_of(int i, int M) {
  return i < M / 2 ? i + M / 2 : i - M / 2;
}

/// Two factors in shared memory, the depth along rows. `right` has 64 rows of Z, or 128 columns of it.
struct Factors {
  FactorTile<Precision::f32, kTile> left;
  FactorTile<Precision::f32, kGradientColumns> right;
};
using Weights = FactorTile<Precision::f32, kTile, kTile>;
/// Shared memory of a gradient's block.
struct GradientShared {
  Factors factors;
  Weights weights;
};

/// to[i][d] = z[row + i, first_d + d]
template <class Tile>
__device__ __forceinline__ void load_rows(const Rows& z, int row, int first_d, Tile& to) {
  for (int k = static_cast<int>(threadIdx.x); k < kTile * kProductDepth; k += kThreads) {
    const int i = k / kProductDepth, d = k % kProductDepth;
    const bool inside = row + i < z.M && first_d + d < z.D;
    to.value[i][d] = inside ? z.z[static_cast<size_t>(row + i) * z.D + first_d + d] : 0.0f;
  }
}
/// to[d][j] = z[row + j, first_d + d]
template <class Tile>
__device__ __forceinline__ void load_columns(const Rows& z, int row, int first_d, Tile& to) {
  for (int k = static_cast<int>(threadIdx.x); k < kGradientColumns * kProductDepth; k += kThreads) {
    const int j = k / kGradientColumns, d = k % kGradientColumns;
    const bool inside = row + j < z.M && first_d + d < z.D;
    to.value[d][j] = inside ? z.z[static_cast<size_t>(row + j) * z.D + first_d + d] : 0.0f;
  }
}

/// The tile of S from (row, column). A barrier comes first: what was in shared memory has been read.
__device__ __forceinline__ SimilarityTile similarities(const Rows& z, int row, int column, Factors& shared) {
  SimilarityTile s;
  for (int d = 0; d < z.D; d += kProductDepth) {
    __syncthreads();
    load_rows(z, row, d, shared.left);
    load_rows(z, column, d, shared.right);
    __syncthreads();
    s.template add<Precision::f32>(shared.left.value[0], shared.left.kPitch, shared.right.value[0],
                                   shared.right.kPitch);
  }
  return s;
}

/// dz += w Z_J for the rows of Z from `column` on and its numbers from first_d on. Its first barrier also ends the
/// writing of w.
__device__ __forceinline__ void add_weighted_rows(const Weights& w, const Rows& z, int column, int first_d,
                                                  Factors& shared, GradientTile& dz) {
  for (int j = 0; j < kTile; j += kProductDepth) {
    __syncthreads();
    load_columns(z, column + j, first_d, shared.right);
    __syncthreads();
    dz.template add<Precision::f32>(w.value[0] + j, w.kPitch, shared.right.value[0], shared.right.kPitch);
  }
}

/// body(i, j, value) for this thread's elements of a tile from (row, column): 16 of S, 32 of dz.
template <class Tile, class Body>
__device__ __forceinline__ void for_each_element(Tile& tile, int row, int column, const Body& body) {
#pragma unroll
  for (int r = 0; r < Tile::kR; ++r)
#pragma unroll
    for (int c = 0; c < Tile::kC; ++c) body(row + Tile::row(r), column + Tile::column(c), tile.at(r, c));
}

/// dz [M, D] = factor · the sums of a block from (row, first_d), or that is added to it.
__device__ __forceinline__ void store_gradient(GradientTile& sum, const Rows& z, int row, int first_d, float factor,
                                               GradientMode mode, float* __restrict__ dz) {
  for_each_element(sum, row, first_d, [&](int i, int d, float value) {
    if (i >= z.M || d >= z.D) return;
    float& to = dz[static_cast<size_t>(i) * z.D + d];
    to = mode == GradientMode::accumulate ? to + factor * value : factor * value;
  });
}

/// *loss = (1/M) Σ_i loss_of_row[i]
void mean_loss(Queue& queue, int M, const float* loss_of_row, float* loss);

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
