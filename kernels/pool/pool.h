// Pooling over time, channels last.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/pending.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct MeanShape {
  int N, L, C;
};

/// Windows of `window` positions, `stride` apart, with `padding` positions of −∞ on both sides (PyTorch's MaxPool1d).
struct MaxPoolShape {
  int N, L, C;
  int window, stride, padding = 0;
  int L_out() const { return (L + 2 * padding - window) / stride + 1; }
};

std::string text(const MeanShape& shape);
std::string text(const MaxPoolShape& shape);

/// Throws Error with the shape when it has no output, or when padding exceeds half of the window.
void check(const MaxPoolShape& shape);

/// Series are stored as f32 or bf16; what has no time any more, as the mean, is f32.
struct PoolKernels {
  /// y[n, c] = (1/L) Σ_l z[n, l, c], z = x or its pending normalisation. x [N, L, C], y [N, C].
  Entry<"pool.mean_forward", void(const MeanShape&, ConstSeries x, const PendingAffine& pending, float* y)>
      mean_forward;
  /// dz[n, l, c] = dy[n, c] / L. `sums`, where they are wanted, are those of the finished dz, of the output that x is.
  Entry<"pool.mean_backward",
        void(const MeanShape&, const float* dy, Series dz, GradientMode mode, const RecordGradientSums& sums)>
      mean_backward;

  /// y[n, l, c] = max over the window of x; index[n, l, c] = the input position of the first maximum. A NaN wins.
  /// x [N, L, C]; y, index [N, L_out, C].
  Entry<"pool.max_forward", void(const MaxPoolShape&, ConstSeries x, Series y, int32_t* index)> max_forward;
  /// dx[n, i, c] = Σ over the windows whose maximum is at i of dy. dx [N, L, C].
  Entry<"pool.max_backward",
        void(const MaxPoolShape&, ConstSeries dy, const int32_t* index, Series dx, GradientMode mode)>
      max_backward;
};

const PoolKernels& pool_kernels(Device device);

SYSTOLE_KERNEL_TABLES(PoolKernels, pool)

}  // namespace systole::kernels
