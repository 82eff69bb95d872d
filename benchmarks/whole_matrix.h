// What losses over pairs of rows do with the whole matrix of similarities: the counterpart of the kernels in
// kernels/contrastive, which never hold more than a tile of it. Formulas and names are those of pair_loss.h and
// sigmoid_loss.h there; s [A, B] is the matrix, and weights overwrite it. Two passes over it, one for the sums and one
// for the weights, are the least that a softmax needs, so that what is compared is the algorithm and not a poor
// program. Exponents have a constant offset: temperatures from kPlainTemperature on.
#pragma once

#include "kernels/common/table.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/sigmoid_loss.h"

namespace systole::benchmarks {

struct WholeMatrixKernels {
  /// sums [A] of the rows of s, row_ids [A], column_ids [B].
  kernels::Entry<"whole_matrix.row_sums", void(const kernels::PairShape&, const float* s, const int32_t* row_ids,
                                               const int32_t* column_ids, kernels::PairSums* sums)>
      row_sums;
  /// sums [B] of the columns.
  kernels::Entry<"whole_matrix.column_sums", void(const kernels::PairShape&, const float* s, const int32_t* row_ids,
                                                  const int32_t* column_ids, kernels::PairSums* sums)>
      column_sums;
  /// s_ij becomes upstream · c · w_ij, the derivative by s_ij; rows [A] and columns [B], one of which may be null.
  kernels::Entry<"whole_matrix.weights",
                 void(const kernels::PairShape&, const int32_t* row_ids, const int32_t* column_ids,
                      const kernels::PairRow* rows, const kernels::PairRow* columns, const float* upstream, float* s)>
      weights;
  /// losses [A]: Σ_j softplus(a_ij) · A/n, of which the mean is the sigmoid loss.
  kernels::Entry<"whole_matrix.sigmoid_losses", void(const kernels::SigmoidShape&, const float* s,
                                                     const int32_t* row_ids, const int32_t* column_ids, float* losses)>
      sigmoid_losses;
  /// s_ij becomes upstream · (t/n) · w_ij.
  kernels::Entry<"whole_matrix.sigmoid_weights", void(const kernels::SigmoidShape&, const int32_t* row_ids,
                                                      const int32_t* column_ids, const float* upstream, float* s)>
      sigmoid_weights;
};

const WholeMatrixKernels& whole_matrix_kernels(Device device);

}  // namespace systole::benchmarks

namespace systole::kernels {
SYSTOLE_KERNEL_TABLES(benchmarks::WholeMatrixKernels, whole_matrix)
}
