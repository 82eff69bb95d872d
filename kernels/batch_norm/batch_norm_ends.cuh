// The ends of batch normalisation: from what the passes over a series, or a convolution, found out of its pieces to a
// few values per channel and group. All of it is small: what these kernels wait for is latency.
#pragma once

#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/intrinsics.h"
#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

// The kernels that combine pieces: a block has kChannels channels and kRanges threads for each; thread y takes the
// parts y, y + kRanges … in order.
constexpr int kChannels = 8, kRanges = 32;
constexpr int kWarpRanges = 32 / kChannels, kWarps = kRanges / kWarpRanges;  // of a warp; of a group

struct RangesShared {
  double first[kWarps][kChannels], second[kWarps][kChannels];
};

/// The sums of two numbers over the ranges of the thread's channel, in an order of its own, in every thread: first in
/// the warp. One barrier; `shared` may not be used again.
struct Two {
  double first, second;
};
__device__ __forceinline__ Two sums_of_ranges(Two value, RangesShared& shared) {
#pragma unroll
  for (int lanes = kChannels; lanes < 32; lanes *= 2) {
    value.first += __shfl_xor_sync(kWholeWarp, value.first, lanes);
    value.second += __shfl_xor_sync(kWholeWarp, value.second, lanes);
  }
  if (threadIdx.y % kWarpRanges == 0) {
    shared.first[threadIdx.y / kWarpRanges][threadIdx.x] = value.first;
    shared.second[threadIdx.y / kWarpRanges][threadIdx.x] = value.second;
  }
  __syncthreads();
  Two sum{};
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) {
    sum.first += shared.first[warp][threadIdx.x];
    sum.second += shared.second[warp][threadIdx.x];
  }
  return sum;
}

/// use(p, load(p)) for the thread's parts p, in order; loads go out four at a time, before the first is used. Neither
/// this loop nor those that follow it are unrolled: a kernel of a few microseconds waits for its own instructions.
template <class Load, class Use>
__device__ __forceinline__ void for_own_parts(int64_t parts, const Load& load, const Use& use) {
  constexpr int kAtOnce = 4;
#pragma unroll 1
  for (int64_t first = threadIdx.y; first < parts; first += kAtOnce * kRanges) {
    decltype(load(0)) values[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) values[i] = load(first + i * kRanges < parts ? first + i * kRanges : first);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      if (first + i * kRanges < parts) use(first + i * kRanges, values[i]);
  }
}

/// The parts of the rows of a group, which consists of some runs of as many rows each.
struct Parts {
  unsigned count, of_run;
  double rows, last_rows;  // of a part, and of the last one of a run, which perhaps has fewer
  double per_row;          // 1 / rows of the group, since a division in double takes as long as a load

  Parts(int64_t runs, int64_t run_rows, int64_t part_rows)
      : count(static_cast<unsigned>(runs * ceil_div(run_rows, part_rows))),
        of_run(static_cast<unsigned>(ceil_div(run_rows, part_rows))),
        rows(static_cast<double>(part_rows)),
        last_rows(static_cast<double>(run_rows - (of_run - 1) * part_rows)),
        per_row(1 / static_cast<double>(runs * run_rows)) {}

  __device__ __forceinline__ double rows_of(int64_t part) const {
    return (static_cast<unsigned>(part) + 1) % of_run == 0 ? last_rows : rows;
  }
};

/// Mean and biased variance of a channel of a group from moments of its parts of n_p rows. With d_p = mean_p − mean_0,
///   mean = mean_0 + Σ n_p d_p / rows,  M2 = Σ (M2_p + n_p d_p²) − (Σ n_p d_p)² / rows
/// the formula of Chan, Golub and LeVeque (1979) for any number of parts, in one pass: since d_0 is 0, the difference
/// is smaller than its terms by no more than a factor of the number of parts, which double does not feel. All threads
/// of a block call it, and all get the result of their channel; `shared` may be used again after a barrier. part_mean,
/// part_m2: of the group.
struct Moments {
  float mean, var;
};
template <class Part>
__device__ __forceinline__ Moments combined(const Parts& parts, int c, int C, const Part* part_mean,
                                            const Part* part_m2, RangesShared& shared) {
  part_mean += c;
  part_m2 += c;
  double origin = 0;
  Two sums{};
  if (c < C) {
    origin = part_mean[0];
    struct Both {
      Part mean, m2;
    };
    for_own_parts(
        parts.count,
        [&](int64_t p) {
          return Both{part_mean[p * C], part_m2[p * C]};
        },
        [&](int64_t p, const Both& part) {
          const double n = parts.rows_of(p), d = part.mean - origin;
          sums.first += n * d;
          sums.second += part.m2 + n * d * d;
        });
  }
  sums = sums_of_ranges(sums, shared);
  const double shift = sums.first * parts.per_row, m2 = sums.second - sums.first * shift;
  return {static_cast<float>(origin + shift), static_cast<float>((m2 < 0 ? 0 : m2) * parts.per_row)};
}

