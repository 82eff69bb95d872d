// The kernel of the forward pass and of the input gradient. Both are sums of products of windows with weights:
//
//   out[n, first + j·step, q] = Σ_taps Σ_c in[n, row(j, tap), c] · W[tap, c, q]
//
//   forward          all positions are one class, step = 1:       row = j·s + k·d − p,              W = w[k, c, q]
//   input gradient   s classes r of positions i = r + s·j, each with the taps k for which r + p − k·d divides by s:
//                                                                 row = j + (r + p − k·d) / s,      W = w[k, q, c]
//   (s stride, d dilation, p padding; `in` is x or dy)
//
// In both, the taps that are equal modulo s / gcd(s, d) form a phase, and in a phase, from one tap to the next, the
// rows move by D = d / gcd(s, d) rows of those that the outputs themselves step over. So a phase is a convolution of
// stride 1:
//
//   slab slot m = row first_row + (j0 + m)·row_step,       output j0 + j, tap i of the phase ↔ slot j + i·D
//
// A block computes kRows outputs × kColumns channels of one record and class. Per chunk of channels and phase it brings
// one slab to shared memory, and all taps multiply windows of it, shifted by D slots each. README.md draws the
// pipeline.
#pragma once

#include <cstddef>
#include <numeric>

#include "kernels/common/divider.h"
#include "kernels/common/pending.h"
#include "kernels/common/piece_sums.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/conv1d_tile.cuh"
#include "kernels/conv1d/packed_weights.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

// What the tiles are chosen for: a GPU of about this many multiprocessors. Not asked of the GPU at hand, since sums
// must not depend on it.
constexpr int64_t kMultiprocessors = 132;

constexpr int kSpareSlots = 32;  // of a slab beyond a block's outputs

struct WindowProduct : TapOrder {  // its period is s / gcd(s, d)
  int N, in_rows, in_channels, out_rows, out_channels;
  int stride, padding, dilation;
  int tap_slots;  // D
  int classes;    // of positions; the outputs of a class are this far apart
  int slab_taps;  // that a slab may have: those that span no more than kSpareSlots; longer phases take several slabs
  int row_tiles;  // of a class
  int panels;     // of kColumns output channels
  int chunks;     // of kChunk input channels
  Divider by_row_tiles, by_panels, by_classes;
  Divider by_group_records;  // of the normalisation of the input that is pending, or of the output

  int tiles() const { return classes * row_tiles; }  // of a record

  /// Blocks of rows × columns outputs, which read `chunk` channels at a time; `groups` of records are normalised.
  void cut(int rows, int columns, int chunk, int groups) {
    row_tiles = ceil_div(ceil_div(out_rows, classes), rows);
    panels = ceil_div(out_channels, columns);
    chunks = ceil_div(in_channels, chunk);
    by_row_tiles = Divider(row_tiles), by_panels = Divider(panels), by_classes = Divider(classes);
    by_group_records = Divider(N / groups);
  }
};

/// A pass as a window product; all but its tiles.
WindowProduct window_product_of(const Conv1dShape& s, bool gradient) {
  const int g = std::gcd(s.stride, s.dilation);
  WindowProduct p{};
  p.N = s.N, p.K = s.K;
  p.stride = s.stride, p.padding = s.padding, p.dilation = s.dilation;
  p.gradient = gradient;
  p.in_rows = gradient ? s.L_out() : s.L;
  p.out_rows = gradient ? s.L : s.L_out();
  p.in_channels = gradient ? s.C_out : s.C_in;
  p.out_channels = gradient ? s.C_in : s.C_out;
  p.period = s.stride / g;
  p.tap_slots = s.dilation / g;
  p.classes = gradient ? std::min(s.stride, s.L) : 1;
  p.phase_taps = s.K / p.period;
  p.longer_phases = s.K % p.period;
  p.slab_taps = kSpareSlots / p.tap_slots + 1;
  return p;
}

/// The tensors of a window product.
struct WindowTensors {
  ConstSeries in;  // [N, in_rows, in_channels]
  PendingAffine pending;
  const float* w;     // [K, C_in, C_out]
  const float* bias;  // [out_channels] or null
  Series out;         // [N, out_rows, out_channels]
  GradientMode mode;
  RecordMoments moments;             // forward
  PendingGradient pending_gradient;  // input gradient: of `in`
  RecordGradientSums sums;           // input gradient: of `out`

