// Elementwise operations on cuda and simt. All but dropout do next to nothing per value, so what counts is the traffic:
// 16 bytes per load where count and pointers allow, neighbouring threads at neighbouring addresses, and several
// independent loads of each thread under way before the first value is used.
//
//   block 0: 256 threads × 4 vectors              block 1 …
//   │ vectors 0 … 255 │ 256 … 511 │ … │ … 1023 │  │ 1024 …
//     thread t takes vector t of each part

#include <cmath>

#include "kernels/common/channel_runs.h"
#include "kernels/common/launch.h"
#include "kernels/elementwise/elementwise.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kVectors = 4;  // per thread and input

// ---- maps: y[i] = op(inputs[i])

struct Relu {
  static constexpr int kInputs = 1;  // x
  __device__ __forceinline__ float operator()(const float* v) const { return v[0] < 0 ? 0.0f : v[0]; }
};
struct ReluBackward {
  static constexpr int kInputs = 2;  // y, dy
  __device__ __forceinline__ float operator()(const float* v) const { return v[0] > 0 ? v[1] : 0.0f; }
};
struct Add {
  static constexpr int kInputs = 2;  // a, b
  __device__ __forceinline__ float operator()(const float* v) const { return v[0] + v[1]; }
};
struct Scale {
  static constexpr int kInputs = 1;  // x
  float factor;
  __device__ __forceinline__ float operator()(const float* v) const { return factor * v[0]; }
};
/// An operation whose result is added to a last input.
template <class Op>
struct Accumulate {
  static constexpr int kInputs = Op::kInputs + 1;
  Op op;
  __device__ __forceinline__ float operator()(const float* v) const { return v[Op::kInputs] + op(v); }
};

template <int N, class S>
struct Sources {
  const S* of[N];  // each [count]
};

/// y may be one of the sources: a thread reads the elements that it writes, and no others.
template <int V, class Op, class S>
__global__ __launch_bounds__(kThreads, 4) void map(int64_t count, Sources<Op::kInputs, S> from, S* y, Op op) {
  const int64_t vectors = count / V;
  const int64_t first = int64_t{blockIdx.x} * (kThreads * kVectors) + threadIdx.x;
  Vector<V> values[kVectors][Op::kInputs];
  for (int k = 0; k < kVectors; ++k)
    for (int n = 0; n < Op::kInputs; ++n)
      if (first + k * kThreads < vectors) values[k][n] = load_floats<V>(from.of[n] + (first + k * kThreads) * V);

  for (int k = 0; k < kVectors; ++k) {
    if (first + k * kThreads >= vectors) break;
    Vector<V> result;
    for (int j = 0; j < V; ++j) {
      float v[Op::kInputs];
      for (int n = 0; n < Op::kInputs; ++n) v[n] = values[k][n].lane[j];
      result.lane[j] = op(v);
    }
    store_floats(y + (first + k * kThreads) * V, result);
  }

  if (blockIdx.x == 0 && threadIdx.x < count % V) {  // behind the last whole vector
    const int64_t i = vectors * V + threadIdx.x;
    float v[Op::kInputs];
    for (int n = 0; n < Op::kInputs; ++n) v[n] = load_floats<1>(from.of[n] + i).lane[0];
    store_floats(y + i, Vector<1>{op(v)});
  }
}

template <class Op, class... Inputs>
void launch_map(Queue& queue, int64_t count, const Op& op, Series y, Inputs... inputs) {
  static_assert(sizeof...(Inputs) == Op::kInputs);
  if (count == 0) return;
  const bool aligned = is_aligned({y.address(), inputs.address()...});
  const int64_t blocks = ceil_div(ceil_div<int64_t>(count, aligned ? 4 : 1), int64_t{kThreads} * kVectors);
  with_storage({y, inputs...}, [&]<class S>() {
    launch(queue, {.grid = {blocks}, .block = {kThreads}}, aligned ? map<4, Op, S> : map<1, Op, S>, count,
           Sources<Op::kInputs, S>{{inputs.template as<S>()...}}, y.as<S>(), op);
  });
}

