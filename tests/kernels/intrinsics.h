// Small kernels around the warp-wide instructions, for intrinsics_test.cpp.
#pragma once

#include <cstdint>

#include "kernels/common/table.h"

namespace systole::kernels {

struct IntrinsicKernels {
  /// c [16, 8] += a [16, 16] · b [16, 8], operands rounded to bf16, fragments loaded with ldmatrix.
  Entry<"test.mma_bf16", void(const float* a, const float* b, float* c)> mma_bf16;
  /// c [16, 8] += a [16, 8] · b [8, 8], operands rounded to tf32.
  Entry<"test.mma_tf32", void(const float* a, const float* b, float* c)> mma_tf32;
  /// registers [32, 4] of ldmatrix, plain or transposed, on the values 0 … 255 in 32 rows of 8.
  Entry<"test.ldmatrix", void(bool transposed, uint32_t* registers)> ldmatrix;
  /// y [64]: x copied in four groups of 16 by cp.async, zero where an index is not below `valid`; two groups are still
  /// under way when the first half is read.
  Entry<"test.cp_async", void(int valid, const float* x, float* y)> cp_async;
  /// c [64, 64] = a [64, 16] · bᵀ, b [64, 16], by wgmma, of operands in lines of 32, 64 or 128 bytes from first_line
  /// on.
  Entry<"test.wgmma", void(int line_bytes, bool row_major, int first_line, const float* a, const float* b, float* c)>
      wgmma;
  /// c [64, 64] = a · b, b [16, 64], by wgmma, where rows of a are windows of lines x [64, line_bytes / 2]: with n
  /// values in a line, a[r, k] = x[first_line + r / n · group_lines + k, r % n]. line_bytes: 32 or 64.
  Entry<"test.wgmma_windows",
        void(int line_bytes, int group_lines, int first_line, const float* x, const float* b, float* c)>
      wgmma_windows;
  /// y[i] = exp2_approx(x[i]); packed[i] = bf16 of (x[i], −x[i]); larger[i] = max_or_nan_bf16x2(packed[i], least).
  Entry<"test.round", void(int count, const float* x, float* y, uint32_t* packed, uint32_t least, uint32_t* larger)>
      round;
};

SYSTOLE_KERNEL_TABLES(IntrinsicKernels, intrinsics)

}  // namespace systole::kernels
