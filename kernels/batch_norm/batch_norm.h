// Batch normalisation over records and time (Ioffe and Szegedy 2015), per channel and per group:
//   y = x · scale + shift,  scale = γ / sqrt(var + eps),  shift = β − mean · scale
// A group is a run of consecutive records with statistics of their own: the records of one view. In training mean and
// var (biased) are those of the group; in evaluation they are the running ones, and there is one group.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/pending.h"
#include "kernels/common/table.h"

namespace systole::kernels {

struct BatchNormShape {
  int groups;  // G; divides N
  int N, L, C;
  int64_t rows_per_group() const { return int64_t{N} / groups * L; }
  int64_t size() const { return int64_t{N} * L * C; }
};

std::string text(const BatchNormShape& shape);

/// Throws Error when a group has one row only.
void check_has_variance(const BatchNormShape& shape);

/// Parameters of a layer and where its statistics go.
struct LayerStatistics {
  const float *gamma, *beta;            // [C]
  float eps, momentum;                  // of the running statistics
  float *mean, *var, *scale, *shift;    // [G, C]
  float *running_mean, *running_var{};  // [C]; null: they stay as they are
};

/// Series of one call are stored alike, f32 or bf16.
struct BatchNormKernels {
  /// Mean and biased variance per group, from x itself. x [N, L, C]; mean, var [G, C]. Two passes, no E[x²] − E[x]².
  Entry<"batch_norm.statistics", void(const BatchNormShape&, ConstSeries x, float* mean, float* var)> statistics;

  /// What a layer in training needs behind its convolution, in one launch: mean and var from the moments of records or
  /// of pieces of them (kernels/conv1d: RecordMoments), combined by the parallel formula of Chan, Golub and LeVeque
  /// (1979); then what update_running and fold do with them, bit for bit. piece_mean, piece_m2 [N, ⌈L / piece_rows⌉,
  /// C].
  Entry<"batch_norm.finish_statistics", void(const BatchNormShape&, const float* piece_mean, const float* piece_m2,
                                             int piece_rows, const LayerStatistics&)>
      finish_statistics;

  /// running = (1 − momentum) · running + momentum · batch, once per group in order, as if each view were a forward
  /// pass of its own. The variance that enters is the unbiased one, as in PyTorch; one row per group is an error of the
  /// caller. mean, var [G, C]; running_mean, running_var [C].
  Entry<"batch_norm.update_running", void(const BatchNormShape&, const float* mean, const float* var, float momentum,
                                          float* running_mean, float* running_var)>
      update_running;

  /// scale and shift [G, C] of the formula above, from mean, var [G, C] and gamma, beta [C].
  Entry<"batch_norm.fold", void(const BatchNormShape&, const float* mean, const float* var, const float* gamma,
                                const float* beta, float eps, float* scale, float* shift)>
      fold;

  /// y = relu?(x · scale + shift). x, y [N, L, C]; scale, shift [G, C]. y may be x.
  Entry<"batch_norm.apply",
        void(const BatchNormShape&, ConstSeries x, const float* scale, const float* shift, bool relu, Series y)>
      apply;

  /// Gradient in training, through the statistics. With g = dy, zeroed where relu and x · scale + shift ≤ 0,
  /// x̂ = (x − mean) / sqrt(var + eps) and R rows per group:
  ///   dgamma[c] = Σ g·x̂,  dbeta[c] = Σ g  (over all groups; accumulated into or overwritten as `parameters` says)
  ///   dx = scale · (g − (1/R) Σ_group g − x̂ · (1/R) Σ_group g·x̂)
  /// x, dy, dx [N, L, C]; dx may be dy. mean, var, scale, shift [G, C]; dgamma, dbeta [C]. Fixed order of the sums.
  Entry<"batch_norm.backward",
        void(const BatchNormShape&, ConstSeries x, ConstSeries dy, const float* mean, const float* var, float eps,
             const float* scale, const float* shift, bool relu, Series dx, GradientMode dx_mode, float* dgamma,
             float* dbeta, GradientMode parameters)>
      backward;

  /// Gradient in evaluation, where the statistics are constants: dx = scale · g; dgamma and dbeta as above.
  Entry<"batch_norm.backward_evaluation",
        void(const BatchNormShape&, ConstSeries x, ConstSeries dy, const float* mean, const float* var, float eps,
             const float* scale, const float* shift, bool relu, Series dx, GradientMode dx_mode, float* dgamma,
             float* dbeta, GradientMode parameters)>
      backward_evaluation;

  // The backward pass in two parts, where the neighbours of the BatchNorm are convolutions that do the rest while they
  // write and read (kernels/common/pending.h).

  /// The sums of each record of dz [N, L, C], where whoever wrote dz did not make them.
  Entry<"batch_norm.backward_sums", void(const BatchNormShape&, ConstSeries dz, const RecordGradientSums& sums)>
      backward_sums;

  /// From the sums piece_g, piece_gd [N, pieces, C] of records (one piece) or of pieces of them, added up in an order
  /// that depends on the shape alone: dgamma and dbeta [C] as above, and what turns dz into dy; offset, slope [G, C]:
  ///   offset = scale · (1/R) Σ g,  slope = scale · (1/R) Σ g·(y − mean) / (var + eps)   in training,
  ///   offset = slope = 0                                                               in evaluation.
  Entry<"batch_norm.backward_finish",
        void(const BatchNormShape&, const float* piece_g, const float* piece_gd, int pieces, const float* var,
             float eps, const float* scale, bool training, float* offset, float* slope, float* dgamma, float* dbeta,
             GradientMode parameters)>
      backward_finish;

  /// dy, the gradient of the convolution's output, from dz: what convolutions do while they load it, as a pass of its
  /// own, for those that would do it several times over. dz, dy [N, L, C].
  Entry<"batch_norm.backward_apply",
        void(const BatchNormShape&, ConstSeries dz, const PendingGradient& pending, Series dy)>
      backward_apply;
};

const BatchNormKernels& batch_norm_kernels(Device device);

SYSTOLE_KERNEL_TABLES(BatchNormKernels, batch_norm)

}  // namespace systole::kernels