  int groups() const { return pending.scale ? pending.groups : sums.g ? sums.output.groups : 1; }
};

/// What a block computes.
struct WindowBlock {
  int record, position_class, panel;
  int first_output, outputs;   // of the class
  int phase_begin, phase_end;  // that contribute to the class
  int taps;                    // of these phases

  template <int kRows>
  static __device__ WindowBlock of(const WindowProduct& p) {
    WindowBlock b;
    unsigned block = blockIdx.x;  // blocks that read the same rows are neighbours: they run at the same time
    const auto next = [&block](const Divider& extent) {
      const unsigned index = extent.rest(block);
      block = extent.quotient(block);
      return static_cast<int>(index);
    };
    b.panel = next(p.by_panels);
    b.first_output = next(p.by_row_tiles) * kRows;
    b.position_class = next(p.by_classes);
    b.record = static_cast<int>(block);

    const int before_last = p.out_rows - b.position_class + p.classes - 1;
    const int outputs = static_cast<int>(p.by_classes.quotient(static_cast<unsigned>(before_last))) - b.first_output;
    b.outputs = outputs < kRows ? outputs : kRows;  // not positive in a class that is shorter than the longest
    b.phase_begin = 0;
    b.phase_end = p.phases();
    if (p.gradient) {
      while (b.phase_begin < b.phase_end && !b.is_reached(p, b.phase_begin)) ++b.phase_begin;
      b.phase_end = b.phase_begin < b.phase_end ? b.phase_begin + 1 : b.phase_begin;
    }
    b.taps = p.taps_before(b.phase_end) - p.taps_before(b.phase_begin);
    return b;
  }

  /// Input gradient: whether the first tap of a phase, and so every one, leads from rows of dy to the class.
  __device__ bool is_reached(const WindowProduct& p, int phase) const {
    return p.stride == 1 || (position_class + p.padding - phase * p.dilation) % p.stride == 0;
  }
  /// Of records that are normalised together: the record's.
  __device__ int group(const WindowProduct& p) const {
    return static_cast<int>(p.by_group_records.quotient(static_cast<unsigned>(record)));
  }
  /// Which of the record's tiles this is.
  template <int kRows>
  __device__ int tile(const WindowProduct& p) const {
    return position_class * p.row_tiles + first_output / kRows;
  }
  /// The row of output 0 of the class at slot 0 of a phase.
  __device__ int first_row(const WindowProduct& p, int phase) const {
    const int offset = p.tap(phase, 0) * p.dilation;
    if (!p.gradient) return offset - p.padding;
    const int rows = position_class + p.padding - offset;
    return p.stride == 1 ? rows : rows / p.stride;
  }
};

/// One slab: some taps of a phase, for one chunk of channels.
struct Slab {
  int chunk, phase, first_tap, taps;

  static __device__ __forceinline__ Slab first(const WindowProduct& p, const WindowBlock& b) {
    Slab slab{0, b.phase_begin, 0, 0};
    if (b.taps > 0) slab.take_taps(p);
    return slab;
  }
  __device__ __forceinline__ Slab next(const WindowProduct& p, const WindowBlock& b) const {
    Slab slab{chunk, phase, first_tap + taps, 0};
    if (slab.first_tap == p.taps_of(phase)) {
      slab.first_tap = 0;
      if (++slab.phase == b.phase_end) slab.phase = b.phase_begin, ++slab.chunk;
    }
    slab.take_taps(p);
    return slab;
  }
  __device__ __forceinline__ void take_taps(const WindowProduct& p) {
    const int left = p.taps_of(phase) - first_tap;
    taps = left < p.slab_taps ? left : p.slab_taps;
  }
};

constexpr int kWeightBuffers = 3;  // one is multiplied, one is complete or on its way, one is being started

template <Precision P, class S, int kRows, int kColumns>
struct WindowKernel {
  using F = Format<P>;
  using Value = typename F::Value;
  static constexpr int kThreads = 2 * kColumns;
  static constexpr int kSlots = kRows + kSpareSlots;
  static constexpr int kQuads = F::kChunk / 4;  // of a row
  static constexpr int kPitch = kColumns + kTilePad;

  union Shared {
    struct {
      S raw[kSlots][F::kChunk];  // as it is in memory
      Value slab[kSlots][F::kRowPitch];
      Value weights[kWeightBuffers][F::kChunk][kPitch];
      NormShared<F::kChunk> norm;  // of the slab's channels, where a gradient is pending
    } in;
    struct {
      float tile[kRows][kPitch];
      float partial[2][kColumns];
    } out;
  };
  static_assert(kThreads % kQuads == 0, "a thread always has the same channels of a row");

