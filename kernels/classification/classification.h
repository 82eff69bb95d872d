// Binary cross-entropy with logits for multi-label classification, with the weights that make it focal, weighted or
// class-balanced:
//   loss = (1/(N·C)) Σ_n Σ_c l(x[n, c], y[n, c]),   p = σ(x)
//   l = −w⁺[c] · y · (1 − p)^γ · log p − w⁻[c] · (1 − y) · p^γ · log(1 − p)
// Plain: w⁺ = w⁻ = 1, γ = 0. Focal (Lin et al. 2017): w⁺ = w⁻ = α, γ = 2. Weighted: w⁺ = negatives / positives.
// Class-balanced (Cui et al. 2019): w⁺ = w⁻ from the effective number of samples. log p = −softplus(−x): no overflow,
// no log of zero.
#pragma once

#include <string>

#include "kernels/common/device.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct BceShape {
  int N, C;
  float gamma = 0;
};

/// Throws Error unless N ≥ 1, C ≥ 1 and gamma is finite and not negative.
void check(const BceShape& shape);
std::string text(const BceShape& shape);  // "N 64, C 5, gamma 2"

struct ClassificationKernels {
  /// logits [N, C]; targets [N, C] in [0, 1]; positive_weight, negative_weight [C] or null for ones; loss: one float.
  Entry<"classification.bce_forward", void(const BceShape&, const float* logits, const float* targets,
                                           const float* positive_weight, const float* negative_weight, float* loss)>
      bce_forward;
  /// dlogits [N, C] = upstream · ∂loss/∂logits, upstream one float in the device's memory.
  Entry<"classification.bce_backward",
        void(const BceShape&, const float* logits, const float* targets, const float* positive_weight,
             const float* negative_weight, const float* upstream, float* dlogits, GradientMode mode)>
      bce_backward;
};

const ClassificationKernels& classification_kernels(Device device);

SYSTOLE_KERNEL_TABLES(ClassificationKernels, classification)

}  // namespace systole::kernels
