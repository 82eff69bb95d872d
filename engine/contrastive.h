// Contrastive losses over pairs of rows, as differentiable operations. Each brings its rows to unit length itself and
// needs no more memory than they do. kernels/contrastive/README.md derives the formulas; what is a positive, and what a
// row is compared with, is said by ids and options.
#pragma once

#include "engine/autograd.h"
#include "engine/tensor.h"
#include "kernels/contrastive/pair_loss.h"

namespace systole {

/// A temperature τ: a number, or one that is learned, τ = exp(−log_scale) (Radford et al. 2021, CLIP).
struct Temperature {
  float value = 0.07f;
  Tensor log_scale{};  // [1]; empty: τ is not learned

  Temperature(float fixed) : value(fixed) {}  // NOLINT(google-explicit-constructor): most are numbers
  /// Reads log_scale on the host, a wait for the device.
  static Temperature learned(const Tensor& log_scale);
};

/// Rows of unit length; a row of zeros stays zero. x [M, D].
Tensor l2_normalize(const Tensor& x);
/// NT-Xent of the rows of x [2N, D]; rows 0 … N−1 are the first views, N … 2N−1 the second. A scalar.
Tensor nt_xent(const Tensor& x, const Temperature& temperature);

struct PairLossOptions {
  Temperature temperature = 0.07f;
  kernels::PairMean mean = kernels::PairMean::rows;
  bool positives_in_denominator = true;  // false: DCL
};

struct PairLossResult {
  Tensor loss;          // a scalar; 0 where no row has a positive
  Tensor left_out;      // i32: how many rows had none, per direction
  Tensor embeddings{};  // what was compared, of an objective that says so
};

/// Rows of one set against each other: SupCon, DCL. x [M, D]; rows with equal ids [M] (i32) are positives.
PairLossResult pair_loss(const Tensor& x, const Tensor& ids, const PairLossOptions& options);

enum class Directions { rows, both };

/// Rows x [A, D] against columns y [B, D], positives where ids are equal: InfoNCE, or with both directions the mean of
/// x → y and y → x (CLIP). No gradient is computed for a set without a node: MoCo's keys.
PairLossResult pair_loss(const Tensor& x, const Tensor& y, const Tensor& row_ids, const Tensor& column_ids,
                         Directions directions, const PairLossOptions& options);

/// CLOCS (Kiyasseh et al. 2021): x [slots · N, D] holds `slots` views of N records, slot after slot: segments (CMSC),
/// leads (CMLC), or both (CMSMLC). Each two slots are compared in both directions; positives are all pairs with equal
/// ids [N]. The mean over all positives of all pairs of slots.
Tensor clocs(const Tensor& x, int slots, const Tensor& ids, const Temperature& temperature);

/// SigLIP (Zhai et al. 2023): every pair of rows x [A, D] and columns y [B, D] is asked for itself whether its ids are
/// equal; softplus(∓(s_ij / τ + bias)), the mean over all pairs. bias [1], usually a leaf, is read on the host.
Tensor siglip(const Tensor& x, const Tensor& y, const Tensor& row_ids, const Tensor& column_ids,
              const Temperature& temperature, const Tensor& bias);

}  // namespace systole
