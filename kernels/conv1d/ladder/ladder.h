// The learning ladder of the Conv1d forward pass: one idea a file, each a complete convolution of every shape,
//   y[n, l, o] = Σ_k Σ_c x[n, l·stride + k·dilation − padding, c] · w[k, c, o]        (kernels/conv1d/conv1d.h)
// README.md is the text that goes with it.
#pragma once

#include <vector>

#include "kernels/conv1d/conv1d.h"

namespace systole::kernels {

namespace ladder {

struct Step {
  const char* name;
  const char* idea;
  Precision precision;  // of the products
  /// x [N, L, C_in], w [K, C_in, C_out], y [N, L_out, C_out].
  void (*forward)(Queue&, const Conv1dShape&, const float* x, const float* w, float* y);
};

/// In the order of reading; of simt and cuda, empty for cpu.
const std::vector<Step>& steps(Device device);

/// The last step with what a training step asks of it: the input's normalisation and the output's moments.
using FusedForward = void (*)(Queue&, const Conv1dShape&, const float* x, const PendingAffine& pending, const float* w,
                              float* y, const RecordMoments& moments);
FusedForward fused_forward(Device device);

}  // namespace ladder

#define SYSTOLE_LADDER_STEPS(target)                                                                                  \
  namespace target::ladder {                                                                                          \
  using kernels::ladder::FusedForward;                                                                                \
  using kernels::ladder::Step;                                                                                        \
  extern const Step naive, window, shared_slab, register_tile, async_copy, tensor_core_tf32, tensor_core_bf16, fused; \
  extern const FusedForward fused_forward;                                                                            \
  }
SYSTOLE_LADDER_STEPS(simt)
SYSTOLE_LADDER_STEPS(cuda)

}  // namespace systole::kernels
