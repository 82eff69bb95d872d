// What learning by masked reconstruction needs beside an encoder and a decoder: a mask over blocks of time, and the
// mean squared error. Series are [N, L, C], channels last.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/philox.h"
#include "kernels/common/series.h"
#include "kernels/common/step_number.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// Time is cut into blocks of `block` samples, the last one shorter. Block b of record n is masked, in all channels,
/// when draw b of the stream (seed, block_mask, step, n) is below p.
struct BlockMaskShape {
  int N, L, C;
  int block;
  float p;
  uint64_t seed;
  StepNumber step;
};

std::string text(const BlockMaskShape& shape);

/// The series of one call are stored alike, f32 or bf16.
struct ReconstructionKernels {
  /// y = 0 in masked blocks, x elsewhere. x, y [N, L, C]; y may be x.
  Entry<"reconstruction.mask_blocks", void(const BlockMaskShape&, ConstSeries x, Series y)> mask_blocks;

  /// loss = (1/count) Σ (x − target)²; one float. Summed in an order that depends on the count alone.
  Entry<"reconstruction.squared_error_forward", void(int64_t count, ConstSeries x, ConstSeries target, float* loss)>
      squared_error_forward;
  /// dx = upstream · 2 (x − target) / count. upstream is one float in the device's memory.
  Entry<"reconstruction.squared_error_backward",
        void(int64_t count, ConstSeries x, ConstSeries target, const float* upstream, Series dx, GradientMode mode)>
      squared_error_backward;
};

const ReconstructionKernels& reconstruction_kernels(Device device);

SYSTOLE_KERNEL_TABLES(ReconstructionKernels, reconstruction)

}  // namespace systole::kernels
