// The sigmoid loss over pairs of rows (Zhai et al. 2023, "Sigmoid loss for language image pre-training", SigLIP): each
// pair is asked for itself whether it belongs together.
//
// Rows x_i [A, D], columns y_j [B, D], their ids and P_ij as in pair_loss.h; t = 1/τ, u_ij = t s_ij + b. What speaks
// against the pair is a_ij = P_ij ? −u_ij : u_ij, of which softplus(a) = log(1 + e^a) is the loss and
// σ(a) = 1/(1 + e^−a) its derivative. n is the number of pairs of the whole loss:
//   loss = (1/n) Σ_ij softplus(a_ij)
//   dx_i = (t/n) Σ_j w_ij y_j,   w_ij = P_ij ? −σ(a_ij) : σ(a_ij),   which is σ(u_ij) − P_ij without its cancellation
//   db   = (1/n) Σ_ij w_ij
// No row has a normaliser: backward needs nothing from forward, and blocks of rows against blocks of columns simply
// add. Memory is O((A + B)·D).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"
#include "kernels/contrastive/pair_loss.h"

namespace systole::kernels {

struct SigmoidShape {
  PairShape pairs;  // positives_in_denominator has no meaning: there is no denominator
  float bias;       // b
  int64_t count;    // n: for a loss in one call pair_count(pairs), in blocks the sum over all of them
};

/// Throws Error unless check(pairs) holds, the bias is finite and the count ≥ 1.
void check(const SigmoidShape& shape);
std::string text(const SigmoidShape& shape);  // "A 512, B 512, D 128, temperature 0.1, bias -10, 261632 pairs"

/// A·B, less the pairs of a row with itself.
int64_t pair_count(const PairShape& shape);

struct SigmoidLossKernels {
  /// x [A, D], y [B, D], row_ids [A], column_ids [B]: loss, one float.
  Entry<"contrastive.sigmoid_loss", void(const SigmoidShape&, const float* x, const float* y, const int32_t* row_ids,
                                         const int32_t* column_ids, float* loss, GradientMode mode)>
      loss;
  /// dx [A, D] (+)= upstream · ∂loss/∂x and dbias, one float or null, (+)= upstream · ∂loss/∂b; upstream is one float
  /// in the device's memory. Of one set, dx has both roles of a row, which is twice the same since w_ij = w_ji. Of two,
  /// dy is the same call with everything exchanged, and one of the calls has dbias. The gradient by τ is
  /// "contrastive.pair_temperature" of this dx, both_roles for one set.
  Entry<"contrastive.sigmoid_gradient",
        void(const SigmoidShape&, const float* x, const float* y, const int32_t* row_ids, const int32_t* column_ids,
             const float* upstream, float* dx, float* dbias, GradientMode mode)>
      gradient;
};

const SigmoidLossKernels& sigmoid_loss_kernels(Device device);

SYSTOLE_KERNEL_TABLES(SigmoidLossKernels, sigmoid_loss)

}  // namespace systole::kernels
