// Operations on one element at a time, and the copies that join channels, take leads apart or pick rows out of a table.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/pending.h"
#include "kernels/common/philox.h"
#include "kernels/common/series.h"
#include "kernels/common/step_number.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// Rows of two tensors joined along the channels: [rows, C_a] and [rows, C_b] give [rows, C_a + C_b].
struct ConcatenateShape {
  int64_t rows;
  int C_a, C_b;
};

/// V views of N records with L samples of C leads, and each lead as a series of its own.
struct SplitLeadsShape {
  int V, N, L, C;
};

/// N rows of C values, out of a table.
struct GatherShape {
  int N, C;
};

/// Dropout with probability p: element i is kept when draw i of the stream is ≥ p, and then scaled by 1 / (1 − p).
/// Elements are counted within their record, and the stream's record number is first_record + n, so that the mask of a
/// record does not depend on the batch around it. (Srivastava et al. 2014, the "inverted" form.)
struct DropoutShape {
  int N;
  int64_t elements;  // per record
  float p;
  uint64_t seed;
  StepNumber step;
  uint32_t layer;  // which dropout of the network: the `detail` of its stream
  uint32_t first_record = 0;
};

/// Series of N records of L samples of C channels.
struct ResidualShape {
  int N, L, C;
};

std::string text(const ResidualShape& shape);
std::string text(const ConcatenateShape& shape);
std::string text(const DropoutShape& shape);
std::string text(const SplitLeadsShape& shape);
std::string text(const GatherShape& shape);

/// The tensors of one call are stored alike, f32 or bf16.
struct ElementwiseKernels {
  /// y = max(x, 0); y may be x.
  Entry<"elementwise.relu", void(int64_t count, ConstSeries x, Series y)> relu;
  /// dx = dy where y > 0, else 0; y is the output of relu. dx may be dy.
  Entry<"elementwise.relu_backward", void(int64_t count, ConstSeries y, ConstSeries dy, Series dx, GradientMode mode)>
      relu_backward;

  /// y = a + b; y may be a or b.
  Entry<"elementwise.add", void(int64_t count, ConstSeries a, ConstSeries b, Series y)> add;

  /// y = factor · x, or y += factor · x.
  Entry<"elementwise.scale", void(int64_t count, float factor, ConstSeries x, Series y, GradientMode mode)> scale;

  /// y[r] = (a[r], b[r]).
  Entry<"elementwise.concatenate", void(const ConcatenateShape&, ConstSeries a, ConstSeries b, Series y)> concatenate;
  /// da[r] = dy[r, :C_a], db[r] = dy[r, C_a:]; either may be null.
  Entry<"elementwise.concatenate_backward",
        void(const ConcatenateShape&, ConstSeries dy, Series da, GradientMode da_mode, Series db, GradientMode db_mode)>
      concatenate_backward;

  /// x [V, N, L, C] → y [V, C, N, L]: one lead of all records after the other.
  Entry<"elementwise.split_leads", void(const SplitLeadsShape&, ConstSeries x, Series y)> split_leads;

  /// y[n] = table[rows[n]]; table [any, C], y [N, C]. Rows that the table does not have are the caller's mistake.
  Entry<"elementwise.gather", void(const GatherShape&, const float* table, const int32_t* rows, float* y)> gather;

  /// y = x · mask / (1 − p), with the mask that DropoutShape defines. The gradient is the same map of dy: the mask is
  /// drawn again, not stored. x, y [N, elements]; y may be x in mode overwrite.
  Entry<"elementwise.dropout", void(const DropoutShape&, ConstSeries x, Series y, GradientMode mode)> dropout;

  /// The end of a residual block in one pass: y = relu(drop(a) + b), where a and b are x and the shortcut with their
  /// pending normalisations, and drop is the dropout of `mask` (p = 0: none). x, shortcut, y [N, L, C]; y may be
  /// either.
  Entry<"elementwise.residual",
        void(const ResidualShape&, ConstSeries x, const PendingAffine& of_x, ConstSeries shortcut,
             const PendingAffine& of_shortcut, const DropoutShape& mask, Series y)>
      residual;
  /// Its gradients in a and in b: db = dy where y > 0, else 0, and da = drop(db). Either may be null. Where both are
  /// one series, db comes first.
  Entry<"elementwise.residual_backward",
        void(const ResidualShape&, ConstSeries y, ConstSeries dy, const DropoutShape& mask, Series da,
             GradientMode da_mode, Series db, GradientMode db_mode)>
      residual_backward;
};

const ElementwiseKernels& elementwise_kernels(Device device);

SYSTOLE_KERNEL_TABLES(ElementwiseKernels, elementwise)

}  // namespace systole::kernels