__device__ __forceinline__ int channel_of_thread(unsigned block) {
  return static_cast<int>(block) * kChannels + static_cast<int>(threadIdx.x);
}

/// Block (group, eight channels).
__global__ __launch_bounds__(kChannels* kRanges) void combine_moments(
    Parts parts, int C,
    const double* __restrict__ part_mean,  // [G, parts, C]
    const double* __restrict__ part_m2,    // [G, parts, C]
    float* mean,                           // [G, C]
    float* var) {                          // [G, C]
  const int64_t group = blockIdx.x;
  const int c = channel_of_thread(blockIdx.y);
  const Moments moments = combined(parts, c, C, part_mean + group * parts.count * C, part_m2 + group * parts.count * C,
                                   *dynamic_shared<RangesShared>());
  if (threadIdx.y > 0 || c >= C) return;
  mean[group * C + c] = moments.mean;
  var[group * C + c] = moments.var;
}

// ---- forward

constexpr int kThreads = 128;

/// The running statistics after one more batch.
__device__ __forceinline__ Moments moved(const Moments& running, const Moments& batch, float momentum, float unbiased) {
  return {(1 - momentum) * running.mean + momentum * batch.mean,
          (1 - momentum) * running.var + momentum * unbiased * batch.var};
}

__global__ __launch_bounds__(kThreads) void move_running(int groups, int C, const float* mean,
                                                         const float* var,                                     // [G, C]
                                                         float momentum, float unbiased, float* running_mean,  // [C]
                                                         float* running_var) {                                 // [C]
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= C) return;
  Moments running{running_mean[c], running_var[c]};
  for (int64_t i = c; i < int64_t{groups} * C; i += C) running = moved(running, {mean[i], var[i]}, momentum, unbiased);
  running_mean[c] = running.mean;
  running_var[c] = running.var;
}

__device__ __forceinline__ void fold_channel(const Moments& moments, float gamma, float beta, float eps, float& scale,
                                             float& shift) {
  const double factor = gamma / sqrt(static_cast<double>(moments.var) + eps);
  scale = static_cast<float>(factor);
  shift = static_cast<float>(beta - moments.mean * factor);
}

__global__ __launch_bounds__(kThreads) void fold_into_affine(int groups, int C, const float* mean,
                                                             const float* var,                         // [G, C]
                                                             const float* gamma, const float* beta,    // [C]
                                                             float eps, float* scale, float* shift) {  // [G, C]
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= int64_t{groups} * C) return;
  fold_channel({mean[i], var[i]}, gamma[i % C], beta[i % C], eps, scale[i], shift[i]);
}

// The kernels at the end of a layer have eight channels and all groups in a block, up to four of them at once
// (threadIdx.z): one group after the other would wait for its loads, sums and divisions in double anew.
constexpr int kGroupsAtOnce = 4;

/// body(z) for each group that the block has at once, in order: number first + z.
template <class Body>
__device__ __forceinline__ void for_groups_at_once(int first, int groups, const Body& body) {
#pragma unroll 1
  for (int z = 0; z < static_cast<int>(blockDim.z) && first + z < groups; ++z) body(z);
}

struct LayerShared {
  RangesShared of_group[kGroupsAtOnce];
  Moments moments[kGroupsAtOnce][kChannels];
};