  const WindowProduct& p;
  const WindowBlock& block;
  Shared& shared;

  /// Starts the copy of a slab as it is in memory. Rows outside of the record are zero.
  __device__ __forceinline__ void start_slab(const Slab& slab, const S* in, const PendingGradient& pending,
                                             bool aligned) const {
    if (pending.offset) shared.in.norm.fill(pending, block.record, p.N, slab.chunk * F::kChunk, p.in_channels);
    const int c = slab.chunk * F::kChunk + thread_number() % kQuads * 4;
    const S* record = in + int64_t{block.record} * p.in_rows * p.in_channels;
    for_each_row(slab, [&](int slot, int row, bool exists) {
      const int valid = exists ? p.in_channels - c : 0;
      copy_quad(&shared.in.raw[slot][thread_number() % kQuads * 4],
                valid > 0 ? record + int64_t{row} * p.in_channels + c : in, valid, aligned);
    });
  }

  /// The copied slab as operand: normalised where that is pending, or taken back through a normalisation; rounded.
  /// Padding is zero after either.
  __device__ __forceinline__ void transform_slab(const Slab& slab, const PendingAffine& pending,
                                                 const PendingGradient& pending_gradient, bool aligned) const {
    const int quad = thread_number() % kQuads * 4;
    const QuadAffine affine = affine_of(pending, slab.chunk * F::kChunk + quad);
    const int c = slab.chunk * F::kChunk + quad;
    const NormalizedOutput& output = pending_gradient.output;
    for_each_row(slab, [&](int slot, int row, bool exists) {
      float4 z = whole_quad(&shared.in.raw[slot][quad]);
      if (pending.scale && exists) z = affine(z, pending.relu);
      if (pending_gradient.offset && exists) {
        const int64_t at = (int64_t{block.record} * p.in_rows + row) * p.in_channels + c;
        z = shared.in.norm.dy(z, load_quad(output.y.as<S>() + at, p.in_channels - c, aligned), quad, output.relu);
      }
      F::store(&shared.in.slab[slot][quad], z);
    });
  }

  /// Starts the copy of one tap's weights [kChunk, kColumns], which pack_weights laid beside each other.
  __device__ __forceinline__ void start_weights(int buffer, const Value* weights) const {
    constexpr int kValues = 16 / sizeof(Value), kPieces = kColumns / kValues;
#pragma unroll
    for (int i = thread_number(); i < F::kChunk * kPieces; i += kThreads)
      cp_async<16>(&shared.in.weights[buffer][i / kPieces][i % kPieces * kValues], weights + i * kValues, true);
  }

 private:
  /// The calling thread's slots of a slab: body(slot, row, whether the record has it). Rows that exist are a run of
  /// slots, so that no row beyond the padded record, which might not fit into an int, is ever computed.
  template <class Body>
  __device__ __forceinline__ void for_each_row(const Slab& slab, const Body& body) const {
    const int slots = kRows + (slab.taps - 1) * p.tap_slots, step = p.gradient ? 1 : p.stride;
    const int row0 = block.first_row(p, slab.phase) + (block.first_output + slab.first_tap * p.tap_slots) * step;
    const int begin = row0 < 0 ? (step - 1 - row0) / step : 0;
    const int end = row0 < p.in_rows ? (p.in_rows - row0 + step - 1) / step : 0;
#pragma unroll 2  // more would not fit into the registers beside the sums
    for (int slot = thread_number() / kQuads; slot < slots; slot += kThreads / kQuads) {
      const bool exists = slot >= begin && slot < end;
      body(slot, exists ? row0 + slot * step : 0, exists);
    }
  }

  /// Channels that do not exist stay zero.
  __device__ __forceinline__ QuadAffine affine_of(const PendingAffine& pending, int c) const {
    float scale[4] = {}, shift[4] = {};
    if (pending.scale) {
      const int64_t group = int64_t{block.group(p)} * p.in_channels;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (c + i < p.in_channels) scale[i] = pending.scale[group + c + i], shift[i] = pending.shift[group + c + i];
    }
    return {make_float4(scale[0], scale[1], scale[2], scale[3]), make_float4(shift[0], shift[1], shift[2], shift[3])};
  }
};