void relu(Queue& queue, int64_t count, ConstSeries x, Series y) {
  launch_map(queue, count, Relu{}, y, x);
}

void relu_backward(Queue& queue, int64_t count, ConstSeries y, ConstSeries dy, Series dx, GradientMode mode) {
  if (mode == GradientMode::overwrite)
    launch_map(queue, count, ReluBackward{}, dx, y, dy);
  else
    launch_map(queue, count, Accumulate<ReluBackward>{}, dx, y, dy, dx);
}

void add(Queue& queue, int64_t count, ConstSeries a, ConstSeries b, Series y) {
  launch_map(queue, count, Add{}, y, a, b);
}

void scale(Queue& queue, int64_t count, float factor, ConstSeries x, Series y, GradientMode mode) {
  if (mode == GradientMode::overwrite)
    launch_map(queue, count, Scale{factor}, y, x);
  else
    launch_map(queue, count, Accumulate<Scale>{{factor}}, y, x, y);
}

// ---- concatenation: threads walk over the rows of the joined tensor (channel_runs.h), so a thread stays on one side

constexpr int kRowValues = 16;  // of the joined tensor, per thread

/// The side that a thread is on, and its first value there.
struct Side {
  __device__ __forceinline__ Side(const ConcatenateShape& s, int channel, int64_t row)
      : is_a(channel < s.C_a), C(is_a ? s.C_a : s.C_b), offset(row * C + (is_a ? channel : channel - s.C_a)) {}
  bool is_a;
  int C;
  int64_t offset;
};

template <int V, class S>
__global__ __launch_bounds__(kRunThreads, 4) void join_rows(ChannelRuns r, ConcatenateShape s,
                                                            const S* __restrict__ a,  // [rows, C_a]
                                                            const S* __restrict__ b,  // [rows, C_b]
                                                            S* y) {                   // [rows, C_a + C_b]
  const RunPlace<V> here(r, blockIdx.x);
  const Side side(s, here.channel(0), here.row);
  const S* from = (side.is_a ? a : b) + side.offset;
  const int64_t step = int64_t{here.rows_per_step()} * side.C;
  Vector<V, S> values[kRowValues / V];
  for (int k = 0; k < kRowValues / V; ++k)
    if (k < here.steps) values[k] = load<V>(from + k * step);
  for (int k = 0; k < kRowValues / V; ++k) {
    if (k >= here.steps) break;
    store(y + here.at(k), values[k]);
  }
}

template <int V, class S>
__global__ __launch_bounds__(kRunThreads, 4) void split_rows(ChannelRuns r, ConcatenateShape s,
                                                             const S* __restrict__ dy,  // [rows, C_a + C_b]
                                                             S* da,                     // [rows, C_a] or null
                                                             bool add_da,
                                                             S* db,  // [rows, C_b] or null
                                                             bool add_db) {
  const RunPlace<V> here(r, blockIdx.x);
  const Side side(s, here.channel(0), here.row);
  S* to = side.is_a ? da : db;
  if (!to) return;
  to += side.offset;
  const bool accumulate = side.is_a ? add_da : add_db;
  const int64_t step = int64_t{here.rows_per_step()} * side.C;
  Vector<V> values[kRowValues / V];
  load_steps(values, here, 0, dy);
  for (int k = 0; k < kRowValues / V; ++k) {
    if (k >= here.steps) break;
    if (accumulate) {
      const Vector<V> before = load_floats<V>(to + k * step);
      for (int j = 0; j < V; ++j) values[k].lane[j] += before.lane[j];
    }
    store_floats(to + k * step, values[k]);
  }
}

ChannelRuns runs_of(const ConcatenateShape& s, int V) {
  return channel_runs(1, s.rows, s.C_a + s.C_b, V, kRowValues);
}

