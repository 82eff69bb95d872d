// Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): of a segment of the network only its input is kept,
// and the backward pass runs the segment forward a second time. Memory for one more forward pass.
#pragma once

#include <functional>

#include "engine/operations.h"

namespace systole {

/// While it lives, segments of this thread that record keep only their inputs.
using Recompute = ScopedFlag<struct RecomputeTag>;

using Segment = std::function<Activation(const Activation&)>;

/// f(x). Under Recompute what f saves is freed at once; backward calls f again, so f must depend on nothing but x and
/// the parameters, and both must still be there. The gradients have the same bits as without.
Activation segment(const Activation& x, const Segment& f);
/// For blocks that read and write plain tensors.
Tensor segment(const Tensor& x, const std::function<Tensor(const Tensor&)>& f);

}  // namespace systole
