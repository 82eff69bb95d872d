// How a block of threads walks over [rows, C], channels last, with any number of channels. k rows of C channels are one
// run of k·C lanes, as long as a block is wide; a thread takes V neighbouring lanes of every run, so it meets the same
// V channels all the time and keeps what belongs to them in registers. Neighbouring threads read neighbouring
// addresses, and warps are full even when C is 1, 3 or 12. (kernels/common/lanes.h does the same on the cpu.)
//
//   C = 3, V = 4, runs of 12 lanes, a thread takes four:
//
//               ┌ thread 0 ┐ ┌ thread 1 ┐ ┌ thread 2 ┐
//     channel   0  1  2  0   1  2  0  1   2  0  1  2      run 0: rows 0 … 3
//               0  1  2  0   1  2  0  1   2  0  1  2      run 1: rows 4 … 7
//
// The rows come in groups, and each group is cut into pieces of a few runs; one block works on one piece. When a row is
// longer than a block is wide, a run is one row and several blocks, its parts, share it. The cut depends on the shape
// and the alignment alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <numeric>

#include "kernels/common/divider.h"
#include "kernels/common/intrinsics.h"
#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {

inline constexpr int kRunThreads = 256;
inline constexpr int kRunLanes = 4 * kRunThreads;  // of a block, at most

struct ChannelRuns {
  int64_t values;  // of a group: rows · C
  int64_t groups;
  int C;
  int steps;           // runs of a piece
  int width = 0;       // lanes of a run: a multiple of C and of V
  int part = 0;        // of them for one block
  int64_t pieces = 0;  // of a group
  Divider by_channels{}, by_width{}, by_pieces{};

  Extent grid() const { return {groups * pieces, ceil_div(width, part)}; }
  Extent block(int V) const { return {ceil_div(part / V, 32) * 32}; }
};

/// Runs for threads that take V values at a time, and `values_per_thread` in a piece.
inline ChannelRuns channel_runs(int64_t groups, int64_t rows, int C, int V, int values_per_thread) {
  const int unit = std::lcm(C, V), limit = kRunThreads * V;
  ChannelRuns r{.values = rows * C, .groups = groups, .C = C, .steps = values_per_thread / V};
  if (unit <= limit)
    r.width = r.part = static_cast<int>(std::min<int64_t>(limit / unit, ceil_div<int64_t>(r.values, unit)) * unit);
  else  // then V divides C
    r.width = C, r.part = ceil_div(C / V, ceil_div(C, limit)) * V;
  r.pieces = ceil_div(r.values, int64_t{r.width} * r.steps);
  r.by_channels = Divider(C), r.by_width = Divider(r.width), r.by_pieces = Divider(r.pieces);
  return r;
}

inline bool is_aligned(std::initializer_list<const void*> pointers) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; });
}

/// Whether threads can take four values at a time: every group, and every row that is a run by itself, starts at a
/// multiple of four values.
inline bool fits_vectors(int64_t rows, int C, std::initializer_list<const void*> pointers) {
  return rows * C % 4 == 0 && (C % 4 == 0 || std::lcm(C, 4) <= kRunLanes) && is_aligned(pointers);
}

/// V neighbouring values, read or written by one instruction.
template <int V, class T = float>
struct alignas(V * sizeof(T)) Vector {
  T lane[V];
};
template <int V, class T>
__device__ __forceinline__ Vector<V, T> load(const T* from) {
  return *reinterpret_cast<const Vector<V, T>*>(from);
}
template <int V, class T>
__device__ __forceinline__ void store(T* to, const Vector<V, T>& values) {
  *reinterpret_cast<Vector<V, T>*>(to) = values;
}

/// The same of a series, as floats in registers.
template <int V>
__device__ __forceinline__ Vector<V> load_floats(const float* from) {
  return load<V>(from);
}
template <int V>
__device__ __forceinline__ Vector<V> load_floats(const bf16* from) {
  const Vector<V, bf16> stored = load<V>(from);
  Vector<V> values;
  for (int j = 0; j < V; ++j) values.lane[j] = to_float(stored.lane[j]);
  return values;
}
template <int V>
__device__ __forceinline__ void store_floats(float* to, const Vector<V>& values) {
  store(to, values);
}
template <int V>
__device__ __forceinline__ void store_floats(bf16* to, const Vector<V>& values) {
  if constexpr (V % 2 == 0) {
    Vector<V / 2, uint32_t> pairs;
    for (int j = 0; j < V; j += 2) pairs.lane[j / 2] = pack_bf16(values.lane[j], values.lane[j + 1]);
    *reinterpret_cast<Vector<V / 2, uint32_t>*>(to) = pairs;
  } else {
    for (int j = 0; j < V; ++j) to[j] = round_to_bf16(values.lane[j]);
  }
}

/// Where a thread stands.
template <int V>
struct RunPlace {
  int64_t piece;  // of all groups
  int64_t group;
  int64_t row;        // in the group, of the thread's first value
  int rows;           // of the piece
  int first_channel;  // of the block
  int lane;           // of the block: the thread's first
  int steps;          // that the thread takes; 0 when it has no lanes
  int C, width;
  Divider by_channels;
  int64_t offset;  // in [groups, rows, C], of the thread's first value

