// Contrastive losses that never build the similarity matrix.
//
// NT-Xent (Chen et al. 2020, SimCLR), z_i = x_i / ‖x_i‖, c = 1/τ, rows ordered view after view, so that the partner of
// row i is p(i) = (i + N) mod M:
//   loss = (1/M) Σ_i [ −c·z_i·z_p(i) + log Σ_{j≠i} exp(c·z_i·z_j) ]
// Unit rows bound the logits by c, so the softmax offset can be the constant c:
//   e_ij = exp(c (z_i·z_j − 1)),  r_i = Σ_{j≠i} e_ij,  loss = (1/M) Σ_i [ c + log r_i − c·z_i·z_p(i) ]
//   dz_i = (c/M) [ Σ_{j≠i} e_ij (1/r_i + 1/r_j) z_j − 2 z_p(i) ],   dx = (dz − z (z·dz)) / ‖x‖
// S is symmetric, so half of its tiles serve the forward pass. Memory is O(M·D).
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct NtXentShape {
  int M, D;  // M = 2N rows: N of the first view, then N of the second; M is even and at least 4
  float temperature;
};

/// Throws Error unless M is even and ≥ 4, D ≥ 1 and the temperature finite and positive.
void check(const NtXentShape& shape);
std::string text(const NtXentShape& shape);  // "M 512, D 128, temperature 0.07"

struct NormalizeShape {
  int64_t M;
  int D;
};
std::string text(const NormalizeShape& shape);  // "M 512, D 128"

struct ContrastiveKernels {
  /// z = x / ‖x‖ row by row, norm [M]. A row of zeros gives zeros. x, z [M, D].
  Entry<"contrastive.l2_normalize", void(const NormalizeShape&, const float* x, float* z, float* norm)> l2_normalize;
  /// dx = (dz − z (z·dz)) / ‖x‖; zero where the norm is zero.
  Entry<"contrastive.l2_normalize_backward",
        void(const NormalizeShape&, const float* z, const float* norm, const float* dz, float* dx, GradientMode mode)>
      l2_normalize_backward;

  /// z [M, D] unit rows; loss: one float; log_sum [M] = log Σ_{j≠i} exp(c (s_ij − 1)), kept for the backward pass. With
  /// the −1 it is near 0 for rows near their partners: a float is finest there, where gradients are small.
  Entry<"contrastive.nt_xent_forward", void(const NtXentShape&, const float* z, float* loss, float* log_sum)>
      nt_xent_forward;
  /// dz [M, D] = upstream · ∂loss/∂z, upstream one float in the device's memory, for the unit rows (the normalisation's
  /// Jacobian is l2_normalize_backward's).
  Entry<"contrastive.nt_xent_backward", void(const NtXentShape&, const float* z, const float* log_sum,
                                             const float* upstream, float* dz, GradientMode mode)>
      nt_xent_backward;
};

const ContrastiveKernels& contrastive_kernels(Device device);

SYSTOLE_KERNEL_TABLES(ContrastiveKernels, contrastive)
SYSTOLE_KERNEL_TABLES(ContrastiveKernels, contrastive_wgmma)  // of cuda and simt; for GPUs that have wgmma

}  // namespace systole::kernels
