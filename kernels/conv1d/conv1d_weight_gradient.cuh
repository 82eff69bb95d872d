// The kernels of the weight gradient: a matrix product whose depth is all positions of all records,
//
//   dw[m, o] = Σ_n Σ_l z[n, l·stride + k·dilation − padding, c] · dy[n, l, o],   m = k·C_in + c
//
// A block has kRows values of m, kColumns of o, and a split: some of the units that positions are cut into, kChunk
// positions of one record each. It writes its sums to memory of its own; sum_splits adds the splits up. How many there
// are depends on shape and precision alone, so the sums have the same order on every GPU and in every run.
//
// Rows of z and dy are positions, the depth of the product: both operands lie as [depth][…] in shared memory. For
// dilation 1 neighbouring m are neighbours in memory, also from tap to tap. A window is read once per tap; the second
// time it comes from the L1 cache.
#pragma once

#include "kernels/common/channel_runs.h"
#include "kernels/common/pending.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/conv1d_tile.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

struct WeightGradient {
  Conv1dShape shape;
  int L_out;
  int rows;  // K · C_in
  int row_tiles, column_tiles;
  int units_per_record;
  int splits;
  int64_t piece;  // floats of a split's sums: dw, then dbias
};

template <Precision P, class S, int kRows, int kColumns>
struct GradientKernel {
  using F = Format<P>;
  using Value = typename F::Value;
  static constexpr int kThreads = 2 * kColumns;
  static constexpr int kDepth = F::kChunk;
  // A thread always has the same four columns of a tile, and every kThreads / quads-th row.
  static constexpr int kZQuads = kRows / 4, kDyQuads = kColumns / 4;
  static constexpr int kZStep = kThreads / kZQuads, kDyStep = kThreads / kDyQuads;

  /// A column of the z tile: tap and channel of one m.
  struct alignas(16) Column {
    int begin, count;  // outputs l in [begin, begin + count) read a position of the record; the others, padding
    int offset;  // from the first value of a record to what output 0 would read: l·stride·C_in more for output l
    int channel;

    static __device__ Column of(const WeightGradient& p, int m) {
      if (m >= p.rows) return {0, 0, 0, 0};
      const Conv1dShape& s = p.shape;
      const int tap = m / s.C_in, channel = m - tap * s.C_in, position = tap * s.dilation - s.padding;
      const int begin = position < 0 ? (s.stride - 1 - position) / s.stride : 0;
      const int end_in_record = position < s.L ? (s.L - position + s.stride - 1) / s.stride : 0;
      const int end = end_in_record < p.L_out ? end_in_record : p.L_out;
      return {begin, end > begin ? end - begin : 0, position * s.C_in + channel, channel};
    }
    __device__ __forceinline__ bool exists(int l) const {
      return static_cast<unsigned>(l - begin) < static_cast<unsigned>(count);
    }
  };

  struct Shared {
    Column columns[kRows];
    NormShared<kColumns> norm;  // of the block's columns of dy, where its gradient is pending
    union {
      struct {
        S raw_z[kDepth][kRows];  // as they are in memory
        S raw_dy[kDepth][kColumns];
        Value z[2][kDepth][kRows + kTilePad];
        Value dy[2][kDepth][kColumns + kTilePad];
      } in;
      struct {
        float tile[kRows][kColumns + kTilePad];
        float bias[kDyStep][kColumns];
      } out;
    };
  };

  /// kDepth positions of a record.
  struct Unit {
    int record, first;

    __device__ __forceinline__ Unit next(const WeightGradient& p) const {
      return first + kDepth < p.L_out ? Unit{record, first + kDepth} : Unit{record + 1, 0};
    }
  };

  /// Starts the copy of z as it is in memory; padding is zero. When C_in is a multiple of four, the thread's four
  /// columns belong to one tap and are neighbours in memory.
  static __device__ __forceinline__ void start_z(const WeightGradient& p, const Unit& unit, const S* x, Shared& shared,
                                                 bool aligned) {
    const int quad = thread_number() % kZQuads * 4, step = p.shape.stride * p.shape.C_in;
    const S* record = x + int64_t{unit.record} * p.shape.L * p.shape.C_in;
    const auto start = [&](const auto& copy, int column) {
      const Column at = shared.columns[column];
      for (int d = thread_number() / kZQuads; d < kDepth; d += kZStep) {
        const int l = unit.first + d;
        const bool exists = at.exists(l);
        copy(&shared.in.raw_z[d][column], exists ? record + l * step + at.offset : x, exists);
      }
    };
    if (aligned)
      start([](S* to, const S* from, bool exists) { cp_async<4 * sizeof(S)>(to, from, exists); }, quad);
    else
      for (int i = 0; i < 4; ++i)
        start([](S* to, const S* from, bool exists) { copy_value(to, from, exists); }, quad + i);
  }

