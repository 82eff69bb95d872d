// What flows between convolution blocks is a convolution's raw output y together with the BatchNorm and ReLU that its
// reader applies while it loads: z = relu(y · scale + shift), per channel and per group of records (a group is one
// view). Backward, what flows is dz, the gradient of z, together with what turns it into dy while it is loaded: with
//   g = dz, or 0 where relu and y · scale + shift ≤ 0
// the sums Σ g and Σ g · (y − mean) must be known first; whoever writes dz adds them up on the way. Then
//   dy = scale · g − offset − slope · (y − mean),
// where offset and slope carry the gradient through mean and variance (batch_norm.backward_finish).
#pragma once

#include "kernels/common/series.h"

namespace systole::kernels {

struct PendingAffine {
  const float* scale = nullptr;  // [groups, C]; null: the input is read as it is
  const float* shift = nullptr;  // [groups, C]
  int groups = 1;                // record n of N belongs to group n / (N / groups); groups divides N
  bool relu = false;
};

/// A raw output with its BatchNorm, as the backward pass reads it.
struct NormalizedOutput {
  ConstSeries y;                 // [N, L, C]
  const float* mean = nullptr;   // [groups, C]
  const float* scale = nullptr;  // [groups, C]
  const float* shift = nullptr;  // [groups, C]
  int groups = 1;
  bool relu = false;
};

/// Turns dz into dy; offset and slope null: the gradient is dy already.
struct PendingGradient {
  NormalizedOutput output{};
  const float* offset = nullptr;  // [groups, C]
  const float* slope = nullptr;   // [groups, C]
};

/// Who goes on to add up records can take less than whole ones: kernels that make a record in tiles then need not join
/// them, which is a launch. At the most so many pieces a record has, of at least 64 rows, in each class of positions
/// (kernels/conv1d: the input gradient has as many as its stride).
constexpr int most_pieces(int rows, int classes = 1) {
  return rows / 64 + classes;
}

/// The sums of each record of a gradient dz, for the BatchNorm of the output that it belongs to.
struct RecordGradientSums {
  NormalizedOutput output{};
  float* g = nullptr;     // [N, C]: Σ_l g; null: not wanted
  float* gd = nullptr;    // [N, C]: Σ_l g · (y − mean)
  int* pieces = nullptr;  // on the host. Given, with 1: g and gd have room for [N, most_pieces(L, stride), C], and are
                          // [N, pieces, C], of as many pieces as are left here
};

}  // namespace systole::kernels