/// Vectors of four lie on one side each, and start at multiples of 16 bytes in all tensors.
bool takes_vectors(const ConcatenateShape& s, std::initializer_list<const void*> pointers) {
  return s.C_a % 4 == 0 && s.C_b % 4 == 0 && is_aligned(pointers);
}

void concatenate(Queue& queue, const ConcatenateShape& s, ConstSeries a, ConstSeries b, Series y) {
  if (s.rows == 0) return;
  const int V = takes_vectors(s, {a.address(), b.address(), y.address()}) ? 4 : 1;
  const ChannelRuns r = runs_of(s, V);
  with_storage({a, b, y}, [&]<class S>() {
    launch(queue, {.grid = r.grid(), .block = r.block(V)}, V == 4 ? join_rows<4, S> : join_rows<1, S>, r, s, a.as<S>(),
           b.as<S>(), y.as<S>());
  });
}

void concatenate_backward(Queue& queue, const ConcatenateShape& s, ConstSeries dy, Series da, GradientMode da_mode,
                          Series db, GradientMode db_mode) {
  if (s.rows == 0) return;
  const int V = takes_vectors(s, {dy.address(), da.address(), db.address()}) ? 4 : 1;
  const ChannelRuns r = runs_of(s, V);
  with_storage({dy, da, db}, [&]<class S>() {
    launch(queue, {.grid = r.grid(), .block = r.block(V)}, V == 4 ? split_rows<4, S> : split_rows<1, S>, r, s,
           dy.as<S>(), da.as<S>(), da_mode == GradientMode::accumulate, db.as<S>(),
           db_mode == GradientMode::accumulate);
  });
}

// ---- leads

/// A thread has one sample of a record and writes it to each lead's series: its neighbours write next to it. They read
/// C values apart, but a block reads every byte of its lines, the first lead from memory and the others from the cache.
template <class S>
__global__ __launch_bounds__(kThreads, 4) void split(SplitLeadsShape s, const S* __restrict__ x,  // [V, N, L, C]
                                                     S* __restrict__ y) {                         // [V, C, N, L]
  const int64_t m = blockIdx.x, l = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (l >= s.L) return;
  const int64_t view = m / s.N, record = m % s.N;
  for (int c = 0; c < s.C; ++c) y[((view * s.C + c) * s.N + record) * s.L + l] = x[(m * s.L + l) * s.C + c];
}

void split_leads(Queue& queue, const SplitLeadsShape& s, ConstSeries x, Series y) {
  with_storage({x, y}, [&]<class S>() {
    launch(queue, {.grid = {int64_t{s.V} * s.N, ceil_div(s.L, kThreads)}, .block = {kThreads}}, split<S>, s, x.as<S>(),
           y.as<S>());
  });
}

// ---- rows of a table

/// A thread has one value: neighbours read next to each other, and all of a row's threads the same number.
__global__ __launch_bounds__(kThreads, 4) void take_rows(GatherShape s, const float* __restrict__ table,  // [any, C]
                                                         const int32_t* __restrict__ rows,                // [N]
                                                         float* __restrict__ y) {                         // [N, C]
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= int64_t{s.N} * s.C) return;
  const int64_t n = i / s.C;
  y[i] = table[int64_t{rows[n]} * s.C + (i - n * s.C)];
}

void gather(Queue& queue, const GatherShape& s, const float* table, const int32_t* rows, float* y) {
  launch(queue, {.grid = {ceil_div(int64_t{s.N} * s.C, int64_t{kThreads})}, .block = {kThreads}}, take_rows, s, table,
         rows, y);
}

// ---- dropout

/// How the elements of records are cut into quads, each for one thread: element i is word i % 4 of Philox block i / 4.
/// Vectors of four need a multiple of four elements; otherwise records do not start aligned, and the last quad of one
/// has fewer than four.
struct Quads {
  int64_t elements;  // of a record
  int records;
  DropoutShape mask;
  uint32_t threshold;  // 0: nothing is dropped
  float factor;