/// All of the above. The running statistics follow the groups in their order.
__global__ __launch_bounds__(kChannels* kRanges* kGroupsAtOnce) void finish_layer(
    int groups, Parts parts, int C,
    const float* __restrict__ piece_mean,  // [N, pieces, C]
    const float* __restrict__ piece_m2,    // [N, pieces, C]
    LayerStatistics layer, float unbiased) {
  auto& shared = *dynamic_shared<LayerShared>();
  const int c = channel_of_thread(blockIdx.x), z = static_cast<int>(threadIdx.z);
  const bool writes = threadIdx.y == 0 && c < C, moves = writes && z == 0 && layer.running_mean;
  Moments running{};
  float gamma = 0, beta = 0;
  if (moves) running = {layer.running_mean[c], layer.running_var[c]};
  if (writes) gamma = layer.gamma[c], beta = layer.beta[c];
#pragma unroll 1
  for (int first = 0; first < groups; first += static_cast<int>(blockDim.z)) {
    const int group = first + z < groups ? first + z : 0;  // those beyond the last compute what nobody reads
    const int64_t of_group = int64_t{group} * parts.count * C;
    const Moments moments = combined(parts, c, C, piece_mean + of_group, piece_m2 + of_group, shared.of_group[z]);
    if (writes && first + z < groups) {
      const int64_t at = int64_t{group} * C + c;
      layer.mean[at] = moments.mean;
      layer.var[at] = moments.var;
      fold_channel(moments, gamma, beta, layer.eps, layer.scale[at], layer.shift[at]);
      shared.moments[z][threadIdx.x] = moments;
    }
    __syncthreads();  // moments are there, and the sums of these groups have been read
    if (moves)
      for_groups_at_once(first, groups, [&](int one) {
        running = moved(running, shared.moments[one][threadIdx.x], layer.momentum, unbiased);
      });
  }
  if (!moves) return;
  layer.running_mean[c] = running.mean;
  layer.running_var[c] = running.var;
}

// ---- backward

/// What store_dx needs: dx = scale · g − offset − slope · (x − mean).
struct Slopes {
  float *offset, *slope;  // [G, C]
};

/// What the gradient of a group's normalisation depends on.
struct Statistics {
  const float *var, *scale;  // [G, C]
  float eps;
  double per_row;  // 1 / rows of a group
  bool training;   // they depend on x
};

struct SumsShared {
  RangesShared of_group[kGroupsAtOnce];
  double gamma[kGroupsAtOnce][kChannels], beta[kGroupsAtOnce][kChannels];
};

/// dγ and dβ over all groups, and the slopes of each group, from the sums of its pieces. One block per eight channels.
__global__ __launch_bounds__(kChannels* kRanges* kGroupsAtOnce) void finish_sums(
    int groups, int C, Statistics s,
    int64_t pieces,                      // of a group
    const float* __restrict__ piece_g,   // [G, pieces, C]
    const float* __restrict__ piece_gd,  // [G, pieces, C]
    Slopes slopes, float* dgamma,        // [C]
    float* dbeta,                        // [C]
    bool accumulate) {
  auto& shared = *dynamic_shared<SumsShared>();
  const int c = channel_of_thread(blockIdx.x), z = static_cast<int>(threadIdx.z);
  const bool writes = threadIdx.y == 0 && c < C, adds = writes && z == 0;
  double gamma = 0, beta = 0;
  if (adds && accumulate) gamma = dgamma[c], beta = dbeta[c];
#pragma unroll 1
  for (int first_group = 0; first_group < groups; first_group += static_cast<int>(blockDim.z)) {
    const int group = first_group + z < groups ? first_group + z : 0;  // those beyond the last: what nobody reads
    const int64_t i = int64_t{group} * C + c;
    float var = 0, scale = 0;
    if (writes) var = s.var[i], scale = s.scale[i];
    Two sums{};
    if (c < C) {
      struct Both {
        float g, gd;
      };
      const int64_t first = group * pieces * C + c;
      for_own_parts(
          pieces,
          [&](int64_t p) {
            return Both{piece_g[first + p * C], piece_gd[first + p * C]};
          },
          [&](int64_t, const Both& piece) { sums.first += piece.g, sums.second += piece.gd; });
    }
    const double inverse_std = writes ? 1 / sqrt(static_cast<double>(var) + s.eps) : 0;
    sums = sums_of_ranges(sums, shared.of_group[z]);
    if (writes && first_group + z < groups) {
      const double g = sums.first, normalized = sums.second * inverse_std;  // Σ g, Σ g · x̂
      shared.beta[z][threadIdx.x] = g;
      shared.gamma[z][threadIdx.x] = normalized;
      slopes.offset[i] = s.training ? static_cast<float>(scale * g * s.per_row) : 0.0f;
      slopes.slope[i] = s.training ? static_cast<float>(scale * normalized * s.per_row * inverse_std) : 0.0f;
    }
    __syncthreads();  // both are there, and the sums of these groups have been read
    if (adds)
      for_groups_at_once(first_group, groups, [&](int one) {
        beta += shared.beta[one][threadIdx.x];
        gamma += shared.gamma[one][threadIdx.x];
      });
  }
  if (!adds) return;
  dgamma[c] = static_cast<float>(gamma);
  dbeta[c] = static_cast<float>(beta);
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