/// The outputs of a block from its tile of sums in shared memory. A thread has one channel and every second output, so
/// that a warp writes 32 neighbouring channels.
template <int kRows, int kColumns, class Shared, class S>
__device__ __forceinline__ void write_outputs(const WindowProduct& p, const WindowBlock& block, Shared& shared,
                                              const float* bias, S* out, bool accumulate, float* tile_mean,
                                              float* tile_m2) {
  const int column = thread_number() % kColumns, part = thread_number() / kColumns;
  const int q = block.panel * kColumns + column, outputs = q < p.out_channels ? block.outputs : 0;
  const float added = bias && q < p.out_channels ? bias[q] : 0;
  const int64_t first = int64_t{block.record} * p.out_rows + block.position_class;
  float sum = 0;
  for (int j = part; j < outputs; j += 2) {
    S& to = out[(first + int64_t{block.first_output + j} * p.classes) * p.out_channels + q];
    const float value = shared.tile[j][column] + added;
    store_value(to, accumulate ? value_of(to) + value : value);
    sum += value;
  }
  if (!tile_mean) return;  // all threads alike

  shared.partial[part][column] = sum;
  __syncthreads();
  const float mean = (shared.partial[0][column] + shared.partial[1][column]) / static_cast<float>(block.outputs);
  __syncthreads();
  float squares = 0;
  for (int j = part; j < outputs; j += 2) {
    const float deviation = shared.tile[j][column] + added - mean;
    squares += deviation * deviation;
  }
  shared.partial[part][column] = squares;
  __syncthreads();
  if (part == 0 && outputs > 0) {
    const int64_t at = (int64_t{block.record} * p.row_tiles + block.first_output / kRows) * p.out_channels + q;
    tile_mean[at] = mean;
    tile_m2[at] = shared.partial[0][column] + shared.partial[1][column];
  }
}

/// The same of an input gradient whose sums are wanted: those of the tile, for the records to be added up from.
template <int kColumns, class Shared, class S>
__device__ __forceinline__ void write_gradient(const WindowProduct& p, const WindowBlock& block, Shared& shared, S* out,
                                               bool accumulate, const NormalizedOutput& output,
                                               int tile,                         // of the record
                                               float* tile_g, float* tile_gd) {  // [N, classes · row_tiles, C]
  const int column = thread_number() % kColumns, part = thread_number() / kColumns;
  const int q = block.panel * kColumns + column, outputs = q < p.out_channels ? block.outputs : 0;
  const int64_t first = int64_t{block.record} * p.out_rows + block.position_class;
  const int64_t channel = int64_t{block.group(p)} * p.out_channels + q;
  float scale = 0, shift = 0, mean = 0, sum_g = 0, sum_gd = 0;
  if (outputs > 0) scale = output.scale[channel], shift = output.shift[channel], mean = output.mean[channel];
  for (int j = part; j < outputs; j += 2) {
    const int64_t at = (first + int64_t{block.first_output + j} * p.classes) * p.out_channels + q;
    const float value = shared.tile[j][column], dz = accumulate ? value_of(out[at]) + value : value;
    const float y = value_of(output.y.as<S>()[at]);
    store_value(out[at], dz);
    const float g = output.relu && fmaf(y, scale, shift) <= 0 ? 0.0f : dz;
    sum_g += g;
    sum_gd += g * (y - mean);
  }
  shared.partial[part][column] = sum_g;
  __syncthreads();
  sum_g = shared.partial[0][column] + shared.partial[1][column];
  __syncthreads();
  shared.partial[part][column] = sum_gd;
  __syncthreads();
  if (part > 0 || q >= p.out_channels) return;
  const int64_t at = (int64_t{block.record} * p.classes * p.row_tiles + tile) * p.out_channels + q;
  tile_g[at] = sum_g;
  tile_gd[at] = shared.partial[0][column] + shared.partial[1][column];
}

/// Blocks that a multiprocessor shall hold: each has 64 sums in a thread (32 where it has 64 rows).
constexpr int window_blocks(Precision precision, int columns) {
  return (precision == Precision::f32 ? 3 : 4) * 64 / columns;
}

