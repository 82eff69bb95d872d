// Step 4. The forward pass needs half of the tiles.
//
// e_ij = e_ji: a tile above the diagonal holds the terms of both of its sides. Its row sums belong to the rows I, its
// column sums to the rows J, and the tile below the diagonal, which has the same numbers, is not computed.
//
//          J0  J1  J2  J3                        tile (I, J):
//    I0    0   0   0   1                         ┌────────┐
//    I1        1   1   2    number: the piece    │  e_ij  │ ──►  row sums     += at I
//    I2            2   2                         └────────┘
//    I3                3                              └─────►  column sums  += at J, if J ≠ I
//
// Now two blocks have sums for the same row, and both would add to one place. Atomic additions take place in the order
// in which blocks happen to come, and a sum of floats has other last bits in another order. So every piece of the
// triangle has a vector of sums of its own, and another kernel adds the vectors from the first to the last. That is at
// most 256 floats a row; a vector for each row of tiles would be simpler, but grow as M².
//
// This is what a constant offset is worth: with the offsets of step 2 a tile would need other terms for its rows than
// for its columns, twice the exponentials, and a largest logit beside every sum.
//
// Forward ½ unit, backward 1 + 1 as in step 3. The backward pass could halve its first product too, but a tile's
// weights would then go to the rows I and J of dz, and every piece to a dz of its own: D numbers a row instead of one.

#include "kernels/contrastive/ladder/ladder.h"
#include "kernels/contrastive/ladder/triangle.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {
namespace {

struct Shared {
  Factors factors;
  TileSums sums;
};

/// Block: a piece of the triangle.
__global__ __launch_bounds__(kThreads, 2) void sum_triangle(Rows z, int tiles, Exponent exponent,
                                                            float* __restrict__ sums,        // [pieces, padded_M]
                                                            float* __restrict__ positive) {  // [M / 2] s_ip
  auto& shared = *dynamic_shared<Shared>();
  const int padded_M = tiles * kTile;
  float* own = sums + static_cast<size_t>(blockIdx.x) * padded_M;
  for (int i = static_cast<int>(threadIdx.x); i < padded_M; i += kThreads) own[i] = 0;

  for (Piece piece(tiles, blockIdx.x, gridDim.x); piece.left > 0; piece.next(tiles)) {
    const int row = piece.I * kTile, column = piece.J * kTile;
    SimilarityTile s = similarities(z, row, column, shared.factors);
    for_each_element(s, row, column, [&](int i, int j, float& value) {
      if (j == i + z.M / 2 && j < z.M) positive[i] = value;  // i is of the first view; its partner has the same
      value = term(value, i, j, z.M, exponent);
    });
    add_sums(s, row, column, shared.sums, own);
  }
}

/// One thread per row: the sums of all pieces, from the first to the last.
__global__ __launch_bounds__(kThreads, 4) void add_pieces(const float* __restrict__ sums,  // [pieces, padded_M]
                                                          int pieces, int padded_M, int M, float c,
                                                          const float* __restrict__ positive,  // [M / 2]
                                                          float* __restrict__ inverse,         // [M]
                                                          float* __restrict__ loss_of_row) {   // [M]
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= M) return;
  double r = 0;
  for (int piece = 0; piece < pieces; ++piece) r += double{sums[static_cast<size_t>(piece) * padded_M + i]};
  finish_row(i, r, positive[i % (M / 2)], c, inverse, loss_of_row);
}

}  // namespace

void finish_loss(Queue& queue, const NtXentShape& shape, const float* sums, const float* positive, float* inverse,
                 float* loss_of_row, float* loss) {
  launch(queue, {.grid = {ceil_div(shape.M, kThreads)}, .block = {kThreads}}, add_pieces, sums, pieces_of(shape),
         tiles_of(shape) * kTile, shape.M, 1 / shape.temperature, positive, inverse, loss_of_row);
  mean_loss(queue, shape.M, loss_of_row, loss);
}

namespace {

size_t sums_size(const NtXentShape& shape) {
  return static_cast<size_t>(pieces_of(shape)) * static_cast<size_t>(tiles_of(shape) * kTile);
}

size_t working_floats(const NtXentShape& shape) {
  return sums_size(shape) + 2 * static_cast<size_t>(shape.M) + static_cast<size_t>(shape.M / 2);
}

void loss_and_gradient(Queue& queue, const NtXentShape& shape, const float* z, float* working, float* loss, float* dz) {
  check_for_constant_offset(shape);
  float* sums = working;                     // [pieces, padded_M]
  float* inverse = sums + sums_size(shape);  // [M]
  float* loss_of_row = inverse + shape.M;    // [M]
  float* positive = loss_of_row + shape.M;   // [M / 2]
  launch(queue, {.grid = {pieces_of(shape)}, .block = {kThreads}, .shared_bytes = sizeof(Shared)}, sum_triangle,
         Rows{z, shape.M, shape.D}, tiles_of(shape), exponent_of(shape.temperature), sums, positive);
  finish_loss(queue, shape, sums, positive, inverse, loss_of_row, loss);
  rows_backward(queue, shape, z, inverse, dz);
}

}  // namespace

extern const Step symmetric_tiles{"04 symmetric tiles", "half of the tiles forward: row and column sums",
                                  Precision::f32,       2.5,
                                  working_floats,       loss_and_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
