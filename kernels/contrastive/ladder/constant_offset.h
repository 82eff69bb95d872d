// What a constant softmax offset makes possible, for steps 3 to 5: one formula for the terms of all rows, and a
// backward pass that needs rows only.
//
//   e_ij = exp(c·(s_ij − 1)) = 2^(scale·s_ij + offset)        scale = c / ln 2, offset = −scale: a multiply-add, an ex2
//   w_ij = e_ij (1/r_i + 1/r_j) − 2·(j = p(i))                dz_i = (c/M) Σ_{j≠i} w_ij z_j
//
// The −2 is part of the weight and not taken from the finished sum: near the optimum w_ip is the difference of two
// numbers near 2, which takes no rounding; that of finished sums would be lost in theirs.
#pragma once

#include "kernels/contrastive/exponent.h"
#include "kernels/contrastive/ladder/tiles.h"

namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder {

/// e_ij; 0 on the diagonal and outside of the matrix. e_ii is left out, not subtracted afterwards: it is 1 and may be
/// 10²⁰ times the rest of its row.
__device__ __forceinline__ float term(float s, int i, int j, int M, const Exponent& exponent) {
  return i != j && i < M && j < M ? exp2_approx(s * exponent.scale + exponent.offset) : 0.0f;
}

__device__ __forceinline__ float weight(float s, int i, int j, int M, const Exponent& exponent,
                                        const float* __restrict__ inverse) {  // [M] 1/r
  if (i == j || i >= M || j >= M) return 0;
  const float w = term(s, i, j, M, exponent) * (inverse[i] + inverse[j]);
  return j == partner_of(i, M) ? w - 2 : w;
}

/// What is kept of row i, and its loss: log r_i − c·(s_ip − 1).
__device__ __forceinline__ void finish_row(int i, double r, float positive, float c,
                                           float* __restrict__ inverse,        // [M]
                                           float* __restrict__ loss_of_row) {  // [M]
  inverse[i] = static_cast<float>(1 / r);
  loss_of_row[i] = static_cast<float>(log(r) - double{c} * (double{positive} - 1));
}

/// Step 3's backward pass, which step 4 has too.
void rows_backward(Queue& queue, const NtXentShape& shape, const float* z, const float* inverse, float* dz);

}  // namespace systole::kernels::SYSTOLE_TARGET::nt_xent_ladder
