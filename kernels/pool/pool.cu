// Pooling over time on cuda and simt, bound by memory. Threads walk over [rows, C] as channel_runs.h shows.
//
// Mean: a record is cut into pieces of 32 values per thread. One block adds up a piece in float, by lanes and then by
// halves, so no sum has more than some twenty additions one after the other; the pieces are added in double, in their
// order. Long records do not drift, and every run gives the same bits.
//
// Maximum: a thread makes a few outputs, of V neighbouring channels each, and reads every row of their windows; what
// windows share comes from the first-level cache. Backward gathers: a thread owns a value of dx and asks the windows
// that cover it, in their order, so two windows never meet at one address and nothing is atomic.

#include "kernels/common/channel_runs.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/common/piece_sums.h"
#include "kernels/pool/pool.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

// ---- mean

constexpr int kValues = 32;  // of a piece, per thread

struct MeanShared {
  float sum[kRunLanes];
};

template <int V, class S>
__global__ __launch_bounds__(kRunThreads, 4) void sum_pieces(ChannelRuns r,
                                                             const S* __restrict__ x,  // [N, L, C]
                                                             PendingAffine pending, Divider by_group_records,
                                                             float* piece_sum) {  // [N, pieces, C]
  auto& shared = *dynamic_shared<MeanShared>();
  const RunPlace<V> here(r, blockIdx.x);
  Vector<V> values[kValues / V], scale, shift;
  load_steps(values, here, 0, x);
  if (pending.scale) {
    const int64_t group = int64_t{by_group_records.quotient(static_cast<unsigned>(here.group))} * r.C;
    scale = of_channels(here, pending.scale + group);
    shift = of_channels(here, pending.shift + group);
  }
  const float lowest = pending.relu ? 0.0f : -INFINITY;
  for (int j = 0; j < V; ++j) {
    float sum = 0;
    for (int k = 0; k < kValues / V; ++k) {
      float z = values[k].lane[j];
      if (pending.scale) z = fmaf(z, scale.lane[j], shift.lane[j]);
      if (z < lowest) z = lowest;  // a NaN stays one
      if (k < here.steps) sum += z;
    }
    shared.sum[here.lane + j] = sum;
  }
  add_rows_of_run(r, shared.sum, nullptr);
  const int channels = channels_of_block(r);
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += static_cast<int>(blockDim.x))
    piece_sum[here.piece * r.C + here.first_channel + c] = shared.sum[c];
}

constexpr int kThreads = 128;

__global__ __launch_bounds__(kThreads) void mean_of_pieces(int64_t count, int64_t pieces, int L, int C,
                                                           const float* __restrict__ piece_sum,  // [N, pieces, C]
                                                           float* y) {  // [N, C]: `count` values
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const float* from = piece_sum + i / C * pieces * C + i % C;
  double sum = 0;
  for (int64_t p = 0; p < pieces; ++p) sum += from[p * C];
  y[i] = static_cast<float>(sum / L);
}

template <int V, class S>
void launch_mean(Queue& queue, const MeanShape& s, const S* x, const PendingAffine& pending, float* y) {
  const ChannelRuns r = channel_runs(s.N, s.L, s.C, V, kValues);
  const int64_t outputs = int64_t{s.N} * s.C;
  auto* piece_sum = scratch<float>(queue, static_cast<size_t>(outputs * r.pieces));
  launch(queue, {.grid = r.grid(), .block = r.block(V), .shared_bytes = sizeof(MeanShared)}, sum_pieces<V, S>, r, x,
         pending, Divider(s.N / pending.groups), piece_sum);
  launch(queue, {.grid = {ceil_div(outputs, int64_t{kThreads})}, .block = {kThreads}}, mean_of_pieces, outputs,
         r.pieces, s.L, s.C, piece_sum, y);
}

void mean_forward(Queue& queue, const MeanShape& s, ConstSeries x, const PendingAffine& pending, float* y) {
  with_storage({x}, [&]<class S>() {
    (fits_vectors(s.L, s.C, {x.address()}) ? launch_mean<4, S> : launch_mean<1, S>)(queue, s, x.as<S>(), pending, y);
  });
}