  /// `block`: which piece; the part of the run is blockIdx.y.
  __device__ __forceinline__ RunPlace(const ChannelRuns& r, unsigned block)
      : piece(block),
        group(r.by_pieces.quotient(block)),
        first_channel(static_cast<int>(blockIdx.y) * r.part),
        lane(V * static_cast<int>(threadIdx.x)),
        C(r.C),
        width(r.width),
        by_channels(r.by_channels) {
    const int piece_size = width * r.steps;
    const int64_t piece_in_group = piece - group * r.pieces, start = piece_in_group * piece_size;
    const int size = r.values - start < piece_size ? static_cast<int>(r.values - start) : piece_size;
    const int left = lane < r.part ? size - first_channel - lane : 0;
    const auto rows_of = [&](int values) {
      return static_cast<int>(by_channels.quotient(static_cast<unsigned>(values)));
    };
    rows = rows_of(size);
    row = piece_in_group * rows_of(piece_size) + rows_of(lane);
    const bool has_lanes = first_channel + lane < width && left > 0;
    steps = has_lanes ? static_cast<int>(r.by_width.quotient(static_cast<unsigned>(left + width - 1))) : 0;
    offset = group * r.values + start + first_channel + lane;
  }

  /// Position of the thread's first value of a step. Added up before it meets a pointer: so nvcc keeps a store whole.
  __device__ __forceinline__ int64_t at(int step) const { return offset + step * width; }
  /// Rows between two steps.
  __device__ __forceinline__ int rows_per_step() const { return width / C; }
  /// Lane j of the thread belongs to channel first_channel + channel_in_block(j).
  __device__ __forceinline__ int channel_in_block(int j) const {
    return static_cast<int>(by_channels.rest(static_cast<unsigned>(lane + j)));
  }
  __device__ __forceinline__ int channel(int j) const { return first_channel + channel_in_block(j); }
};

/// Steps that a kernel which also stores loads before it uses the first of them: a load behind a store to memory that
/// might be the same waits for it.
template <int V>
inline constexpr int kStepsAtOnce = V == 1 ? 8 : 4;

/// The values of the thread's steps first … first + N − 1; 0 after its last one.
template <int V, int N, class S>
__device__ __forceinline__ void load_steps(Vector<V> (&values)[N], const RunPlace<V>& here, int first, const S* from) {
  for (int k = 0; k < N; ++k) {
    values[k] = {};
    if (first + k < here.steps) values[k] = load_floats<V>(from + here.at(first + k));
  }
}

/// What belongs to the channels of the thread's lanes, from `values` [C]: one access where that is possible.
template <int V>
__device__ __forceinline__ Vector<V> of_channels(const RunPlace<V>& here, const float* values) {
  Vector<V> result{};
  if (here.steps == 0) return result;
  const float* const first = values + here.channel(0);
  if (here.C % V == 0 && reinterpret_cast<uintptr_t>(first) % sizeof(result) == 0) return load<V>(first);
  for (int j = 0; j < V; ++j) result.lane[j] = values[here.channel(j)];
  return result;
}

/// How many channels the block has sums of.
__device__ __forceinline__ int channels_of_block(const ChannelRuns& r) {
  const int rest = r.C - static_cast<int>(blockIdx.y) * r.part;
  return rest < r.part ? rest : r.part;
}

/// Adds up the rows of a run: lanes[c] becomes the sum of the lanes of channel c, by halves, which is a fixed order.
/// Two arrays at a time, for they share the barriers. All threads of the block call it, after each has written its
/// lanes (0 where it has no values); a barrier begins and ends it.
__device__ __forceinline__ void add_rows_of_run(const ChannelRuns& r, float* lanes, float* other) {
  __syncthreads();
  if (r.width > r.part) return;  // the run is one row
  for (int rows = r.width / r.C; rows > 1;) {
    const int half = (rows + 1) / 2;
    for (int i = static_cast<int>(threadIdx.x); i < (rows - half) * r.C; i += static_cast<int>(blockDim.x)) {
      lanes[i] += lanes[i + half * r.C];
      if (other) other[i] += other[i + half * r.C];
    }
    __syncthreads();
    rows = half;
  }
}

/// Σ g and Σ g · (y − mean) of each lane, and then of a piece.
struct RunSums {
  float g[kRunLanes], gd[kRunLanes];
};

/// Adds up what the block's threads have of their lanes, and stores the sums of its piece in those of all pieces,
/// piece_g and piece_gd [pieces, C]. All threads of the block call it.
template <int V>
__device__ __forceinline__ void store_piece_sums(const ChannelRuns& r, const RunPlace<V>& here, const Vector<V>& sum_g,
                                                 const Vector<V>& sum_gd, RunSums& shared, float* piece_g,
                                                 float* piece_gd) {
  for (int j = 0; j < V; ++j) {
    shared.g[here.lane + j] = sum_g.lane[j];
    shared.gd[here.lane + j] = sum_gd.lane[j];
  }
  add_rows_of_run(r, shared.g, shared.gd);
  const int count = channels_of_block(r);
  for (int c = static_cast<int>(threadIdx.x); c < count; c += static_cast<int>(blockDim.x)) {
    const int64_t to = here.piece * r.C + here.first_channel + c;
    piece_g[to] = shared.g[c];
    piece_gd[to] = shared.gd[c];
  }
}

}  // namespace systole::kernels::SYSTOLE_TARGET
