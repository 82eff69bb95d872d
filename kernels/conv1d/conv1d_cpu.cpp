// Conv1d on the cpu device: three passes on one register tile (kernels/common/gemm_tile.h). README.md draws them.
//
//   forward          y[strip, o]  = bias + windows of z [outputs, K·C_in] · w [K·C_in, C_out]
//   input gradient   dz[strip, c] = windows of dy [positions, taps·C_out] · reversed, transposed w [taps·C_out, C_in]
//   weight gradient  dw[(k, c), o] = Σ_records (windows of z)ᵀ [K·C_in, outputs] · dy [outputs, C_out]
//
// A record is laid out once (record_layout.h) in the scratch of the thread that works on it; it and its output stay in
// L2.

#include <algorithm>
#include <vector>

#include "kernels/common/column_sums.h"
#include "kernels/common/gemm_tile.h"
#include "kernels/common/norm_gradient.h"
#include "kernels/common/parallel.h"
#include "kernels/common/series_cpu.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/record_layout.h"

namespace systole::kernels::cpu {
namespace {

// Slots of thread_scratch.
constexpr int kShared = 0;    // of the calling thread, read by all: packed weights, partial sums
constexpr int kRecord = 1;    // of each thread: the record it works on
constexpr int kPanel = 2;     // of each thread: a panel of dy
constexpr int kGradient = 3;  // of each thread: a record of dy

// The weight gradient's records are cut into N / 8 pieces, at most 16: their number, and so the order of the sums, must
// not depend on the threads, and each piece takes as much memory as the weights.
constexpr int kRecordsPerPiece = 8;
constexpr int kMostPieces = 16;

RecordAffine affine_of(const PendingAffine& pending, int channels, int64_t record, int64_t records) {
  if (!pending.scale) return {nullptr, nullptr, false};
  const int64_t group = record / (records / pending.groups);
  return {pending.scale + group * channels, pending.shift + group * channels, pending.relu};
}

/// The work on `units` records or pieces is cut into this many groups of column panels too when there are more threads
/// than units. No sum depends on it.
int column_groups(int64_t units, int panels) {
  const int64_t wanted = (threads() + units - 1) / units;
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, panels));
}

/// What forward and input gradient do with every record: windows of its layout times weights.
struct WindowProduct {
  int in_channels, out_channels;
  RecordLayout layout;

  int depth(int taps) const { return taps * in_channels; }
  int packed_depth() const { return depth(static_cast<int>(layout.tap_order.size())); }
};

/// Weights of all taps as panels [taps in the layout's order, in_channels, columns]; the weight of (k, in, out) is
/// w[k · in_channels · out_channels + in · in_stride + out · out_stride].
const float* pack_weights(const WindowProduct& product, const float* w, ptrdiff_t in_stride, ptrdiff_t out_stride) {
  const int panels = panel_count(product.out_channels);
  const ptrdiff_t tap_size = ptrdiff_t{product.in_channels} * product.out_channels;
  float* packed = thread_scratch(kShared, packed_size(product.packed_depth(), product.out_channels));
  parallel_for(panels, [&](int64_t p) {
    const int columns = panel_columns(product.out_channels, static_cast<int>(p));
    float* panel = packed + p * product.packed_depth() * kTileColumns;
    for (int tap : product.layout.tap_order) {
      pack_panel(product.in_channels, columns, w + tap * tap_size + p * kTileColumns * out_stride, in_stride,
                 out_stride, panel);
      panel += product.in_channels * panel_width(columns);
    }
  });
  return packed;
}

/// The columns of some panels of one laid-out record's output.
void multiply_record(const WindowProduct& product, const float* rows, const float* packed, const Range& panels,
                     const float* bias, GradientMode mode, float* output) {
  const int C_in = product.in_channels, C_out = product.out_channels;
  for (int64_t p = panels.begin; p < panels.end; ++p) {
    const int columns = panel_columns(C_out, static_cast<int>(p));
    const float* panel = packed + p * product.packed_depth() * kTileColumns;
    for (const Strip& strip : product.layout.strips) {
      PanelOutput to{output + strip.first_output * C_out + p * kTileColumns, strip.output_step * C_out};
      if (bias) {
        to.add = bias + p * kTileColumns;
      } else if (mode == GradientMode::accumulate) {
        to.add = to.c;
        to.add_row = to.c_row;
      }
      multiply_panel(strip.count, columns, product.depth(strip.taps), rows + strip.first_row * C_in,
                     strip.row_step * C_in, panel + product.depth(strip.first_tap) * panel_width(columns), to);
    }
  }
}

/// The columns of a range of panels.
Range columns_of(const Range& panels, int columns) {
  return {panels.begin * kTileColumns, std::min<int64_t>(panels.end * kTileColumns, columns)};
}