template <Precision P, class S, int kRows, int kColumns>
__global__ void __launch_bounds__(2 * kColumns, window_blocks(P, kColumns))
    window_product(WindowProduct p,
                   const S* __restrict__ in,                              // [N, in_rows, in_channels]
                   PendingAffine pending,                                 // of `in`
                   PendingGradient pending_gradient,                      // of `in`
                   const typename Format<P>::Value* __restrict__ packed,  // [panels, chunks, K, kChunk, kColumns]
                   const float* __restrict__ bias,                        // [out_channels] or null
                   S* __restrict__ out,                                   // [N, out_rows, out_channels]
                   bool accumulate,
                   float* __restrict__ tile_mean,  // [N, row_tiles, out_channels], or null
                   float* __restrict__ tile_m2,    // [N, row_tiles, out_channels]
                   RecordGradientSums tile_sums,   // [N, classes · row_tiles, out_channels] each, or null
                   bool aligned,                   // `in` may be read four values at a time
                   bool output_aligned) {          // and so may the output whose gradient it is
  using Kernel = WindowKernel<P, S, kRows, kColumns>;
  using F = Format<P>;
  auto& shared = *dynamic_shared<typename Kernel::Shared>();
  const WindowBlock block = WindowBlock::of<kRows>(p);
  const Kernel kernel{p, block, shared};
  RegisterTile<P, kRows, kColumns> tile;

  // The weights of a block's taps follow each other in memory, chunk by chunk.
  constexpr int kTapSize = F::kChunk * kColumns;
  const auto* next_weights =
      packed + (int64_t{block.panel} * p.chunks * p.K + p.taps_before(block.phase_begin)) * kTapSize;
  int next_tap = 0;
  const int steps = block.outputs > 0 ? p.chunks * block.taps : 0;
  const auto start_weights = [&](int step) {
    if (step >= steps) return;
    kernel.start_weights(step % kWeightBuffers, next_weights);
    next_weights += kTapSize;
    if (++next_tap == block.taps) next_tap = 0, next_weights += int64_t{p.K - block.taps} * kTapSize;
  };

  // Step by step, a tap each. Every step closes one group of copies, two steps ahead of their use.
  Slab slab = Slab::first(p, block);
  if (steps > 0) kernel.start_slab(slab, in, pending_gradient, aligned);
  start_weights(0);
  cp_async_commit();
  start_weights(1);
  cp_async_commit();
  for (int step = 0, tap = 0; step < steps; ++step, ++tap) {
    if (tap == slab.taps) {
      slab = slab.next(p, block);
      tap = 0;
    }
    if (tap == 0) {
      cp_async_wait<0>();
      __syncthreads();  // everyone's copies are there, and the last slab is no longer read
      kernel.transform_slab(slab, pending, pending_gradient, output_aligned);
    } else {
      cp_async_wait<1>();
    }
    __syncthreads();  // this tap's weights are there, the last tap's are no longer read, nor is the raw slab
    start_weights(step + 2);
    if (tap == 0) {
      const Slab next = slab.next(p, block);
      if (next.chunk < p.chunks) kernel.start_slab(next, in, pending_gradient, aligned);
    }
    cp_async_commit();

    const int channels = p.in_channels - slab.chunk * F::kChunk;
    const int depth = channels < F::kChunk ? (channels + F::kStep - 1) / F::kStep * F::kStep : F::kChunk;
    tile.add_rows(shared.in.slab[tap * p.tap_slots], shared.in.weights[step % kWeightBuffers][0], depth);
  }

  __syncthreads();  // the slab's memory becomes the tile's
  tile.store(shared.out.tile[0]);
  __syncthreads();
  if (tile_sums.g) {
    // The tile's number is that of its block, also where it has no outputs.
    const int tile_number = block.tile<kRows>(p);
    write_gradient<kColumns>(p, block, shared.out, out, accumulate, tile_sums.output, tile_number, tile_sums.g,
                             tile_sums.gd);
  } else {
    write_outputs<kRows, kColumns>(p, block, shared.out, bias, out, accumulate, tile_mean, tile_m2);
  }
}

/// The weights as the blocks read them: rounded, transposed for the input gradient, padded with zeros to whole chunks
/// and panels, in the order of taps(). A block packs the weights [kChunk, kColumns] of one tap.
constexpr int kPackThreads = 256;