  Quads(int count, int64_t elements_each, const DropoutShape& dropout)
      : elements(elements_each),
        records(count),
        mask(dropout),
        threshold(static_cast<uint32_t>(std::ceil(dropout.p * 0x1p24f))),  // uniform < p, on the 24 bits themselves
        factor(1 / (1 - dropout.p)) {}
  int64_t count() const { return records * ceil_div<int64_t>(elements, 4); }
  __device__ __forceinline__ bool keeps(uint32_t draw) const { return draw >> 8 >= threshold; }
};

/// The quad of a thread.
struct Quad {
  int record, count;  // count: 0 behind the last one
  int64_t element;    // its first, of the record
  uint32_t number;    // of the record's quads

  __device__ __forceinline__ Quad(const Quads& q) {
    const int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x, per_record = (q.elements + 3) / 4;
    record = static_cast<int>(at / per_record);
    number = static_cast<uint32_t>(at - record * per_record);
    element = int64_t{number} * 4;
    const int64_t left = q.elements - element;
    count = record >= q.records ? 0 : left < 4 ? static_cast<int>(left) : 4;
  }
  /// What is drawn for its elements.
  __device__ __forceinline__ Philox4 draws(const Quads& q) const {
    if (q.threshold == 0) return {};
    const RandomStream stream(q.mask.seed, Purpose::dropout, q.mask.step,
                              q.mask.first_record + static_cast<uint32_t>(record), 0, q.mask.layer);
    return stream.block(number);
  }
};

/// *to = values, or *to += values.
template <int V, class S>
__device__ __forceinline__ void put(S* to, Vector<V> values, bool add) {
  if (add) {
    const Vector<V> before = load_floats<V>(to);
    for (int lane = 0; lane < V; ++lane) values.lane[lane] += before.lane[lane];
  }
  store_floats(to, values);
}

template <int V, class S>
__global__ __launch_bounds__(kThreads, 4) void drop(Quads q, const S* x, S* y,  // [N, elements] both; y may be x
                                                    bool accumulate) {
  const Quad quad(q);
  if (quad.count == 0) return;
  const int64_t offset = quad.record * q.elements + quad.element;
  const Philox4 draws = quad.draws(q);
  for (int j = 0; j < quad.count; j += V) {
    Vector<V> values = load_floats<V>(x + offset + j);
    for (int lane = 0; lane < V; ++lane)
      values.lane[lane] = q.keeps(draws.word[j + lane]) ? values.lane[lane] * q.factor : 0.0f;
    put(y + offset + j, values, accumulate);
  }
}

void dropout(Queue& queue, const DropoutShape& s, ConstSeries x, Series y, GradientMode mode) {
  if (s.N == 0 || s.elements == 0) return;
  const Quads q(s.N, s.elements, s);
  const bool vectors = s.elements % 4 == 0 && is_aligned({x.address(), y.address()});
  with_storage({x, y}, [&]<class S>() {
    launch(queue, {.grid = {ceil_div(q.count(), int64_t{kThreads})}, .block = {kThreads}},
           vectors ? drop<4, S> : drop<1, S>, q, x.as<S>(), y.as<S>(), mode == GradientMode::accumulate);
  });
}

// ---- the end of a residual block: dropout with the additions around

/// One value with its pending normalisation. A NaN stays one.
__device__ __forceinline__ float finished(float x, const PendingAffine& pending, int64_t at) {
  if (pending.scale) x = fmaf(x, pending.scale[at], pending.shift[at]);
  return pending.relu && x < 0 ? 0.0f : x;
}

