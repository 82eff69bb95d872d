// Step 5. Tensor cores multiply the tiles, in bf16.
//
// mma.sync multiplies 16 × 16 by 16 × 8 numbers with one instruction of a warp (kernels/conv1d/ladder, steps 6 and 7).
// The mathematics is step 4's; what changes is what feeds the products (../packed_rows.h, ../gradient_tiles.cuh):
//
//   rounding     Z becomes bf16 once, in a copy filled up with zeros to whole tiles: a load is 16 aligned bytes without
//                a condition. The gradient's product w Z has depth j, and gets a transposed copy.
//   copying      cp.async brings the next 32 of the depth while these 32 are multiplied.
//   weights      stay within the block: from the registers of one product, rounded, to shared memory for the next.
//
//     z, bf16 ── mma ──► s_ij, f32 ── one multiply-add, one ex2 ──► e_ij ──► sums, or
//                                                                   w_ij, bf16 ── mma with Z ──► dz, f32
//
// What bf16 costs: products of two are exact in f32, and sums are f32, so the loss is that of the rounded rows. They
// may be a little longer than 1, |s_ij| ≤ 1.004, which the offset has room for. The gradient has one more rounding,
// that of w_ij, by at most 2⁻⁹ of it.

#include "kernels/contrastive/gradient_tiles.cuh"
#include "kernels/contrastive/ladder/ladder.h"
#include "kernels/contrastive/ladder/triangle.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {
namespace {

constexpr Precision kPrecision = Precision::bf16;
using Packed = PackedRows<kPrecision>;

struct Shared {
  Stage<kPrecision> stage[2];
  TileSums sums;
};

/// Block: a piece of the triangle, as in step 4.
__global__ __launch_bounds__(kThreads, 2) void sum_triangle(Packed z, Exponent exponent,
                                                            float* __restrict__ sums,        // [pieces, padded_M]
                                                            float* __restrict__ positive) {  // [M / 2]
  auto& shared = *dynamic_shared<Shared>();
  const int tiles = z.padded_M / kTile;
  float* own = sums + static_cast<size_t>(blockIdx.x) * z.padded_M;
  for (int i = static_cast<int>(threadIdx.x); i < z.padded_M; i += kThreads) own[i] = 0;

  for (Piece piece(tiles, blockIdx.x, gridDim.x); piece.left > 0; piece.next(tiles)) {
    const int row = piece.I * kTile, column = piece.J * kTile;
    SimilarityTile s;
    similarity_tile<kPrecision>(z, row, column, shared.stage, s);
    for_each_element(s, row, column, [&](int i, int j, float& value) {
      if (j == i + z.M / 2 && j < z.M) positive[i] = value;
      value = term(value, i, j, z.M, exponent);
    });
    add_sums(s, row, column, shared.sums, own);
  }
}

/// Block (I · chunks + chunk): 64 rows and 128 columns of Σ_j w_ij z_j.
__global__ __launch_bounds__(kThreads, 2) void weigh_and_multiply(Packed z, Exponent exponent,
                                                                  const float* __restrict__ inverse,  // [M]
                                                                  float* __restrict__ sums) {  // [padded_M, columns]
  const auto weigh = [&](SimilarityTile& s, int row, int column, FactorTile<kPrecision, kTile, kTile>& weights) {
    for_each_element(s, row, column, [&](int i, int j, float value) {
      weights.value[i - row][j - column] = to_factor<kPrecision>(weight(value, i, j, z.M, exponent, inverse));
    });
  };
  mix_tiles<kPrecision>(z, z, weigh, sums);
}

/// dz = factor · sums, without what fills up tiles; one thread per element.
__global__ __launch_bounds__(kThreads, 4) void scale(const float* __restrict__ sums,  // [padded_M, columns]
                                                     int columns, int M, int D, float factor,
                                                     float* __restrict__ dz) {  // [M, D]
  const int64_t k = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (k < int64_t{M} * D) dz[k] = factor * sums[k / D * columns + k % D];
}

/// Z as it is packed: whole tiles of rows, whole steps of the depth, and transposed whole columns of dz.
Packed packed_shape(const NtXentShape& s) {
  return {.M = s.M,
          .D = s.D,
          .padded_M = tiles_of(s) * kTile,
          .padded_D = ceil_div(s.D, kProductDepth) * kProductDepth,
          .rows = nullptr,
          .transposed_rows = ceil_div(s.D, kGradientColumns) * kGradientColumns};
}

size_t working_floats(const NtXentShape& shape) {
  const Packed z = packed_shape(shape);
  const int of_a_row = z.padded_D / 2 + z.transposed_rows / 2 + z.transposed_rows + pieces_of(shape);
  return static_cast<size_t>(z.padded_M) * static_cast<size_t>(of_a_row) + static_cast<size_t>(z.M / 2 * 5);
}

void loss_and_gradient(Queue& queue, const NtXentShape& shape, const float* z, float* working, float* loss, float* dz) {
  check_for_constant_offset(shape);
  Packed packed = packed_shape(shape);
  const auto padded_M = static_cast<size_t>(packed.padded_M), columns = static_cast<size_t>(packed.transposed_rows);
  packed.rows = reinterpret_cast<Factor<kPrecision>*>(working);                       // [padded_M, padded_D]
  packed.transposed = packed.rows + padded_M * static_cast<size_t>(packed.padded_D);  // [columns, padded_M]
  auto* products = reinterpret_cast<float*>(packed.transposed + padded_M * columns);  // [padded_M, columns]
  float* sums = products + padded_M * columns;                                        // [pieces, padded_M]
  float* inverse = sums + padded_M * static_cast<size_t>(pieces_of(shape));           // [M]
  float* loss_of_row = inverse + shape.M;                                             // [M]
  float* positive = loss_of_row + shape.M;                                            // [M / 2]
  const Exponent exponent = exponent_of(shape.temperature);
  pack(queue, z, packed);
  launch(queue, {.grid = {pieces_of(shape)}, .block = {kThreads}, .shared_bytes = sizeof(Shared)}, sum_triangle, packed,
         exponent, sums, positive);
  finish_loss(queue, shape, sums, positive, inverse, loss_of_row, loss);

  const Extent gradient = gradient_grid(shape);
  launch(queue, {.grid = {gradient.x * gradient.y}, .block = {kThreads}, .shared_bytes = sizeof(MixShared<kPrecision>)},
         weigh_and_multiply, packed, exponent, inverse, products);
  launch(queue, {.grid = {ceil_div(int64_t{shape.M} * shape.D, int64_t{kThreads})}, .block = {kThreads}}, scale,
         products, packed.transposed_rows, shape.M, shape.D, 1 / (shape.temperature * static_cast<float>(shape.M)), dz);
}

}  // namespace

extern const Step tensor_cores{"05 tensor cores", "mma in bf16 on rows that are rounded once",
                               Precision::bf16,   2.5,
                               working_floats,    loss_and_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