/// The moments of some columns of y [L, C], the output of record n.
void record_moments(const float* y, int64_t L, int C, const Range& columns, const RecordMoments& moments, int64_t n) {
  const int count = static_cast<int>(columns.end - columns.begin);
  y += columns.begin;
  float* mean = moments.mean + n * C + columns.begin;
  sum_columns(y, L, C, count, mean);
  for (int c = 0; c < count; ++c) mean[c] /= static_cast<float>(L);
  sum_squared_deviations(y, L, C, count, mean, moments.m2 + n * C + columns.begin);
}

/// Record n of dy from what a pending gradient is pending on.
void take_back(const Conv1dShape& s, const float* dy, const PendingGradient& pending, int64_t n, float* record) {
  const int64_t size = int64_t{s.L_out()} * s.C_out;
  const NormalizedOutput& o = pending.output;
  const int64_t group = n / (s.N / o.groups);
  const auto transform = o.relu ? output_gradient<true, false> : output_gradient<false, false>;
  transform(size, s.C_out, o.y + n * size, dy + n * size, channels_of(o, group, s.C_out),
            pending.offset + group * s.C_out, pending.slope + group * s.C_out, record);
}

/// Record n of dy [N, L_out, C_out]: its own memory, or in the thread's scratch what a pending gradient makes of it.
const float* record_of_dy(const Conv1dShape& s, const float* dy, const PendingGradient& pending, int64_t n) {
  const int64_t size = int64_t{s.L_out()} * s.C_out;
  if (!pending.offset) return dy + n * size;
  float* record = thread_scratch(kGradient, static_cast<size_t>(size));
  take_back(s, dy, pending, n, record);
  return record;
}

void forward_f32(const Conv1dShape& s, const float* x, const PendingAffine& pending, const float* w, const float* bias,
                 float* y, const RecordMoments& moments) {
  const WindowProduct product{s.C_in, s.C_out, forward_layout(s)};
  const float* packed = pack_weights(product, w, s.C_out, 1);
  const int panels = panel_count(s.C_out);
  const int groups = column_groups(s.N, panels);
  const int64_t L_out = s.L_out();
  parallel_for(int64_t{s.N} * groups, [&](int64_t unit) {
    const int64_t n = unit / groups;
    const Range range = piece_of(panels, groups, unit % groups);
    float* rows = thread_scratch(kRecord, static_cast<size_t>(product.layout.rows() * s.C_in));
    lay_out(product.layout, x + n * s.L * s.C_in, s.L, s.C_in, affine_of(pending, s.C_in, n, s.N), s.C_in, rows);
    float* output = y + n * L_out * s.C_out;
    multiply_record(product, rows, packed, range, bias, GradientMode::overwrite, output);
    if (moments.mean) record_moments(output, L_out, s.C_out, columns_of(range, s.C_out), moments, n);
  });
}

void input_gradient_f32(const Conv1dShape& s, const float* dy, const PendingGradient& pending, const float* w,
                        float* dz, GradientMode mode, const RecordGradientSums& sums) {
  const WindowProduct product{s.C_out, s.C_in, input_gradient_layout(s)};
  const float* packed = pack_weights(product, w, 1, s.C_out);
  const int panels = panel_count(s.C_in);
  const int groups = sums.g ? 1 : column_groups(s.N, panels);  // the sums read whole rows
  parallel_for(int64_t{s.N} * groups, [&](int64_t unit) {
    const int64_t n = unit / groups;
    float* rows = thread_scratch(kRecord, static_cast<size_t>(product.layout.rows() * s.C_out));
    lay_out(product.layout, record_of_dy(s, dy, pending, n), s.L_out(), s.C_out, {}, s.C_out, rows);
    multiply_record(product, rows, packed, piece_of(panels, groups, unit % groups), nullptr, mode,
                    dz + n * s.L * s.C_in);
    if (sums.g) record_gradient_sums(sums, n, s.N, s.L, s.C_in, dz);
  });
}

/// The weight gradient of a few records, in memory of its own: piece after piece is added up in the end.
struct WeightGradient {
  const Conv1dShape& shape;
  RecordLayout layout;
  ptrdiff_t pitch;                       // floats between laid-out rows
  std::vector<ptrdiff_t> window_offset;  // [K·C_in]: where (k, c) lies in a window

  explicit WeightGradient(const Conv1dShape& s)
      : shape(s),
        layout(forward_layout(s)),
        pitch(s.C_in % (2 * kLine) ? s.C_in : s.C_in + kLine),
        window_offset(static_cast<size_t>(s.K) * static_cast<size_t>(s.C_in)) {
    for (size_t i = 0; i < window_offset.size(); ++i) {
      const auto C_in = static_cast<size_t>(s.C_in);
      window_offset[i] = static_cast<ptrdiff_t>(i / C_in) * pitch + static_cast<ptrdiff_t>(i % C_in);
    }
  }

