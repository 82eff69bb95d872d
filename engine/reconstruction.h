// The operations of learning by masked reconstruction (kernels/reconstruction/README.md).
#pragma once

#include "engine/operations.h"

namespace systole {

/// The transpose of a conv1d with these options, by which a decoder comes back to the length that strides took away:
///   y[n, i, o] = bias[o] + Σ over (l, k) with l·stride + k·dilation − padding = i of Σ_c x[n, l, c] · w[k, o, c]
/// x [N, L, C_in], w [K, C_out, C_in], bias [C_out] → [N, (L − 1)·stride − 2·padding + dilation·(K − 1) + 1, C_out].
Tensor conv_transpose1d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv1dOptions& options);

/// Zero in blocks of `block` samples, each with probability p; what is masked follows from seed, step and place in the
/// batch. For signals [N, L, C]: no gradient flows through it.
Tensor mask_blocks(const Tensor& x, int block, float p, uint64_t seed, StepNumber step);

/// The mean of (x − target)² over all values: a scalar. No gradient for the target.
Tensor mean_squared_error(const Tensor& x, const Tensor& target);

}  // namespace systole