/// V = 4 needs a multiple of four channels; a quad then lies in one sample.
template <int V, class S>
__global__ __launch_bounds__(kThreads, 4) void join_block(Quads q, int C, const S* x, PendingAffine of_x,
                                                          const S* shortcut, PendingAffine of_shortcut, S* y) {
  const Quad quad(q);
  if (quad.count == 0) return;
  const int64_t offset = quad.record * q.elements + quad.element;
  const int64_t x_group = int64_t{quad.record / (q.records / of_x.groups)} * C;
  const int64_t shortcut_group = int64_t{quad.record / (q.records / of_shortcut.groups)} * C;
  const Philox4 draws = quad.draws(q);
  for (int j = 0; j < quad.count; j += V) {
    const Vector<V> a = load_floats<V>(x + offset + j), b = load_floats<V>(shortcut + offset + j);
    const int c = static_cast<int>((quad.element + j) % C);
    Vector<V> sum;
    for (int lane = 0; lane < V; ++lane) {
      const float added = finished(b.lane[lane], of_shortcut, shortcut_group + c + lane);
      const float main = finished(a.lane[lane], of_x, x_group + c + lane);
      // Fused by name: the same bits from every compiler. Without dropout the factor is 1.
      const float value = q.keeps(draws.word[j + lane]) ? fmaf(main, q.factor, added) : added;
      sum.lane[lane] = value < 0 ? 0.0f : value;
    }
    store_floats(y + offset + j, sum);
  }
}

template <int V, class S>
__global__ __launch_bounds__(kThreads, 4) void split_block(Quads q, const S* y, const S* dy, S* da, bool add_da, S* db,
                                                           bool add_db) {
  const Quad quad(q);
  if (quad.count == 0) return;
  const int64_t offset = quad.record * q.elements + quad.element;
  const Philox4 draws = quad.draws(q);
  for (int j = 0; j < quad.count; j += V) {
    const Vector<V> output = load_floats<V>(y + offset + j);
    Vector<V> g = load_floats<V>(dy + offset + j);
    for (int lane = 0; lane < V; ++lane) g.lane[lane] = output.lane[lane] > 0 ? g.lane[lane] : 0.0f;
    if (db) put(db + offset + j, g, add_db);
    if (!da) continue;
    for (int lane = 0; lane < V; ++lane) g.lane[lane] = q.keeps(draws.word[j + lane]) ? g.lane[lane] * q.factor : 0.0f;
    put(da + offset + j, g, add_da);
  }
}

void residual(Queue& queue, const ResidualShape& s, ConstSeries x, const PendingAffine& of_x, ConstSeries shortcut,
              const PendingAffine& of_shortcut, const DropoutShape& mask, Series y) {
  const Quads q(s.N, int64_t{s.L} * s.C, mask);
  const bool vectors = s.C % 4 == 0 && is_aligned({x.address(), shortcut.address(), y.address()});
  with_storage({x, shortcut, y}, [&]<class S>() {
    launch(queue, {.grid = {ceil_div(q.count(), int64_t{kThreads})}, .block = {kThreads}},
           vectors ? join_block<4, S> : join_block<1, S>, q, s.C, x.as<S>(), of_x, shortcut.as<S>(), of_shortcut,
           y.as<S>());
  });
}

void residual_backward(Queue& queue, const ResidualShape& s, ConstSeries y, ConstSeries dy, const DropoutShape& mask,
                       Series da, GradientMode da_mode, Series db, GradientMode db_mode) {
  const Quads q(s.N, int64_t{s.L} * s.C, mask);
  const bool vectors = q.elements % 4 == 0 && is_aligned({y.address(), dy.address(), da.address(), db.address()});
  with_storage({y, dy, da, db}, [&]<class S>() {
    launch(queue, {.grid = {ceil_div(q.count(), int64_t{kThreads})}, .block = {kThreads}},
           vectors ? split_block<4, S> : split_block<1, S>, q, y.as<S>(), dy.as<S>(), da.as<S>(),
           da_mode == GradientMode::accumulate, db.as<S>(), db_mode == GradientMode::accumulate);
  });
}

}  // namespace

extern const ElementwiseKernels elementwise{
    .relu = relu,
    .relu_backward = relu_backward,
    .add = add,
    .scale = scale,
    .concatenate = concatenate,
    .concatenate_backward = concatenate_backward,
    .split_leads = split_leads,
    .gather = gather,
    .dropout = dropout,
    .residual = residual,
    .residual_backward = residual_backward,
};

}  // namespace systole::kernels::SYSTOLE_TARGET
