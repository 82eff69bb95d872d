// The two passes of NT-Xent on the CPU, for the table in contrastive_cpu.cpp.
#pragma once

#include "kernels/contrastive/contrastive.h"

namespace systole::kernels::cpu {

void nt_xent_forward(Queue&, const NtXentShape& shape, const float* z, float* loss, float* log_sum);
void nt_xent_backward(Queue&, const NtXentShape& shape, const float* z, const float* log_sum, const float* upstream,
                      float* dz, GradientMode mode);

}  // namespace systole::kernels::cpu
