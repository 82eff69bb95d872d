// What the files of the features' losses share on cuda and simt.
#pragma once

#include "kernels/common/launch.h"
#include "kernels/contrastive/feature_loss.h"

namespace systole::kernels::SYSTOLE_TARGET {

/// *loss = Σ part, in an order that depends on the number of parts alone.
void add_parts(Queue& queue, const double* part, int64_t parts, float* loss);

__device__ __forceinline__ void store(double value, GradientMode mode, float& to) {
  to = static_cast<float>(mode == GradientMode::accumulate ? to + value : value);
}

void cosine_forward(Queue& queue, const CosineShape& shape, const float* p, const float* t, float* loss);
void cosine_backward(Queue& queue, const CosineShape& shape, const float* p, const float* t, const float* upstream,
                     float* dp, GradientMode dp_mode, float* dt, GradientMode dt_mode);

}  // namespace systole::kernels::SYSTOLE_TARGET