  // A tile reads 6 neighbouring floats of every row. Rows a power of two apart would all fall into a few sets of the L1
  // cache, so rows of an even number of cache lines get one line more.
  static constexpr int kLine = 16;
};

/// dw[(k, c), columns] (+)= Σ windows[l, (k, c)] · dy[l, columns] over some outputs l of a strip, one panel of columns.
void multiply_outputs(const WeightGradient& task, const float* windows, ptrdiff_t window_step, const Range& outputs,
                      const float* panel, int columns, bool first, float* dw) {
  const auto rows = static_cast<int64_t>(task.window_offset.size());
  const ptrdiff_t C_out = task.shape.C_out;
  for (int64_t row = 0; row < rows; row += kTileRows, dw += kTileRows * C_out) {
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows - row));
    Tile tile{{},    window_step, panel, static_cast<int>(outputs.end - outputs.begin), first ? nullptr : dw,
              C_out, dw,          C_out};
    for (int r = 0; r < count; ++r)
      tile.rows[r] = windows + outputs.begin * window_step + task.window_offset[static_cast<size_t>(row + r)];
    multiply_tile(tile, count, columns);
  }
}

/// Adds one record to a piece; the first one overwrites it.
void add_record(const WeightGradient& task, const float* rows, const float* dy, const Range& panels, bool first,
                float* dw) {
  const int C_out = task.shape.C_out;
  float* panel = thread_scratch(kPanel, size_t{kDepthBlock} * kTileColumns);
  for (const Strip& strip : task.layout.strips) {
    const float* windows = rows + strip.first_row * task.pitch;
    const int64_t blocks = (strip.count + kDepthBlock - 1) / kDepthBlock;
    for (int64_t block = 0; block < blocks; ++block) {
      const Range outputs = piece_of(strip.count, blocks, block);
      const float* dy_rows = dy + (strip.first_output + outputs.begin * strip.output_step) * C_out;
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        const int columns = panel_columns(C_out, static_cast<int>(p));
        pack_panel(outputs.end - outputs.begin, columns, dy_rows + p * kTileColumns, strip.output_step * C_out, 1,
                   panel);
        multiply_outputs(task, windows, strip.row_step * task.pitch, outputs, panel, columns, first,
                         dw + p * kTileColumns);
      }
      first = false;
    }
  }
}

/// Adds the columns of one record's dy to bias_sum [C]; the C floats behind it are scratch. The first record
/// overwrites.
void add_bias_gradient(const float* dy, int64_t L_out, int C, const Range& columns, bool first, float* bias_sum) {
  const int count = static_cast<int>(columns.end - columns.begin);
  float* sum = bias_sum + columns.begin;
  float* record_sum = first ? sum : sum + C;
  sum_columns(dy + columns.begin, L_out, C, count, record_sum);
  if (first) return;
  for (int c = 0; c < count; ++c) sum[c] += record_sum[c];
}

/// to[i] (+)= Σ_p pieces[p · stride + i], in the order of p.
void combine(const float* pieces, int64_t count, int64_t stride, int64_t size, GradientMode mode, float* to) {
  constexpr int64_t kChunk = 1024;
  parallel_for((size + kChunk - 1) / kChunk, [&](int64_t chunk) {
    const int64_t first = chunk * kChunk;
    const int64_t length = std::min(kChunk, size - first);
    float sum[kChunk];
    std::copy_n(pieces + first, length, sum);
    for (int64_t p = 1; p < count; ++p)
      for (int64_t i = 0; i < length; ++i) sum[i] += pieces[p * stride + first + i];
    for (int64_t i = 0; i < length; ++i)
      to[first + i] = mode == GradientMode::accumulate ? to[first + i] + sum[i] : sum[i];
  });
}

void weight_gradient_f32(const Conv1dShape& s, const float* x, const PendingAffine& pending, const float* dy,
                         const PendingGradient& pending_dy, float* dw, float* dbias, GradientMode mode) {
  const WeightGradient task(s);
  const int panels = panel_count(s.C_out);
  const int64_t L_out = s.L_out();
  const int64_t pieces = std::clamp<int64_t>(s.N / kRecordsPerPiece, 1, kMostPieces);
  const int groups = column_groups(pieces, panels);
  const int64_t piece_size = s.weight_size() + 2 * s.C_out;  // dw, dbias, one record's dbias
  float* partial = thread_scratch(kShared, static_cast<size_t>(pieces * piece_size));
  parallel_for(pieces * groups, [&](int64_t unit) {
    const Range records = piece_of(s.N, pieces, unit / groups);
    const Range range = piece_of(panels, groups, unit % groups);
    const Range columns = columns_of(range, s.C_out);
    float* sum = partial + unit / groups * piece_size;
    float* bias_sum = sum + s.weight_size();
    float* rows = thread_scratch(kRecord, static_cast<size_t>(task.layout.rows() * task.pitch));
    for (int64_t n = records.begin; n < records.end; ++n) {
      const float* record_dy = record_of_dy(s, dy, pending_dy, n);
      lay_out(task.layout, x + n * s.L * s.C_in, s.L, s.C_in, affine_of(pending, s.C_in, n, s.N), task.pitch, rows);
      add_record(task, rows, record_dy, range, n == records.begin, sum);
      if (dbias) add_bias_gradient(record_dy, L_out, s.C_out, columns, n == records.begin, bias_sum);
    }
  });
  combine(partial, pieces, piece_size, s.weight_size(), mode, dw);
  if (dbias) combine(partial + s.weight_size(), pieces, piece_size, s.C_out, mode, dbias);
}

