// Losses on embeddings that compare no pairs of records, as differentiable operations: BYOL's cosine, Barlow Twins,
// VICReg. Formulas and their origin stand in kernels/contrastive/feature_loss.h. Two views lie in one tensor as in
// nt_xent: rows 0 … N−1 are the first, N … 2N−1 the second. Results are scalars.
#pragma once

#include "engine/autograd.h"
#include "engine/tensor.h"

namespace systole {

/// The mean of 2 − 2 cos(prediction_i, target_i) over the rows of two tensors [N, D], which are not normalised. No
/// gradient is computed for a tensor without a node: BYOL's target.
Tensor cosine_loss(const Tensor& prediction, const Tensor& target);

/// x [2N, D], N ≥ 2; off_diagonal is the λ of the authors' code. Needs memory for a [D, D] matrix.
Tensor barlow_twins(const Tensor& x, float off_diagonal = 0.0051f);

struct VicregWeights {
  float invariance = 25, variance = 25, covariance = 1;
};
/// x [2N, D], N ≥ 2. Needs memory for two [D, D] matrices.
Tensor vicreg(const Tensor& x, const VicregWeights& weights = {});

}  // namespace systole
