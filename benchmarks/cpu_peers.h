// Other libraries' kernels for the cpu device, as tables like ours: what is measured beside them calls both alike. Each
// exists where its library was found at configure time (SYSTOLE_OPENBLAS, SYSTOLE_ONEDNN). They compute in f32 with
// threads() threads.
#pragma once

#include "kernels/conv1d/conv1d.h"
#include "kernels/linear/linear.h"

namespace systole::benchmarks {

/// The three products by cblas_sgemm, which adds to the bias; dbias is a loop of our own, as PyTorch has one.
extern const kernels::LinearKernels openblas_linear;

/// Plain convolutions by oneDNN: all pending normalisations, moments and sums must be empty, bias and dbias given, and
/// the mode overwrite. Activations lie as ours do, [N, L, C] (nwc). oneDNN lays out weights as it likes, and their way
/// from and to [K, C_in, C_out] is part of a call: an optimiser changes them in every step.
extern const kernels::Conv1dKernels onednn_conv1d;

}  // namespace systole::benchmarks