  /// The same thread's part of raw_z as operand.
  static __device__ __forceinline__ void transform_z(const WeightGradient& p, const Unit& unit,
                                                     const PendingAffine& pending, Shared& shared, int buffer) {
    const int quad = thread_number() % kZQuads * 4;
    if (!pending.scale) {
      for (int d = thread_number() / kZQuads; d < kDepth; d += kZStep)
        F::store(&shared.in.z[buffer][d][quad], whole_quad(&shared.in.raw_z[d][quad]));
      return;
    }
    const int64_t group = int64_t{unit.record / (p.shape.N / pending.groups)} * p.shape.C_in;
    const Column c0 = shared.columns[quad], c1 = shared.columns[quad + 1], c2 = shared.columns[quad + 2],
                 c3 = shared.columns[quad + 3];
    const auto of_channels = [&](const float* values) {
      return make_float4(values[group + c0.channel], values[group + c1.channel], values[group + c2.channel],
                         values[group + c3.channel]);
    };
    const QuadAffine affine{of_channels(pending.scale), of_channels(pending.shift)};
#pragma unroll 2  // more would not fit into the registers beside the sums
    for (int d = thread_number() / kZQuads; d < kDepth; d += kZStep) {
      const int l = unit.first + d;
      float4 z = affine(whole_quad(&shared.in.raw_z[d][quad]), pending.relu);
      z.x = c0.exists(l) ? z.x : 0;  // padding stays zero
      z.y = c1.exists(l) ? z.y : 0;
      z.z = c2.exists(l) ? z.z : 0;
      z.w = c3.exists(l) ? z.w : 0;
      F::store(&shared.in.z[buffer][d][quad], z);
    }
  }

  static __device__ __forceinline__ void start_dy(const WeightGradient& p, int first_column, const Unit& unit,
                                                  const S* dy, Shared& shared, bool aligned) {
    const int quad = thread_number() % kDyQuads * 4, o = first_column + quad;
    for (int d = thread_number() / kDyQuads; d < kDepth; d += kDyStep) {
      const int l = unit.first + d, valid = l < p.L_out ? p.shape.C_out - o : 0;
      const int64_t row = int64_t{unit.record} * p.L_out + l;
      copy_quad(&shared.in.raw_dy[d][quad], valid > 0 ? dy + row * p.shape.C_out + o : dy, valid, aligned);
    }
  }

  /// The same thread's part of raw_dy as operand, taken back through the normalisation where that is pending, and added
  /// to the bias gradient.
  static __device__ __forceinline__ void transform_dy(const WeightGradient& p, int first_column, const Unit& unit,
                                                      const PendingGradient& pending, bool aligned, Shared& shared,
                                                      int buffer, float4& bias) {
    const int quad = thread_number() % kDyQuads * 4, o = first_column + quad;
    for (int d = thread_number() / kDyQuads; d < kDepth; d += kDyStep) {
      float4 value = whole_quad(&shared.in.raw_dy[d][quad]);
      const int l = unit.first + d;
      if (pending.offset && l < p.L_out) {
        const int64_t at = (int64_t{unit.record} * p.L_out + l) * p.shape.C_out + o;
        value = shared.norm.dy(value, load_quad(pending.output.y.as<S>() + at, p.shape.C_out - o, aligned), quad,
                               pending.output.relu);
      }
      bias.x += value.x, bias.y += value.y, bias.z += value.z, bias.w += value.w;
      F::store(&shared.in.dy[buffer][d][quad], value);
    }
  }
};

/// Blocks that a multiprocessor shall hold.
constexpr int gradient_blocks(Precision precision, int columns) {
  return columns == 64 ? 3 : precision == Precision::f32 ? 1 : 2;
}