/// Every thread divides once and stores its value at all of its steps. kSums: with the sums of the piece, for which it
/// reads the output that dz belongs to, some steps at once before it stores the first.
template <int V, class S, bool kSums>
__global__ __launch_bounds__(kRunThreads, kSums ? 3 : 4) void spread_mean(ChannelRuns r, float L,
                                                                          const float* __restrict__ dy,  // [N, C]
                                                                          S* dz,                         // [N, L, C]
                                                                          bool accumulate, NormalizedOutput output,
                                                                          Divider by_group_records,
                                                                          float* piece_g,     // [N, pieces, C]
                                                                          float* piece_gd) {  // [N, pieces, C]
  const RunPlace<V> here(r, blockIdx.x);
  Vector<V> part = of_channels(here, dy + here.group * r.C), mean{}, scale{}, shift{}, sum_g{}, sum_gd{};
  for (int j = 0; j < V; ++j) part.lane[j] /= L;
  if constexpr (kSums) {
    const int64_t channels = int64_t{by_group_records.quotient(static_cast<unsigned>(here.group))} * r.C;
    mean = of_channels(here, output.mean + channels);
    scale = of_channels(here, output.scale + channels);
    shift = of_channels(here, output.shift + channels);
  }
  for (int first = 0; first < kValues / V; first += kStepsAtOnce<V>) {
    Vector<V> values[kStepsAtOnce<V>] = {}, y[kStepsAtOnce<V>];
    if constexpr (kSums) load_steps(y, here, first, output.y.as<S>());
    if (accumulate) load_steps(values, here, first, dz);
    for (int k = 0; k < kStepsAtOnce<V>; ++k) {
      if (first + k >= here.steps) break;
      for (int j = 0; j < V; ++j) values[k].lane[j] += part.lane[j];
      store_floats(dz + here.at(first + k), values[k]);
      if constexpr (kSums)
        for (int j = 0; j < V; ++j) {
          const bool stopped = output.relu && fmaf(y[k].lane[j], scale.lane[j], shift.lane[j]) <= 0;
          const float g = stopped ? 0.0f : values[k].lane[j];
          sum_g.lane[j] += g;
          sum_gd.lane[j] += g * (y[k].lane[j] - mean.lane[j]);
        }
    }
  }
  if constexpr (kSums) store_piece_sums(r, here, sum_g, sum_gd, *dynamic_shared<RunSums>(), piece_g, piece_gd);
}

template <int V, class S>
void launch_spread(Queue& queue, const MeanShape& s, const float* dy, S* dz, GradientMode mode,
                   const RecordGradientSums& sums) {
  const ChannelRuns r = channel_runs(s.N, s.L, s.C, V, kValues);
  const bool accumulate = mode == GradientMode::accumulate;
  const auto L = static_cast<float>(s.L);
  if (!sums.g) {
    launch(queue, {.grid = r.grid(), .block = r.block(V)}, spread_mean<V, S, false>, r, L, dy, dz, accumulate,
           NormalizedOutput{}, Divider(), nullptr, nullptr);
    return;
  }
  const int64_t records = int64_t{s.N} * s.C;
  auto* const piece_g = scratch<float>(queue, static_cast<size_t>(2 * records * r.pieces));
  float* const piece_gd = piece_g + records * r.pieces;
  launch(queue, {.grid = r.grid(), .block = r.block(V), .shared_bytes = sizeof(RunSums)}, spread_mean<V, S, true>, r, L,
         dy, dz, accumulate, sums.output, Divider(s.N / sums.output.groups), piece_g, piece_gd);
  launch_add_pieces(queue, piece_g, piece_gd, sums.g, sums.gd, records, r.pieces, s.C);
}

void mean_backward(Queue& queue, const MeanShape& s, const float* dy, Series dz, GradientMode mode,
                   const RecordGradientSums& sums) {
  const bool vectors = fits_vectors(s.L, s.C, {dz.address(), sums.output.y.address()});
  with_storage({dz, sums.output.y}, [&]<class S>() {
    (vectors ? launch_spread<4, S> : launch_spread<1, S>)(queue, s, dy, dz.as<S>(), mode, sums);
  });
}

// ---- maximum

// A thread's V values are channels of one row, so V is 1 unless it divides C.
constexpr int kOutputs = 8;  // per thread, of one tensor

