// Batch normalisation on cuda and simt. All of it is bound by memory: statistics read x once, apply reads x and writes
// y, backward reads x and dy twice and writes dx.
//
// The rows of a group are cut into pieces of 32 values per thread (channel_runs.h), one block each:
//
//   x  [rows, C]  ──► piece_moments: mean and M2 of each piece  ──► combine_moments ──► mean, var
//   x, dy         ──► piece_sums: Σ g and Σ g·(x − mean)        ──► finish_sums     ──► dγ, dβ, and what store_dx needs
//
// The second kernel of a pair adds up the pieces in double, in an order that depends on the shape and the alignment
// alone: no atomics, and the same bits in every run.
//
// A piece of the statistics stays in registers, so its two passes read memory once: the first finds the mean m, the
// second, with n rows,
//   d = Σ (x − m),  mean = m + d / n,  M2 = Σ (x − m)² − d² / n          (Chan, Golub and LeVeque 1983)
// where d is what the rounding of m left over.

#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/channel_runs.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/common/piece_sums.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kValues = 32;  // of a piece, per thread: they fit into registers, and hide the latency of memory

/// Steps that a kernel which also stores loads before it uses the first of them.
template <int V>
constexpr int kBatch = V == 1 ? 8 : 4;

ChannelRuns runs_of(const BatchNormShape& s, int V) {
  return channel_runs(s.groups, s.rows_per_group(), s.C, V, kValues);
}

// ---- statistics

struct MomentsShared {
  float sum[kRunLanes], deviation[kRunLanes], squares[kRunLanes];
};

template <int V, class S>
__global__ __launch_bounds__(kRunThreads, 4) void piece_moments(ChannelRuns r,
                                                                const S* __restrict__ x,  // [N, L, C]
                                                                double* piece_mean,       // [pieces, C]
                                                                double* piece_m2) {       // [pieces, C]
  auto& shared = *dynamic_shared<MomentsShared>();
  const RunPlace<V> here(r, blockIdx.x);
  Vector<V> values[kValues / V];
  load_steps(values, here, 0, x);

  for (int j = 0; j < V; ++j) {
    float sum = 0;
    for (int k = 0; k < kValues / V; ++k) sum += values[k].lane[j];
    shared.sum[here.lane + j] = sum;
  }
  add_rows_of_run(r, shared.sum, nullptr);

  const auto rows = static_cast<float>(here.rows);
  for (int j = 0; j < V; ++j) {
    const float m = shared.sum[here.channel_in_block(j)] / rows;
    float deviation = 0, squares = 0;
    for (int k = 0; k < kValues / V; ++k) {
      const float d = k < here.steps ? values[k].lane[j] - m : 0.0f;
      deviation += d;
      squares += d * d;
    }
    shared.deviation[here.lane + j] = deviation;
    shared.squares[here.lane + j] = squares;
  }
  add_rows_of_run(r, shared.deviation, shared.squares);

  const int channels = channels_of_block(r);
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += static_cast<int>(blockDim.x)) {
    const double d = shared.deviation[c], m2 = shared.squares[c] - d * d / here.rows;
    const int64_t to = here.piece * r.C + here.first_channel + c;
    piece_mean[to] = shared.sum[c] / rows + d / here.rows;
    piece_m2[to] = m2 < 0 ? 0 : m2;
  }
}

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

template <int V, class S>
void launch_statistics(Queue& queue, const BatchNormShape& s, const S* x, float* mean, float* var) {
  const ChannelRuns r = runs_of(s, V);
  const int64_t moments = r.groups * r.pieces * s.C;
  // In double: at a mean of 1000, float means of the pieces would differ by rounding as much as by their content.
  auto* piece_mean = scratch<double>(queue, static_cast<size_t>(2 * moments));
  double* piece_m2 = piece_mean + moments;
  launch(queue, {.grid = r.grid(), .block = r.block(V), .shared_bytes = sizeof(MomentsShared)}, piece_moments<V, S>, r,
         x, piece_mean, piece_m2);
  launch(queue,
         {.grid = {s.groups, ceil_div(s.C, kChannels)},
          .block = {kChannels, kRanges},
          .shared_bytes = sizeof(RangesShared)},
         combine_moments, Parts(1, s.rows_per_group(), int64_t{r.width} * r.steps / s.C), s.C, piece_mean, piece_m2,
         mean, var);
}

void statistics(Queue& queue, const BatchNormShape& s, ConstSeries x, float* mean, float* var) {
  const bool vectors = fits_vectors(s.rows_per_group(), s.C, {x.address()});
  with_storage({x}, [&]<class S>() {
    (vectors ? launch_statistics<4, S> : launch_statistics<1, S>)(queue, s, x.as<S>(), mean, var);
  });
}

