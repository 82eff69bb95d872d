// Losses on embeddings that compare no pairs of records.
//
// Cosine (Grill et al. 2020, BYOL), row by row:
//   loss = (1/N) Σ_i (2 − 2 cos_i),  cos_i = p_i·t_i / (‖p_i‖ ‖t_i‖)
//   dp_i = (2/N) (cos_i p_i/‖p_i‖ − t_i/‖t_i‖) / ‖p_i‖,  and the same with p and t exchanged
// A row of zeros has no direction: cos is 0, and so are both gradients.
//
// The others make the D columns of two views A, B [N, D] informative, by way of a matrix S [D, D] of products of
// columns. Products and statistics are those of kernels/linear, in the queue's precision, and of kernels/batch_norm;
// here is what S adds to the loss, and the matrix G that carries the gradient back. Memory is O(N·D + D²).
//
// Barlow Twins (Zbontar et al. 2021): Â, B̂ have columns of mean 0 and variance 1 over their view, (x − mean) /
// sqrt(var + eps) with the biased variance, as of a BatchNorm without γ and β.
//   S = Âᵀ B̂,  C = S/N,  loss = Σ_d (1 − C_dd)² + λ Σ_{d≠e} C_de²
//   G_dd = −(2/N) (1 − C_dd),  G_de = (2λ/N) C_de,  dÂ = B̂ Gᵀ,  dB̂ = Â G
// The authors' code has λ = 0.0051 (the paper 0.005) and a factor on the whole loss, --scale-loss, that we leave out.
//
// VICReg (Bardes et al. 2022): Aᶜ, Bᶜ are centred columns; each view has its own S = XᶜᵀXᶜ and cov = S/(N−1).
//   loss = w_i (1/(N·D)) Σ (a − b)² + Σ_{views} [ (w_v/2D) Σ_d max(0, 1 − s_d) + (w_c/D) Σ_{d≠e} cov_de² ]
//   s_d = sqrt(cov_dd + 1e-4)
//   G_dd = −w_v / (2 D (N−1) s_d) where s_d < 1, else 0,  G_de = 4 w_c cov_de / (D (N−1)),  dXᶜ = Xᶜ G
// cov_dd is the unbiased variance. The columns of Xᶜ G have mean 0, so dXᶜ is the gradient of the rows before centring.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct CosineShape {
  int N, D;
};

/// Throws Error unless N ≥ 1 and D ≥ 1.
void check(const CosineShape& shape);
std::string text(const CosineShape& shape);  // "N 256, D 128"

struct BarlowTwinsShape {
  int N, D;            // N records, a row each in either view
  float off_diagonal;  // λ
};

/// Throws Error unless N ≥ 2, D ≥ 1 and λ is finite and not negative.
void check(const BarlowTwinsShape& shape);
std::string text(const BarlowTwinsShape& shape);  // "N 256, D 2048, off-diagonal weight 0.0051"

struct VicregShape {
  int N, D;                                // N records, a row each in either view
  float invariance, variance, covariance;  // w_i, w_v, w_c
};

/// Throws Error unless N ≥ 2, D ≥ 1 and the weights are finite and not negative.
void check(const VicregShape& shape);
std::string text(const VicregShape& shape);  // "N 256, D 2048, weights 25, 25, 1"

struct FeatureLossKernels {
  /// p, t [N, D]; loss: one float.
  Entry<"contrastive.cosine_forward", void(const CosineShape&, const float* p, const float* t, float* loss)>
      cosine_forward;
  /// dp, dt [N, D] = upstream · ∂loss/∂p, ∂loss/∂t, each in its mode, and either may be null. upstream is one float in
  /// the device's memory, here and below.
  Entry<"contrastive.cosine_backward", void(const CosineShape&, const float* p, const float* t, const float* upstream,
                                            float* dp, GradientMode dp_mode, float* dt, GradientMode dt_mode)>
      cosine_backward;

  /// The scale and shift with which batch_norm.apply standardises columns: scale = 1 / sqrt(var + eps), or centres them
  /// where var is null: scale = 1; shift = −mean · scale. All have `count` values.
  Entry<"contrastive.column_affine",
        void(int64_t count, const float* mean, const float* var, float eps, float* scale, float* shift)>
      column_affine;

  /// sums [D, D] = S of the standardised views; loss: one float.
  Entry<"contrastive.barlow_twins_forward", void(const BarlowTwinsShape&, const float* sums, float* loss)>
      barlow_twins_forward;
  /// dsums [D, D] = upstream · G; may be sums.
  Entry<"contrastive.barlow_twins_backward",
        void(const BarlowTwinsShape&, const float* sums, const float* upstream, float* dsums)>
      barlow_twins_backward;

  /// x [2N, D], the rows of view A, then those of B; sums [2, D, D] = S of either; loss: one float, of all three terms.
  Entry<"contrastive.vicreg_forward", void(const VicregShape&, const float* x, const float* sums, float* loss)>
      vicreg_forward;
  /// dsums [2, D, D] = upstream · G; may be sums.
  Entry<"contrastive.vicreg_backward", void(const VicregShape&, const float* sums, const float* upstream, float* dsums)>
      vicreg_backward;
  /// The gradient of the term w_i: dx [2N, D] (+)= ± upstream · (2 w_i / (N·D)) (a − b), + for A and − for B.
  Entry<"contrastive.vicreg_invariance_backward",
        void(const VicregShape&, const float* x, const float* upstream, float* dx, GradientMode mode)>
      vicreg_invariance_backward;
};

const FeatureLossKernels& feature_loss_kernels(Device device);

SYSTOLE_KERNEL_TABLES(FeatureLossKernels, feature_loss)

}  // namespace systole::kernels
