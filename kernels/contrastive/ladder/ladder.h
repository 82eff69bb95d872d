// The learning ladder of NT-Xent: one idea a file, each the complete loss with its gradient for every shape. For unit
// rows z_i, partner p(i) = (i + M/2) mod M, s_ij = z_i·z_j and c = 1/τ (kernels/contrastive/contrastive.h):
//   loss = (1/M) Σ_i [ −c·s_ip + log Σ_{j≠i} exp(c·s_ij) ],   dz = ∂loss / ∂z
// README.md is the text that goes with it.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/contrastive/contrastive.h"

namespace systole::kernels {

namespace nt_xent_ladder {

struct Step {
  const char* name;
  const char* idea;
  Precision precision;  // of the products
  double units;         // work, in units of 2·M²·D floating-point operations; for D ≤ 128
  /// How many floats of working memory it needs.
  size_t (*working_floats)(const NtXentShape&);
  /// z [M, D] unit rows; working: that many floats, 16-byte aligned; writes one loss and dz [M, D].
  void (*loss_and_gradient)(Queue&, const NtXentShape&, const float* z, float* working, float* loss, float* dz);
};

/// In the order of reading; of simt and cuda, empty for cpu.
const std::vector<Step>& steps(Device device);

/// What steps 3 to 5 ask of a shape. Throws Error unless it is one of NT-Xent and its temperature at least 0.023:
/// below, exp(c·(s − 1)) may vanish.
void check_for_constant_offset(const NtXentShape& shape);

}  // namespace nt_xent_ladder

#define SYSTOLE_NT_XENT_STEPS(target)                                                          \
  namespace target::nt_xent_ladder {                                                           \
  using kernels::nt_xent_ladder::check_for_constant_offset;                                    \
  using kernels::nt_xent_ladder::Step;                                                         \
  extern const Step materialised, running_max, constant_offset, symmetric_tiles, tensor_cores; \
  }
SYSTOLE_NT_XENT_STEPS(simt)
SYSTOLE_NT_XENT_STEPS(cuda)

}  // namespace systole::kernels