// ---- a few values per channel

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

float unbiased_factor(const BatchNormShape& s) {
  const auto rows = static_cast<float>(s.rows_per_group());
  return rows / (rows - 1);
}

void update_running(Queue& queue, const BatchNormShape& s, const float* mean, const float* var, float momentum,
                    float* running_mean, float* running_var) {
  check_has_variance(s);
  launch(queue, {.grid = {ceil_div(s.C, kThreads)}, .block = {kThreads}}, move_running, s.groups, s.C, mean, var,
         momentum, unbiased_factor(s), running_mean, running_var);
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

void fold(Queue& queue, const BatchNormShape& s, const float* mean, const float* var, const float* gamma,
          const float* beta, float eps, float* scale, float* shift) {
  launch(queue, {.grid = {ceil_div(int64_t{s.groups} * s.C, int64_t{kThreads})}, .block = {kThreads}}, fold_into_affine,
         s.groups, s.C, mean, var, gamma, beta, eps, scale, shift);
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

void finish_statistics(Queue& queue, const BatchNormShape& s, const float* piece_mean, const float* piece_m2,
                       int piece_rows, const LayerStatistics& layer) {
  if (layer.running_mean) check_has_variance(s);
  launch(queue,
         {.grid = {ceil_div(s.C, kChannels)},
          .block = {kChannels, kRanges, std::min(s.groups, kGroupsAtOnce)},
          .shared_bytes = sizeof(LayerShared)},
         finish_layer, s.groups, Parts(s.N / s.groups, s.L, piece_rows), s.C, piece_mean, piece_m2, layer,
         unbiased_factor(s));
}

// ---- apply

// fmaf, wherever x · scale + shift is computed: its rounding decides on which side of the ReLU a value is, and forward
// and backward must agree.

/// Pieces in reverse order: what the statistics have read last is what the second-level cache still holds.
template <int V, class S>
__global__ __launch_bounds__(kRunThreads, 4) void apply_affine(ChannelRuns r, const S* x,        // [N, L, C]
                                                               const float* __restrict__ scale,  // [G, C]
                                                               const float* __restrict__ shift,  // [G, C]
                                                               bool relu, S* y) {                // [N, L, C], may be x
  const RunPlace<V> here(r, gridDim.x - 1 - blockIdx.x);
  const Vector<V> factor = of_channels(here, scale + here.group * r.C);
  const Vector<V> offset = of_channels(here, shift + here.group * r.C);
  const float lowest = relu ? 0.0f : -INFINITY;
  for (int first = 0; first < kValues / V; first += kBatch<V>) {
    Vector<V> values[kBatch<V>];
    load_steps(values, here, first, x);
    for (int k = 0; k < kBatch<V>; ++k) {
      if (first + k >= here.steps) break;
      for (int j = 0; j < V; ++j) {
        const float value = fmaf(values[k].lane[j], factor.lane[j], offset.lane[j]);
        values[k].lane[j] = value < lowest ? lowest : value;  // a NaN stays one
      }
      store_floats(y + here.at(first + k), values[k]);
    }
  }
}

template <int V, class S>
void launch_apply(Queue& queue, const BatchNormShape& s, const S* x, const float* scale, const float* shift, bool relu,
                  S* y) {
  const ChannelRuns r = runs_of(s, V);
  launch(queue, {.grid = r.grid(), .block = r.block(V)}, apply_affine<V, S>, r, x, scale, shift, relu, y);
}

void apply(Queue& queue, const BatchNormShape& s, ConstSeries x, const float* scale, const float* shift, bool relu,
           Series y) {
  const bool vectors = fits_vectors(s.rows_per_group(), s.C, {x.address(), y.address()});
  with_storage({x, y}, [&]<class S>() {
    (vectors ? launch_apply<4, S> : launch_apply<1, S>)(queue, s, x.as<S>(), scale, shift, relu, y.as<S>());
  });
}

// ---- backward

/// What the passes over x and dy read.
template <class S>
struct Backward {
  const S *x, *dy;                    // [N, L, C]
  const float *mean, *scale, *shift;  // [G, C]
  bool relu;
  int64_t shared_by = 1;  // groups of the walk that have one group's statistics
};

/// The gradient behind the ReLU.
template <class S>
__device__ __forceinline__ float gated(const Backward<S>& b, float dy, float x, float scale, float shift) {
  return b.relu && fmaf(x, scale, shift) <= 0 ? 0.0f : dy;
}

/// Σ g and Σ g · (x − mean) of every piece. In evaluation dx = scale · g needs no sums and is stored on the way.
template <int V, class S, bool kStoreDx>
__global__ __launch_bounds__(kRunThreads, 3) void piece_sums(ChannelRuns r, Backward<S> b,
                                                             float* piece_g,   // [pieces, C]
                                                             float* piece_gd,  // [pieces, C]
                                                             S* dx,            // [N, L, C], may be dy
                                                             bool accumulate) {
  const RunPlace<V> here(r, blockIdx.x);
  const int64_t channels = here.group / b.shared_by * r.C;
  const Vector<V> mean = of_channels(here, b.mean + channels);
  const Vector<V> scale = of_channels(here, b.scale + channels), shift = of_channels(here, b.shift + channels);

  Vector<V> sum_g{}, sum_gd{};
  for (int first = 0; first < kValues / V; first += kBatch<V>) {
    Vector<V> x[kBatch<V>], dy[kBatch<V>];
    load_steps(x, here, first, b.x);
    load_steps(dy, here, first, b.dy);
    for (int k = 0; k < kBatch<V>; ++k) {
      for (int j = 0; j < V; ++j) {
        const float g = gated(b, dy[k].lane[j], x[k].lane[j], scale.lane[j], shift.lane[j]);
        sum_g.lane[j] += g;
        sum_gd.lane[j] += g * (x[k].lane[j] - mean.lane[j]);
        dy[k].lane[j] = scale.lane[j] * g;
      }
      if (kStoreDx && first + k < here.steps) {
        S* to = dx + here.at(first + k);
        if (accumulate) {
          const Vector<V> before = load_floats<V>(to);
          for (int j = 0; j < V; ++j) dy[k].lane[j] += before.lane[j];
        }
        store_floats(to, dy[k]);
      }
    }
  }
  store_piece_sums(r, here, sum_g, sum_gd, *dynamic_shared<RunSums>(), piece_g, piece_gd);
}

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

void launch_finish(Queue& queue, const BatchNormShape& s, const Statistics& statistics, int64_t pieces,
                   const float* piece_g, const float* piece_gd, const Slopes& slopes, float* dgamma, float* dbeta,
                   GradientMode parameters) {
  launch(queue,
         {.grid = {ceil_div(s.C, kChannels)},
          .block = {kChannels, kRanges, std::min(s.groups, kGroupsAtOnce)},
          .shared_bytes = sizeof(SumsShared)},
         finish_sums, s.groups, s.C, statistics, pieces, piece_g, piece_gd, slopes, dgamma, dbeta,
         parameters == GradientMode::accumulate);
}

/// The second pass, in reverse order of the pieces as in apply_affine.
template <int V, class S>
__global__ __launch_bounds__(kRunThreads, 3) void store_dx(ChannelRuns r, Backward<S> b, Slopes slopes,
                                                           S* dx,  // [N, L, C], may be dy
                                                           bool accumulate) {
  const RunPlace<V> here(r, gridDim.x - 1 - blockIdx.x);
  const int64_t channels = here.group * r.C;
  const Vector<V> mean = of_channels(here, b.mean + channels);
  const Vector<V> scale = of_channels(here, b.scale + channels), shift = of_channels(here, b.shift + channels);
  const Vector<V> offset = of_channels(here, slopes.offset + channels);
  const Vector<V> slope = of_channels(here, slopes.slope + channels);

  for (int first = 0; first < kValues / V; first += kBatch<V>) {
    Vector<V> x[kBatch<V>], dy[kBatch<V>];
    load_steps(x, here, first, b.x);
    load_steps(dy, here, first, b.dy);
    for (int k = 0; k < kBatch<V>; ++k) {
      if (first + k >= here.steps) break;
      S* to = dx + here.at(first + k);
      const Vector<V> before = accumulate ? load_floats<V>(to) : Vector<V>{};
      for (int j = 0; j < V; ++j) {
        const float g = gated(b, dy[k].lane[j], x[k].lane[j], scale.lane[j], shift.lane[j]);
        const float value = scale.lane[j] * g - offset.lane[j] - slope.lane[j] * (x[k].lane[j] - mean.lane[j]);
        dy[k].lane[j] = before.lane[j] + value;
      }
      store_floats(to, dy[k]);
    }
  }
}

template <int V, class S>
void launch_backward(Queue& queue, const BatchNormShape& s, const Backward<S>& b, const Statistics& statistics, S* dx,
                     bool add_dx, float* dgamma, float* dbeta, GradientMode parameters) {
  const ChannelRuns r = runs_of(s, V);
  const int64_t sums = r.groups * r.pieces * s.C, channels = r.groups * s.C;
  auto* piece_g = scratch<float>(queue, static_cast<size_t>(2 * sums + 2 * channels));
  float* piece_gd = piece_g + sums;
  const Slopes slopes{piece_gd + sums, piece_gd + sums + channels};
  launch(queue, {.grid = r.grid(), .block = r.block(V), .shared_bytes = sizeof(RunSums)},
         statistics.training ? piece_sums<V, S, false> : piece_sums<V, S, true>, r, b, piece_g, piece_gd, dx, add_dx);
  launch_finish(queue, s, statistics, r.pieces, piece_g, piece_gd, slopes, dgamma, dbeta, parameters);
  if (statistics.training)
    launch(queue, {.grid = r.grid(), .block = r.block(V)}, store_dx<V, S>, r, b, slopes, dx, add_dx);
}

template <bool kTraining>
void backward(Queue& queue, const BatchNormShape& s, ConstSeries x, ConstSeries dy, const float* mean, const float* var,
              float eps, const float* scale, const float* shift, bool relu, Series dx, GradientMode dx_mode,
              float* dgamma, float* dbeta, GradientMode parameters) {
  const Statistics statistics{var, scale, eps, 1 / static_cast<double>(s.rows_per_group()), kTraining};
  const bool vectors = fits_vectors(s.rows_per_group(), s.C, {x.address(), dy.address(), dx.address()});
  with_storage({x, dy, dx}, [&]<class S>() {
    const Backward<S> b{x.as<S>(), dy.as<S>(), mean, scale, shift, relu};
    (vectors ? launch_backward<4, S> : launch_backward<1, S>)(queue, s, b, statistics, dx.as<S>(),
                                                              dx_mode == GradientMode::accumulate, dgamma, dbeta,
                                                              parameters);
  });
}

/// The pieces are those of records here, so that their sums are of records.
template <int V, class S>
void launch_record_sums(Queue& queue, const BatchNormShape& s, const Backward<S>& b, float* g, float* gd) {
  const ChannelRuns r = channel_runs(s.N, s.L, s.C, V, kValues);
  const int64_t sums = r.groups * r.pieces * s.C, records = int64_t{s.N} * s.C;
  auto* piece_g = scratch<float>(queue, static_cast<size_t>(2 * sums));
  launch(queue, {.grid = r.grid(), .block = r.block(V), .shared_bytes = sizeof(RunSums)}, piece_sums<V, S, false>, r, b,
         piece_g, piece_g + sums, nullptr, false);
  launch_add_pieces(queue, piece_g, piece_g + sums, g, gd, records, r.pieces, s.C);
}

void backward_sums(Queue& queue, const BatchNormShape& s, ConstSeries dz, const RecordGradientSums& sums) {
  const NormalizedOutput& o = sums.output;
  const bool vectors = fits_vectors(s.L, s.C, {o.y.address(), dz.address()});
  with_storage({o.y, dz}, [&]<class S>() {
    const Backward<S> b{o.y.as<S>(), dz.as<S>(), o.mean, o.scale, o.shift, o.relu, s.N / o.groups};
    (vectors ? launch_record_sums<4, S> : launch_record_sums<1, S>)(queue, s, b, sums.g, sums.gd);
  });
}

void backward_finish(Queue& queue, const BatchNormShape& s, const float* piece_g, const float* piece_gd, int pieces,
                     const float* var, float eps, const float* scale, bool training, float* offset, float* slope,
                     float* dgamma, float* dbeta, GradientMode parameters) {
  const Statistics statistics{var, scale, eps, 1 / static_cast<double>(s.rows_per_group()), training};
  launch_finish(queue, s, statistics, int64_t{s.N} / s.groups * pieces, piece_g, piece_gd, {offset, slope}, dgamma,
                dbeta, parameters);
}

void backward_apply(Queue& queue, const BatchNormShape& s, ConstSeries dz, const PendingGradient& pending, Series dy) {
  const NormalizedOutput& o = pending.output;
  const Slopes slopes{const_cast<float*>(pending.offset), const_cast<float*>(pending.slope)};  // only read
  const bool vectors = fits_vectors(s.rows_per_group(), s.C, {o.y.address(), dz.address(), dy.address()});
  with_storage({o.y, dz, dy}, [&]<class S>() {
    const Backward<S> b{o.y.as<S>(), dz.as<S>(), o.mean, o.scale, o.shift, o.relu};
    const ChannelRuns r = runs_of(s, vectors ? 4 : 1);
    launch(queue, {.grid = r.grid(), .block = r.block(vectors ? 4 : 1)}, vectors ? store_dx<4, S> : store_dx<1, S>, r,
           b, slopes, dy.as<S>(), false);
  });
}

}  // namespace

extern const BatchNormKernels batch_norm{
    .statistics = statistics,
    .finish_statistics = finish_statistics,
    .update_running = update_running,
    .fold = fold,
    .apply = apply,
    .backward = backward<true>,
    .backward_evaluation = backward<false>,
    .backward_sums = backward_sums,
    .backward_finish = backward_finish,
    .backward_apply = backward_apply,
};

}  // namespace systole::kernels::SYSTOLE_TARGET
