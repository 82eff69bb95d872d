// What a library's convolution leaves to do to be an entry of Conv1dKernels: the library wants other weights, and knows
// neither a pending normalisation nor moments per record. (A pending gradient is batch_norm.backward_apply's.)
#pragma once

#include "kernels/common/table.h"
#include "kernels/conv1d/conv1d.h"

namespace systole::kernels {

struct LibraryParts {
  /// to[c, r] = from[r, c]. from [rows, columns].
  Entry<"library_parts.transpose", void(int rows, int columns, const float* from, float* to, GradientMode mode)>
      transpose;
  /// z = relu?(x · scale + shift). x, z [N, L, C].
  Entry<"library_parts.apply_pending",
        void(int N, int L, int C, const float* x, const PendingAffine& pending, float* z)>
      apply_pending;
  /// The RecordMoments of y [N, L, C].
  Entry<"library_parts.record_moments", void(int N, int L, int C, const float* y, const RecordMoments& moments)>
      record_moments;
};

namespace simt {
extern const LibraryParts library_parts;
}
namespace cuda {
extern const LibraryParts library_parts;
}

}  // namespace systole::kernels
