// The two passes of NT-Xent on the cuda and simt devices, for the table in contrastive.cu.
#pragma once

#include "kernels/contrastive/contrastive.h"

namespace systole::kernels::SYSTOLE_TARGET {

void nt_xent_forward(Queue& queue, const NtXentShape& shape, const float* z, float* loss, float* log_sum);
void nt_xent_backward(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum,
                      const float* upstream, float* dz, GradientMode mode);

/// By wgmma where that can be (nt_xent_wgmma.cuh), otherwise as the others.
void nt_xent_forward_wgmma(Queue& queue, const NtXentShape& shape, const float* z, float* loss, float* log_sum);
void nt_xent_backward_wgmma(Queue& queue, const NtXentShape& shape, const float* z, const float* log_sum,
                            const float* upstream, float* dz, GradientMode mode);

}  // namespace systole::kernels::SYSTOLE_TARGET