template <Precision P, int kColumns>
__global__ void __launch_bounds__(kPackThreads)
    pack_weights(WindowProduct p,
                 const float* __restrict__ w,                       // [K, C_in, C_out]
                 typename Format<P>::Value* __restrict__ packed) {  // [panels, chunks, K, kChunk, kColumns]
  using F = Format<P>;
  const int chunk = static_cast<int>(blockIdx.y), panel = static_cast<int>(blockIdx.z);
  int phase = 0, i = static_cast<int>(blockIdx.x);
  for (; i >= p.taps_of(phase); ++phase) i -= p.taps_of(phase);
  const float* tap = w + int64_t{p.tap(phase, i)} * p.in_channels * p.out_channels;
  packed += ((int64_t{panel} * p.chunks + chunk) * p.K + blockIdx.x) * (F::kChunk * kColumns);
  for (int at = thread_number(); at < F::kChunk * kColumns; at += kPackThreads) {
    const int c = chunk * F::kChunk + at / kColumns, q = panel * kColumns + at % kColumns;
    float weight = 0;
    if (c < p.in_channels && q < p.out_channels)
      weight = tap[p.gradient ? int64_t{q} * p.in_channels + c : int64_t{c} * p.out_channels + q];
    packed[at] = F::round(weight);
  }
}

/// The moments of a record from those of its tiles, in the order of the tiles (Chan, Golub, LeVeque 1979): a tile of b
/// outputs joins a outputs with   mean += δ·b/(a+b),  m2 += m2_b + δ²·a·b/(a+b),  δ = mean_b − mean.
constexpr int kMomentThreads = 128;

template <int kRows>
__global__ void __launch_bounds__(kMomentThreads) combine_moments(const float* __restrict__ tile_mean,  // [N, tiles, C]
                                                                  const float* __restrict__ tile_m2,    // [N, tiles, C]
                                                                  float* __restrict__ mean,             // [N, C]
                                                                  float* __restrict__ m2,               // [N, C]
                                                                  int64_t count, int tiles, int L, int C) {
  const int64_t at = int64_t{blockIdx.x} * kMomentThreads + thread_number();
  if (at >= count) return;
  const int64_t first = at / C * tiles * C + at % C;
  float joined_mean = tile_mean[first], joined_m2 = tile_m2[first];
  for (int t = 1; t < tiles; ++t) {
    const int before = t * kRows, own = L - before < kRows ? L - before : kRows;
    const float share = static_cast<float>(own) / static_cast<float>(before + own);
    const float delta = tile_mean[first + int64_t{t} * C] - joined_mean;
    joined_mean += delta * share;
    joined_m2 += tile_m2[first + int64_t{t} * C] + delta * delta * (share * static_cast<float>(before));
  }
  mean[at] = joined_mean;
  m2[at] = joined_m2;
}

/// What tiles of kRows outputs find out of their record: its moments, or the sums of its gradient. A record of one tile
/// has them at once, and who takes pieces gets those of the tiles; otherwise they wait in `bytes()` of memory, and
/// join() adds them up in the order of the tiles.
template <int kRows>
struct TileResults {
  RecordMoments moments;    // where tiles leave them
  RecordGradientSums sums;  // likewise

  TileResults(const WindowProduct& p, const WindowTensors& t) : moments(t.moments), sums(t.sums), p_(p), t_(t) {
    if (moments.mean && moments.piece_rows) *moments.piece_rows = kRows;
    if (sums.g && sums.pieces) *sums.pieces = p.tiles();
  }

  size_t bytes() const { return wait() ? 2 * values() * sizeof(float) : 0; }
  void place(std::byte* memory) {
    if (!wait()) return;
    auto* const first = reinterpret_cast<float*>(memory);
    if (moments.mean) moments = {first, first + values()};
    if (sums.g) sums.g = first, sums.gd = first + values();
  }
  void join(Queue& queue) const {
    const int64_t outputs = int64_t{p_.N} * p_.out_channels;
    if (!wait()) return;
    if (sums.g)
      launch_add_pieces(queue, sums.g, sums.gd, t_.sums.g, t_.sums.gd, outputs, p_.tiles(), p_.out_channels);
    else
      launch(queue, {.grid = {ceil_div<int64_t>(outputs, kMomentThreads)}, .block = {kMomentThreads}},
             combine_moments<kRows>, moments.mean, moments.m2, t_.moments.mean, t_.moments.m2, outputs, p_.row_tiles,
             p_.out_rows, p_.out_channels);
  }

 private:
  bool wait() const {
    const bool joined = (t_.moments.mean && !t_.moments.piece_rows) || (t_.sums.g && !t_.sums.pieces);
    return joined && p_.tiles() > 1;
  }
  size_t values() const { return static_cast<size_t>(int64_t{p_.N} * p_.out_channels * p_.tiles()); }

  const WindowProduct& p_;
  const WindowTensors& t_;
};

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