// ---- other precisions: operands are finished and rounded first, then multiplied in f32

bool is_f32(const Queue& queue, ConstSeries series) {
  return queue.precision() == Precision::f32 && series.storage() == Storage::f32;
}

/// z [N, L, C_in], the value that the convolution multiplies.
const float* finished_input(const Conv1dShape& s, ConstSeries x_series, const PendingAffine& pending, Floats& memory) {
  const Widened x(x_series, s.input_size());
  float* const z = memory.take(s.input_size());
  const int64_t size = int64_t{s.L} * s.C_in;
  parallel_for(s.N, [&](int64_t n) {
    const RecordAffine affine = affine_of(pending, s.C_in, n, s.N);
    const float* const from = x + n * size;
    float* const to = z + n * size;
    if (!affine.scale) {
      std::copy_n(from, size, to);
      return;
    }
    for (int64_t i = 0; i < size; i += s.C_in)
#pragma omp simd
      for (int c = 0; c < s.C_in; ++c) {
        const float value = std::fma(from[i + c], affine.scale[c], affine.shift[c]);
        to[i + c] = affine.relu && value < 0 ? 0 : value;
      }
  });
  return z;
}

/// dy [N, L_out, C_out], behind what was pending.
const float* finished_gradient(const Conv1dShape& s, ConstSeries dy_series, PendingGradient pending, Floats& memory) {
  const Widened dy(dy_series, s.output_size()), y(pending.output.y, s.output_size());
  pending.output.y = static_cast<const float*>(y);
  float* const finished = memory.take(s.output_size());
  const int64_t size = int64_t{s.L_out()} * s.C_out;
  parallel_for(s.N, [&](int64_t n) {
    if (pending.offset)
      take_back(s, dy, pending, n, finished + n * size);
    else
      std::copy_n(dy + n * size, size, finished + n * size);
  });
  return finished;
}

void forward(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, const float* w,
             const float* bias, Series y, const RecordMoments& moments) {
  if (is_f32(queue, x)) return forward_f32(s, x, pending, w, bias, y, moments);
  Floats memory;
  const Rounded z_factors(queue.precision(), finished_input(s, x, pending, memory), s.input_size()),
      w_factors(queue.precision(), w, s.weight_size());
  forward_f32(s, z_factors, {}, w_factors, bias, Narrowed(y, s.output_size()), moments);
}

void input_gradient(Queue& queue, const Conv1dShape& s, ConstSeries dy, const PendingGradient& pending, const float* w,
                    Series dz, GradientMode mode, const RecordGradientSums& sums) {
  if (is_f32(queue, dy)) return input_gradient_f32(s, dy, pending, w, dz, mode, sums);
  Floats memory;
  const Rounded dy_factors(queue.precision(), finished_gradient(s, dy, pending, memory), s.output_size());
  const Rounded w_factors(queue.precision(), w, s.weight_size());
  const Widened output(sums.output.y, s.input_size());
  RecordGradientSums wanted = sums;
  wanted.output.y = static_cast<const float*>(output);
  input_gradient_f32(s, dy_factors, {}, w_factors, Narrowed(dz, s.input_size(), mode == GradientMode::accumulate), mode,
                     wanted);
}

void weight_gradient(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, ConstSeries dy,
                     const PendingGradient& pending_dy, float* dw, float* dbias, GradientMode mode) {
  if (is_f32(queue, x)) return weight_gradient_f32(s, x, pending, dy, pending_dy, dw, dbias, mode);
  Floats z_memory, dy_memory;
  const Rounded z_factors(queue.precision(), finished_input(s, x, pending, z_memory), s.input_size());
  const Rounded dy_factors(queue.precision(), finished_gradient(s, dy, pending_dy, dy_memory), s.output_size());
  weight_gradient_f32(s, z_factors, {}, dy_factors, {}, dw, dbias, mode);
}

}  // namespace

extern const Conv1dKernels conv1d{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::cpu
