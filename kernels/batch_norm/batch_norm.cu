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
#include "kernels/batch_norm/batch_norm_ends.cuh"
#include "kernels/common/channel_runs.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/common/piece_sums.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kValues = 32;  // of a piece, per thread: they fit into registers, and hide the latency of memory

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

void fold(Queue& queue, const BatchNormShape& s, const float* mean, const float* var, const float* gamma,
          const float* beta, float eps, float* scale, float* shift) {
  launch(queue, {.grid = {ceil_div(int64_t{s.groups} * s.C, int64_t{kThreads})}, .block = {kThreads}}, fold_into_affine,
         s.groups, s.C, mean, var, gamma, beta, eps, scale, shift);
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
  for (int first = 0; first < kValues / V; first += kStepsAtOnce<V>) {
    Vector<V> values[kStepsAtOnce<V>];
    load_steps(values, here, first, x);
    for (int k = 0; k < kStepsAtOnce<V>; ++k) {
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
  Divider shared_by{};  // groups of the walk that have one group's statistics
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
  const int64_t channels = int64_t{b.shared_by.quotient(static_cast<unsigned>(here.group))} * r.C;
  const Vector<V> mean = of_channels(here, b.mean + channels);
  const Vector<V> scale = of_channels(here, b.scale + channels), shift = of_channels(here, b.shift + channels);

  Vector<V> sum_g{}, sum_gd{};
  for (int first = 0; first < kValues / V; first += kStepsAtOnce<V>) {
    Vector<V> x[kStepsAtOnce<V>], dy[kStepsAtOnce<V>];
    load_steps(x, here, first, b.x);
    load_steps(dy, here, first, b.dy);
    for (int k = 0; k < kStepsAtOnce<V>; ++k) {
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
__global__ __launch_bounds__(kRunThreads, sizeof(S) == 2 ? 4 : 3) void store_dx(ChannelRuns r, Backward<S> b,
                                                                                Slopes slopes,
                                                                                S* dx,  // [N, L, C], may be dy
                                                                                bool accumulate) {
  const RunPlace<V> here(r, gridDim.x - 1 - blockIdx.x);
  const int64_t channels = here.group * r.C;
  const Vector<V> mean = of_channels(here, b.mean + channels);
  const Vector<V> scale = of_channels(here, b.scale + channels), shift = of_channels(here, b.shift + channels);
  const Vector<V> offset = of_channels(here, slopes.offset + channels);
  const Vector<V> slope = of_channels(here, slopes.slope + channels);

  for (int first = 0; first < kValues / V; first += kStepsAtOnce<V>) {
    Vector<V> x[kStepsAtOnce<V>], dy[kStepsAtOnce<V>];
    load_steps(x, here, first, b.x);
    load_steps(dy, here, first, b.dy);
    for (int k = 0; k < kStepsAtOnce<V>; ++k) {
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
    const Backward<S> b{o.y.as<S>(), dz.as<S>(), o.mean, o.scale, o.shift, o.relu, Divider(s.N / o.groups)};
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