template <Precision P, class S, int kRows, int kColumns>
__global__ void __launch_bounds__(2 * kColumns, gradient_blocks(P, kColumns))
    weight_gradient_splits(WeightGradient p,
                           const S* __restrict__ x,          // [N, L, C_in]
                           PendingAffine pending,            // of x
                           const S* __restrict__ dy,         // [N, L_out, C_out]
                           PendingGradient pending_dy,       // of dy
                           float* __restrict__ pieces,       // [splits, K·C_in·C_out + C_out]
                           bool x_aligned, bool dy_aligned,  // may be read four values at a time
                           bool output_aligned) {            // and so may the output that dy belongs to
  using Kernel = GradientKernel<P, S, kRows, kColumns>;
  using F = Format<P>;
  auto& shared = *dynamic_shared<typename Kernel::Shared>();
  const unsigned tiles = static_cast<unsigned>(p.row_tiles * p.column_tiles), in_split = blockIdx.x % tiles;
  const int64_t split = blockIdx.x / tiles;  // the blocks of a split, which read the same records, are neighbours
  const int first_row = static_cast<int>(in_split) % p.row_tiles * kRows;
  const int first_column = static_cast<int>(in_split) / p.row_tiles * kColumns;
  RegisterTile<P, kRows, kColumns> tile;
  float4 bias = make_float4(0, 0, 0, 0);

  const int64_t units = int64_t{p.shape.N} * p.units_per_record;
  const int64_t begin = units * split / p.splits, end = units * (split + 1) / p.splits;
  const auto start = [&](const typename Kernel::Unit& unit) {
    Kernel::start_z(p, unit, x, shared, x_aligned);
    Kernel::start_dy(p, first_column, unit, dy, shared, dy_aligned);
    cp_async_commit();
  };

  for (int i = thread_number(); i < kRows; i += Kernel::kThreads)
    shared.columns[i] = Kernel::Column::of(p, first_row + i);
  __syncthreads();

  // A thread transforms what it copied itself, into one of two buffers: one barrier per unit is enough.
  typename Kernel::Unit unit{static_cast<int>(begin / p.units_per_record),
                             static_cast<int>(begin % p.units_per_record) * Kernel::kDepth};
  start(unit);
  const int records_per_group = p.shape.N / pending_dy.output.groups;
  int buffer = 0, group = -1;
  for (int left = static_cast<int>(end - begin); left > 0; --left, buffer ^= 1) {
    cp_async_wait<0>();
    Kernel::transform_z(p, unit, pending, shared, buffer);
    if (pending_dy.offset && group != unit.record / records_per_group) {  // in all threads alike
      group = unit.record / records_per_group;
      __syncthreads();
      shared.norm.fill(pending_dy, unit.record, p.shape.N, first_column, p.shape.C_out);
      __syncthreads();
    }
    Kernel::transform_dy(p, first_column, unit, pending_dy, output_aligned, shared, buffer, bias);
    const int positions = p.L_out - unit.first;
    __syncthreads();
    if (left > 1) {
      unit = unit.next(p);
      start(unit);
    }
    const int depth = positions < Kernel::kDepth ? (positions + F::kStep - 1) / F::kStep * F::kStep : Kernel::kDepth;
    tile.add_columns(shared.in.z[buffer][0], shared.in.dy[buffer][0], depth);
  }

  __syncthreads();  // the operands' memory becomes the tile's
  tile.store(shared.out.tile[0]);
  *reinterpret_cast<float4*>(
      &shared.out.bias[thread_number() / Kernel::kDyQuads][thread_number() % Kernel::kDyQuads * 4]) = bias;
  __syncthreads();
  const int column = thread_number() % kColumns, o = first_column + column;
  if (o >= p.shape.C_out) return;
  float* piece = pieces + split * p.piece;
  for (int row = thread_number() / kColumns; row < kRows && first_row + row < p.rows; row += 2)
    piece[int64_t{first_row + row} * p.shape.C_out + o] = shared.out.tile[row][column];
  if (first_row == 0 && thread_number() < kColumns) {
    float sum = 0;
    for (int part = 0; part < Kernel::kDyStep; ++part) sum += shared.out.bias[part][column];
    piece[int64_t{p.rows} * p.shape.C_out + o] = sum;
  }
}

/// dw and dbias from the pieces. A thread has V neighbouring sums, a warp 32 · V and every kSumWarps-th split; the
/// warps' sums are added in order.
constexpr int kSumWarps = 8;

template <int V>
struct SumShared {
  Vector<V> sum[kSumWarps][32];
};

template <int V>
__global__ void __launch_bounds__(32 * kSumWarps)
    sum_splits(const float* __restrict__ pieces,  // [splits, size + bias_size]
               float* __restrict__ dw,            // [size]
               float* __restrict__ dbias,         // [bias_size] or null
               int splits, int64_t size, int64_t bias_size, bool accumulate) {
  auto& shared = *dynamic_shared<SumShared<V>>();
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int64_t at = (int64_t{blockIdx.x} * 32 + lane) * V, piece = size + bias_size;
  Vector<V> sum{};
  const auto add = [&](const Vector<V>& values) {
    for (int j = 0; j < V; ++j) sum.lane[j] += values.lane[j];
  };
  if (at < piece) {
#pragma unroll 4
    for (int split = warp; split < splits; split += kSumWarps) add(load<V>(pieces + split * piece + at));
  }
  shared.sum[warp][lane] = sum;
  __syncthreads();
  float* to = at < size ? dw + at : at < piece && dbias ? dbias + (at - size) : nullptr;
  if (warp > 0 || !to) return;
  for (int w = 1; w < kSumWarps; ++w) add(shared.sum[w][lane]);
  if (accumulate) add(load<V>(to));
  store(to, sum);
}

void launch_sum_splits(Queue& queue, const float* pieces, float* dw, float* dbias, int splits, int64_t size,
                       int64_t bias_size, GradientMode mode) {
  const bool vectors = size % 4 == 0 && bias_size % 4 == 0 && is_aligned({pieces, dw, dbias});
  const int V = vectors ? 4 : 1;
  launch(queue,
         {.grid = {ceil_div<int64_t>(size + bias_size, 32 * V)},
          .block = {32, kSumWarps},
          .shared_bytes = vectors ? sizeof(SumShared<4>) : sizeof(SumShared<1>)},
         vectors ? sum_splits<4> : sum_splits<1>, pieces, dw, dbias, splits, size, bias_size,
         mode == GradientMode::accumulate);
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