template <int V, class S, class Out>
__global__ __launch_bounds__(kRunThreads, 4) void max_of_windows(ChannelRuns r, MaxPoolShape s,
                                                                 const S* __restrict__ x,  // [N, L, C]
                                                                 Out* y,                   // [N, L_out, C]
                                                                 int32_t* index) {         // [N, L_out, C]
  const RunPlace<V> here(r, blockIdx.x);
  for (int k = 0; k < here.steps; ++k) {
    const int start = (static_cast<int>(here.row) + k * here.rows_per_step()) * s.stride - s.padding;
    const int first = start > 0 ? start : 0, end = start + s.window < s.L ? start + s.window : s.L;
    const S* row = x + (here.group * s.L + first) * s.C + here.channel(0);
    Vector<V> best = load_floats<V>(row);
    Vector<V, int32_t> where;
    for (int j = 0; j < V; ++j) where.lane[j] = first;
#pragma unroll 4
    for (int i = first + 1; i < end; ++i) {
      row += s.C;
      const Vector<V> value = load_floats<V>(row);
      for (int j = 0; j < V; ++j) {  // the earlier one of equals, the first NaN
        const bool take = !(value.lane[j] <= best.lane[j]) && best.lane[j] == best.lane[j];
        best.lane[j] = take ? value.lane[j] : best.lane[j];
        where.lane[j] = take ? i : where.lane[j];
      }
    }
    store_floats(y + here.at(k), best);
    store(index + here.at(k), where);
  }
}

template <int V, class Out, class S>
__global__ __launch_bounds__(kRunThreads, 4) void gather_max(ChannelRuns r, MaxPoolShape s, int L_out,
                                                             const Out* __restrict__ dy,         // [N, L_out, C]
                                                             const int32_t* __restrict__ index,  // [N, L_out, C]
                                                             S* dx,                              // [N, L, C]
                                                             bool accumulate) {
  const RunPlace<V> here(r, blockIdx.x);
  for (int k = 0; k < here.steps; ++k) {
    const int i = static_cast<int>(here.row) + k * here.rows_per_step();
    S* const to = dx + here.at(k);
    Vector<V> sum = accumulate ? load_floats<V>(to) : Vector<V>{};
    // the windows l with l·stride − padding ≤ i < l·stride − padding + window
    const int past = i + s.padding - s.window, begun = (i + s.padding) / s.stride;
    const int first = past < 0 ? 0 : past / s.stride + 1, last = begun < L_out ? begun : L_out - 1;
#pragma unroll 4
    for (int l = first; l <= last; ++l) {
      const int64_t from = (here.group * L_out + l) * s.C + here.channel(0);
      const Vector<V, int32_t> where = load<V>(index + from);
      const Vector<V> value = load_floats<V>(dy + from);
      for (int j = 0; j < V; ++j) sum.lane[j] += where.lane[j] == i ? value.lane[j] : 0.0f;
    }
    store_floats(to, sum);
  }
}

template <int V, class S, class Out>
void launch_max(Queue& queue, const MaxPoolShape& s, const S* x, Out* y, int32_t* index) {
  const ChannelRuns r = channel_runs(s.N, s.L_out(), s.C, V, kOutputs);
  launch(queue, {.grid = r.grid(), .block = r.block(V)}, max_of_windows<V, S, Out>, r, s, x, y, index);
}

void max_forward(Queue& queue, const MaxPoolShape& s, ConstSeries x, Series y, int32_t* index) {
  const bool vectors = s.C % 4 == 0 && is_aligned({x.address(), y.address(), index});
  with_storage({x}, [&]<class S>() {
    with_storage({y}, [&]<class Out>() {
      (vectors ? launch_max<4, S, Out> : launch_max<1, S, Out>)(queue, s, x.as<S>(), y.as<Out>(), index);
    });
  });
}

template <int V, class Out, class S>
void launch_gather(Queue& queue, const MaxPoolShape& s, const Out* dy, const int32_t* index, S* dx, GradientMode mode) {
  const ChannelRuns r = channel_runs(s.N, s.L, s.C, V, kOutputs);
  launch(queue, {.grid = r.grid(), .block = r.block(V)}, gather_max<V, Out, S>, r, s, s.L_out(), dy, index, dx,
         mode == GradientMode::accumulate);
}

void max_backward(Queue& queue, const MaxPoolShape& s, ConstSeries dy, const int32_t* index, Series dx,
                  GradientMode mode) {
  const bool vectors = s.C % 4 == 0 && is_aligned({dy.address(), index, dx.address()});
  with_storage({dx}, [&]<class S>() {
    with_storage({dy}, [&]<class Out>() {
      (vectors ? launch_gather<4, Out, S> : launch_gather<1, Out, S>)(queue, s, dy.as<Out>(), index, dx.as<S>(), mode);
    });
  });
}

}  // namespace

extern const PoolKernels pool{
    .mean_forward = mean_forward,
    .mean_backward = mean_backward,
    .max_forward = max_forward,
    .max_backward = max_backward,
};

}  // namespace systole::kernels::SYSTOLE_TARGET
