// The window product (conv1d_window_product.cuh tells what it is) for Hopper: wgmma multiplies windows of the slab
// where they lie in shared memory, while the warps already prepare the next slab.
//
// A slab lies in shared memory slot after slot, each a line of 64 channels (warpgroup.h),
//
//   slot 0   | octet 0 | octet 1 | … | octet 7 |    16 bytes hold the channels of an octet; wgmma reads slots
//   slot 1   | octet 1 | octet 0 | … | octet 6 |    as rows, two octets of each as the depth of an instruction
//
// so the window of the next tap is the same operand, D lines further: nothing is copied or rearranged for it. A step
// multiplies 64 channels of one tap, or of two or four taps where the input has only half or a quarter as many channels
// and lines are shorter; the weights for it, eight octets of kColumns, are core matrices.
//
//   step       s             s + 1         s + 2
//   tensor     multiply s    multiply s+1  …             s + 1 is issued while s is multiplied
//   cp.async   weights s + 2 weights s + 3 …             four buffers: s − 1 and s may still be read
//   warps      at a slab's second step: start the copy of the next slab; at its last: normalise it in place
//
// The four wgmma of a step follow each other without a condition between them. With one, the compiler closes a group of
// its own after each, and waiting for the step before would be waiting for all of them (seen in the SASS as `gsb0`).
#pragma once

#include "kernels/common/octet.h"
#include "kernels/common/warpgroup.h"
#include "kernels/conv1d/conv1d_window_product.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kOctets = PackedLayout::kOctets;
constexpr int kWgmmaChunk = 8 * kOctets;  // channels
constexpr int kWgmmaDepth = 16;           // of one instruction

/// The window product, and the order of its taps: in steps of kTaps, the last of a phase or of a slab with fewer.
template <int kTaps>
struct WgmmaProduct : WindowProduct {
  /// For products whose slabs have room for the taps of a step.
  explicit WgmmaProduct(const WindowProduct& p) : WindowProduct(p) { slab_taps -= slab_taps % kTaps; }

  __host__ __device__ int steps_of(int taps) const { return (taps + kTaps - 1) / kTaps; }
  /// Of all phases before.
  __host__ __device__ int steps_before(int phase) const { return TapOrder::steps_before(phase, kTaps); }
  /// Of a chunk.
  __host__ __device__ int steps() const { return steps_before(phases()); }
};

/// Starts the copy of an octet of `channels` that remain in its row, all of them where kWhole; zeros stand for the
/// others and, where it does not exist, for all. A row of 12 leads has an octet and a half: its octets are 8-byte
/// aligned.
template <bool kWhole>
__device__ __forceinline__ void copy_octet(uint4* to, const bf16* from, bool exists, int channels) {
  if constexpr (kWhole) {
    cp_async<16>(to, from, exists && channels > 0);
  } else {
    auto* const halves = reinterpret_cast<uint2*>(to);
    cp_async<8>(halves, from, exists && channels > 0);
    cp_async<8>(halves + 1, from + 4, exists && channels > 4);
  }
}

/// A pending normalisation of one octet of channels, in registers.
struct OctetAffine {
  Octet scale, shift;
  uint32_t least;  // twice as bf16: 0 with a ReLU, −∞ without

  __device__ __forceinline__ uint4 operator()(uint4 packed) const {
    const auto pair = [&](unsigned two, int e) {
      const float low = fmaf(float_of(two << 16), scale.value[e], shift.value[e]);
      const float high = fmaf(float_of(two & 0xffff0000u), scale.value[e + 1], shift.value[e + 1]);
      return max_or_nan_bf16x2(pack_bf16(low, high), least);
    };
    return make_uint4(pair(packed.x, 0), pair(packed.y, 2), pair(packed.z, 4), pair(packed.w, 6));
  }
};

/// Octets of floats beside each other in shared memory, the lower halves of all before the upper ones: threads that
/// read neighbouring octets use all banks. kValues of them in a row, and kPad floats between the halves.
template <int kValues, int kPad = 0>
struct OctetHalves {
  static constexpr int kUpper = kValues / 2 + kPad;  // where the upper halves begin

  static __device__ __forceinline__ int place(int value) { return value % 8 / 4 * kUpper + value / 8 * 4 + value % 4; }
  static __device__ __forceinline__ Octet load(const float* row, int octet) {
    return octet_of(row + octet * 4, row + kUpper + octet * 4);
  }
};

/// A pending normalisation of a chunk of channels, in shared memory.
struct OctetNorm {
  using Halves = OctetHalves<kWgmmaChunk>;
  alignas(16) float scale[kWgmmaChunk], shift[kWgmmaChunk];

  __device__ __forceinline__ void set(int channel, float its_scale, float its_shift) {
    scale[Halves::place(channel)] = its_scale;
    shift[Halves::place(channel)] = its_shift;
  }
  __device__ __forceinline__ OctetAffine affine(int octet, bool relu) const {
    return {Halves::load(scale, octet), Halves::load(shift, octet), relu ? 0 : 0xff80ff80};
  }
};

/// kTaps: in a step.
template <bool kGradient, int kRows, int kColumns, int kTaps>
struct WgmmaWindow {
  static constexpr int kChunk = kWgmmaChunk / kTaps, kSlabOctets = kOctets / kTaps;  // channels of a slab
  static constexpr int kThreads = 2 * kRows;                                         // a warpgroup for each 64 rows
  static constexpr int kSums = kColumns / 2;                                         // of a thread
  static constexpr int kLineBytes = 16 * kSlabOctets;
  static constexpr int kSlots = kRows + kSpareSlots;
  static constexpr int kSlotsAtOnce = kThreads / kSlabOctets;
  static constexpr int kOwnSlots = ceil_div(kSlots, kSlotsAtOnce);  // of a thread
  static constexpr int kWeightBuffers = 4;
  using TileRow = OctetHalves<kColumns, 4>;  // padded: what a half-warp writes to the two halves lies in other banks
  static constexpr int kPitch = kColumns + kTilePad;
  static constexpr int kColumnOctets = kColumns / 8;
  static constexpr int kParts = kThreads / kColumnOctets;  // threads that share eight columns of the tile

  union Shared {
    struct {
      alignas(1024) uint4 slab[2][kSlots][kSlabOctets];
      uint4 weights[kWeightBuffers][kOctets][kColumns];
      OctetNorm norm[2];  // of a slab's channels, where a normalisation is pending
    } in;
    struct {
      float tile[kRows][kPitch];
      float4 partial[2][kParts][2][kColumnOctets];
      float quarters[2][kThreads];
    } out;
  };

  const WgmmaProduct<kTaps>& p;
  const WindowBlock& block;
  Shared& shared;
  int class_row;     // kGradient: of output 0 of the class at slot 0 of its phase
  const bf16* rows;  // the record's, from the thread's octet of the first chunk on

  static __device__ __forceinline__ WgmmaWindow of(const WgmmaProduct<kTaps>& p, const WindowBlock& block,
                                                   Shared& shared, const bf16* in) {
    WgmmaWindow window{p, block, shared, 0, in + int64_t{block.record} * p.in_rows * p.in_channels + octet() * 8};
    if (kGradient && block.taps > 0) window.class_row = block.first_row(p, block.phase_begin);
    return window;
  }

  /// Starts the copy of a slab as it is in memory, rows outside of the record as zeros. A thread copies and later
  /// normalises some slots, kSlotsAtOnce apart, of one octet.
  __device__ __forceinline__ void start_slab(const Slab& slab, int buffer) const {
    const auto start = [&]<bool kWhole>() {
      const int left = p.in_channels - slab.chunk * kChunk - octet() * 8;
      const bf16* from = rows + (int64_t{first_row(slab)} * p.in_channels + slab.chunk * kChunk);
      const int64_t next = int64_t{kSlotsAtOnce * step()} * p.in_channels;
      uint4* const octets = own_octets(buffer);
      for_each_slot(slab, [&](int slot, int row) {
        copy_octet<kWhole>(octets + slot * kSlabOctets, from, is_row(row), left);
        from += next;
      });
    };
    if (p.in_channels % 8 == 0)  // in all threads alike
      start.template operator()<true>();
    else
      start.template operator()<false>();
  }

  /// What a pending normalisation needs of the slab's channels; a barrier must follow.
  __device__ __forceinline__ void load_norm(const Slab& slab, int buffer, const PendingAffine& pending) const {
    if (!pending.scale || thread_number() >= kChunk) return;
    const int c = slab.chunk * kChunk + thread_number();
    const int64_t at = int64_t{block.group(p)} * p.in_channels + c;
    const bool exists = c < p.in_channels;
    shared.in.norm[buffer].set(thread_number(), exists ? pending.scale[at] : 0, exists ? pending.shift[at] : 0);
  }

  /// Normalises what the thread copied, where that is pending. Padding stays zero. The copies must be there.
  __device__ __forceinline__ void transform_slab(const Slab& slab, int buffer, const PendingAffine& pending) const {
    if (!pending.scale) return;
    const OctetAffine affine = shared.in.norm[buffer].affine(octet(), pending.relu);
    uint4* const octets = own_octets(buffer);
    for_each_slot(slab, [&](int slot, int row) {
      if (is_row(row)) octets[slot * kSlabOctets] = affine(octets[slot * kSlabOctets]);
    });
  }

  /// Starts the copy of one step's weights, which pack_octets laid out as they lie in shared memory.
  __device__ __forceinline__ void start_weights(int buffer, const uint4* weights) const {
    static_assert(kOctets * kColumns % kThreads == 0);
    uint4* const to = &shared.in.weights[buffer][0][0] + thread_number();
    weights += thread_number();
#pragma unroll
    for (int i = 0; i < kOctets * kColumns; i += kThreads) cp_async<16>(to + i, weights + i, true);
  }

  /// Starts the products of one step, for the warpgroup's 64 rows of the tile. Weights of taps that a step lacks are
  /// zeros, and are multiplied with a tap that it has.
  __device__ __forceinline__ void multiply(const Slab& slab, int buffer, int first_tap, int weights_buffer,
                                           int warpgroup, float (&sum)[kSums]) const {
    const auto slots = WarpgroupOperand::of_lines<kLineBytes>(shared.in.slab[buffer][warpgroup * 64]);
    const auto weights = WarpgroupOperand::of(shared.in.weights[weights_buffer][0], kColumns * 16, 8 * 16);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < kTaps; ++i) {
      const int tap = first_tap + i < slab.taps ? first_tap + i : slab.taps - 1;
#pragma unroll
      for (int octet = 0; octet < kSlabOctets; octet += kWgmmaDepth / 8)
        wgmma<Major::depth, Major::depth>(sum, slots + (tap * p.tap_slots * kSlabOctets + octet) * 16,
                                          weights + (i * kSlabOctets + octet) * kColumns * 16, true);
    }
    wgmma_commit();
  }

 private:
  static __device__ __forceinline__ int octet() {
    return thread_number() % kSlabOctets;
  }
  /// The address of the thread's octet in its first slot, less the slots before that. Its slots are a multiple of 8
  /// apart, so the octet has the same place in all of them.
  __device__ __forceinline__ uint4* own_octets(int buffer) const {
    static_assert(kSlotsAtOnce % 8 == 0 && kSlots * kLineBytes % 1024 == 0);
    return &shared.in.slab[buffer][0][swizzled<kLineBytes>(thread_number() / kSlabOctets, octet())];
  }
  __device__ __forceinline__ bool is_row(int row) const {
    return static_cast<unsigned>(row) < static_cast<unsigned>(p.in_rows);
  }
  __device__ __forceinline__ int step() const {
    return kGradient ? 1 : p.stride;
  }
  /// Of the thread's first slot.
  __device__ __forceinline__ int first_row(const Slab& slab) const {
    const int slot = block.first_output + slab.first_tap * p.tap_slots + thread_number() / kSlabOctets;
    return (kGradient ? class_row : slab.phase * p.dilation - p.padding) + slot * step();
  }
  /// body(slot, row, which may be outside of the record) for the thread's slots, in order.
  template <class Body>
  __device__ __forceinline__ void for_each_slot(const Slab& slab, const Body& body) const {
    const int slots = kRows + (slab.taps - 1) * p.tap_slots, first = thread_number() / kSlabOctets;
    int row = first_row(slab);
#pragma unroll
    for (int i = 0; i < kOwnSlots; ++i, row += kSlotsAtOnce * step())
      if (first + i * kSlotsAtOnce < slots) body(first + i * kSlotsAtOnce, row);
  }
};

/// A thread's eight columns of the tile of sums, and every kParts-th row: writes them, and leaves what is wanted of
/// each column for the record: the moments of the outputs, or the sums of the gradient.
template <class Window, int kRows, int kColumns>
struct WgmmaOutputs {
  static constexpr int kParts = Window::kParts, kColumnOctets = Window::kColumnOctets;
  static constexpr int kOwnRows = kRows / kParts;

  const WindowProduct& p;
  const WindowBlock& block;
  typename Window::Shared& shared;
  bf16* out;
  bool accumulate;

  __device__ __forceinline__ int octet() const { return thread_number() % kColumnOctets; }
  __device__ __forceinline__ int first() const { return block.panel * kColumns + octet() * 8; }

  /// body(which of the thread's rows, row of the tile, index of its first value in `out`) for the thread's rows.
  template <int kUnrolled, class Body>
  __device__ __forceinline__ void for_each_row(const Body& body) const {
    const int outputs = first() < p.out_channels ? block.outputs : 0, part = thread_number() / kColumnOctets;
    const int64_t step = int64_t{p.classes} * p.out_channels;
    int64_t at = (int64_t{block.record} * p.out_rows + block.position_class) * p.out_channels + first() +
                 (block.first_output + part) * step;
#pragma unroll kUnrolled
    for (int i = 0; i < kOwnRows; ++i, at += kParts * step)
      if (part + i * kParts < outputs) body(i, part + i * kParts, at);
  }
  __device__ __forceinline__ Octet tile(int j) const {
    return Window::TileRow::load(shared.out.tile[j], octet());
  }

  /// The sums over all rows of two numbers of each column, for the first kColumns threads: of column sum_column().
  struct Two {
    float a, b;
  };
  __device__ __forceinline__ Two column_sums(const Octet& a, const Octet& b) const {
    auto& out_shared = shared.out;
    const int part = thread_number() / kColumnOctets;
    const auto put = [&](int which, const Octet& o) {
      const float(&v)[8] = o.value;
      out_shared.partial[which][part][0][octet()] = make_float4(v[0], v[1], v[2], v[3]);
      out_shared.partial[which][part][1][octet()] = make_float4(v[4], v[5], v[6], v[7]);
    };
    put(0, a);
    put(1, b);
    __syncthreads();
    // All threads share the parts of a column; the first kColumns then add up what they have.
    constexpr int kShares = Window::kThreads / kColumns;
    const int share = thread_number() / kColumns, column = thread_number() % kColumns;
    Two sum{0, 0};
#pragma unroll
    for (int i = 0; i < kParts / kShares; ++i) {
      sum.a += reinterpret_cast<const float*>(out_shared.partial[0][share + i * kShares])[column];
      sum.b += reinterpret_cast<const float*>(out_shared.partial[1][share + i * kShares])[column];
    }
    if constexpr (kShares == 1) return sum;
    out_shared.quarters[0][thread_number()] = sum.a;
    out_shared.quarters[1][thread_number()] = sum.b;
    __syncthreads();
    if (share > 0) return sum;
#pragma unroll
    for (int i = 1; i < kShares; ++i) {
      sum.a += out_shared.quarters[0][column + i * kColumns];
      sum.b += out_shared.quarters[1][column + i * kColumns];
    }
    return sum;
  }
  /// partial has the lower halves of all octets before the upper ones, so that threads of a warp use all banks.
  __device__ __forceinline__ int sum_column() const {
    const int i = thread_number();
    return i % (kColumns / 2) / 4 * 8 + i / (kColumns / 2) * 4 + i % 4;
  }

  __device__ __forceinline__ void write(const float* bias, float* tile_mean, float* tile_m2) const {
    // Shifted by the tile's first output, of which Σ (v − shift)² − (Σ (v − shift))² / n loses next to nothing.
    Octet added{}, sum{}, squares{};
    if (bias && first() < p.out_channels)
#pragma unroll
      for (int e = 0; e < 8; ++e) added.value[e] = bias[first() + e];
    const Octet shift = tile(0);
    for_each_row<2>([&](int, int j, int64_t at) {
      Octet value = tile(j);
      if (tile_mean)
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          const float deviation = value.value[e] - shift.value[e];
          sum.value[e] += deviation;
          squares.value[e] = fmaf(deviation, deviation, squares.value[e]);
        }
#pragma unroll
      for (int e = 0; e < 8; ++e) value.value[e] += added.value[e];
      store(value, at);
    });
    if (!tile_mean) return;  // all threads alike
    const Two total = column_sums(sum, squares);
    const int column = sum_column(), q = block.panel * kColumns + column;
    if (thread_number() >= kColumns || q >= p.out_channels || block.outputs <= 0) return;
    const float mean = total.a / static_cast<float>(block.outputs);
    const int64_t to = (int64_t{block.record} * p.row_tiles + block.first_output / kRows) * p.out_channels + q;
    tile_mean[to] = mean + shared.out.tile[0][Window::TileRow::place(column)] + (bias ? bias[q] : 0);
    tile_m2[to] = max_or_nan(total.b - total.a * mean, 0);
  }

  /// What the gradient's sums need of the thread's rows. Asked for before the tile is complete: these loads take long.
  struct OwnRows {
    uint4 y[kOwnRows];
  };
  __device__ __forceinline__ OwnRows own_rows(const RecordGradientSums& sums) const {
    OwnRows rows{};
    if (sums.g)
      for_each_row<kOwnRows>(
          [&](int i, int, int64_t at) { rows.y[i] = octet_at(sums.output.y.template as<bf16>() + at); });
    return rows;
  }

  __device__ __forceinline__ void write_gradient(const RecordGradientSums& sums, const OwnRows& rows) const {
    if (!sums.g) return for_each_row<1>([&](int, int j, int64_t at) { store(tile(j), at); });
    const NormalizedOutput& output = sums.output;
    Octet scale{}, shift{}, mean{}, sum_g{}, sum_gd{};
    if (first() < p.out_channels) {
      const int64_t channel = int64_t{block.group(p)} * p.out_channels + first();
      scale = load_octet(output.scale + channel);
      shift = load_octet(output.shift + channel);
      mean = load_octet(output.mean + channel);
    }
    for_each_row<kOwnRows>([&](int i, int j, int64_t at) {
      const Octet y = unpack(rows.y[i]), dz = store(tile(j), at);
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        const bool off = output.relu && fmaf(y.value[e], scale.value[e], shift.value[e]) <= 0;
        const float g = off ? 0.0f : dz.value[e];
        sum_g.value[e] += g;
        sum_gd.value[e] = fmaf(g, y.value[e] - mean.value[e], sum_gd.value[e]);
      }
    });
    const Two total = column_sums(sum_g, sum_gd);
    const int q = block.panel * kColumns + sum_column();
    if (thread_number() >= kColumns || q >= p.out_channels) return;
    const int64_t to =
        (int64_t{block.record} * p.classes * p.row_tiles + block.template tile<kRows>(p)) * p.out_channels + q;
    sums.g[to] = total.a;
    sums.gd[to] = total.b;
  }

 private:
  /// Stores a row's octet, added to what is there where gradients accumulate; returns it before it is rounded.
  __device__ __forceinline__ Octet store(Octet value, int64_t at) const {
    uint4* const to = reinterpret_cast<uint4*>(out + at);
    if (accumulate) {
      const Octet before = unpack(*to);
#pragma unroll
      for (int e = 0; e < 8; ++e) value.value[e] = before.value[e] + value.value[e];
    }
    *to = pack(value);
    return value;
  }
};

/// Blocks that a multiprocessor shall hold: registers limit them. For a target that never launches the kernels, one.
constexpr int wgmma_window_blocks([[maybe_unused]] int rows, [[maybe_unused]] int columns) {
#if defined(__CUDA_ARCH__) && !defined(__CUDA_ARCH_FEAT_SM90_ALL)
  return 1;
#else
  return (columns == 64 ? 3 : 2) * 128 / rows;
#endif
}

template <bool kGradient, int kRows, int kColumns, int kTaps>
__global__ void __launch_bounds__(2 * kRows, wgmma_window_blocks(kRows, kColumns))
    window_product_wgmma(WgmmaProduct<kTaps> p,
                         const bf16* __restrict__ in,       // [N, in_rows, in_channels]
                         PendingAffine pending,             // of `in`; forward
                         const uint4* __restrict__ packed,  // [panels, chunks, steps, kOctets, kColumns]
                         const float* __restrict__ bias,    // [out_channels] or null
                         bf16* __restrict__ out,            // [N, out_rows, out_channels]
                         bool accumulate,
                         float* __restrict__ tile_mean,   // [N, row_tiles, out_channels], or null
                         float* __restrict__ tile_m2,     // [N, row_tiles, out_channels]
                         RecordGradientSums tile_sums) {  // [N, classes · row_tiles, out_channels] each, or null
  using Window = WgmmaWindow<kGradient, kRows, kColumns, kTaps>;
  auto& shared = *dynamic_shared<typename Window::Shared>();
  const WindowBlock block = WindowBlock::of<kRows>(p);
  const Window window = Window::of(p, block, shared, in);
  float sum[Window::kSums] = {};

  // The weights of a block's steps follow each other in memory, chunk by chunk.
  constexpr int kStepSize = kOctets * kColumns;
  const int steps_before = p.steps_before(block.phase_begin);
  const int chunk_steps = p.steps_before(block.phase_end) - steps_before;
  const int steps = block.outputs > 0 ? p.chunks * chunk_steps : 0;
  int next_weights = (block.panel * p.chunks * p.steps() + steps_before) * kStepSize, next_in_chunk = 0;
  const auto start_weights = [&](int step) {
    if (step < steps) {
      window.start_weights(step % Window::kWeightBuffers, packed + next_weights);
      next_weights += kStepSize;
      if (++next_in_chunk == chunk_steps) next_in_chunk = 0, next_weights += (p.steps() - chunk_steps) * kStepSize;
    }
    cp_async_commit();
  };

  // The slab of the first step is made before. A step closes two groups of copies: the weights of two steps later, and
  // what it starts of the next slab, mostly nothing.
  Slab slab = Slab::first(p, block), next = slab;
  int buffer = 0, slab_steps = p.steps_of(slab.taps);
  if (steps > 0) {
    window.start_slab(slab, buffer);
    cp_async_commit();
    start_weights(0);
    cp_async_commit();
    start_weights(1);
    cp_async_commit();
    window.load_norm(slab, buffer, pending);
    cp_async_wait<4>();
    __syncthreads();
    window.transform_slab(slab, buffer, pending);
    next = slab.next(p, block);
  }
  const int warpgroup = __shfl_sync(kWholeWarp, thread_number() / 128, 0);  // the same in a warp, as operands must be
#pragma unroll 1
  for (int step = 0, in_slab = 0; step < steps; ++step, ++in_slab) {
    if (in_slab == slab_steps) {
      slab = next;
      slab_steps = p.steps_of(slab.taps);
      next = slab.next(p, block);
      buffer ^= 1;
      in_slab = 0;
    }
    // Behind the barrier, the weights of step − 2 are no longer read, nor is the other slab at the step that starts the
    // copy of the next one there.
    const int starting_step = slab_steps > 2 ? 1 : 0;
    if (in_slab == 0 && starting_step == 0)
      wgmma_wait<0>();
    else
      wgmma_wait<1>();
    cp_async_wait<3>();  // for this step's weights: what the last step started and the slab before it may come later
    fence_for_wgmma();
    __syncthreads();
    window.multiply(slab, buffer, in_slab * kTaps, step % Window::kWeightBuffers, warpgroup, sum);

    const bool more = next.chunk < p.chunks;
    start_weights(step + 2);
    if (in_slab == starting_step && more) {
      window.start_slab(next, buffer ^ 1);
      window.load_norm(next, buffer ^ 1, pending);
      if (slab_steps == 1) __syncthreads();  // otherwise the next step's comes before the transformation
    }
    cp_async_commit();
    if (in_slab == slab_steps - 1 && more) {
      if (slab_steps == 1)
        cp_async_wait<0>();
      else
        cp_async_wait<2>();  // all but this step's copies
      window.transform_slab(next, buffer ^ 1, pending);
    }
  }
  const WgmmaOutputs<Window, kRows, kColumns> outputs{p, block, shared, out, accumulate};
  const auto rows = kGradient ? outputs.own_rows(tile_sums) : decltype(outputs.own_rows(tile_sums)){};
  wgmma_wait<0>();
  sums_are_there(sum);
  __syncthreads();  // the operands' memory becomes the tile's

  const int row = thread_number() / 32 * 16 + lane_number() / 4, column = Window::TileRow::place(lane_number() % 4 * 2);
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      *reinterpret_cast<float2*>(&shared.out.tile[row + 8 * half][column + 4 * n]) =
          make_float2(sum[4 * n + 2 * half], sum[4 * n + 2 * half + 1]);
  __syncthreads();
  if constexpr (kGradient)
    outputs.write_gradient(tile_sums, rows);
  else
    outputs.write(bias, tile_mean, tile_m2);
}

/// A launch of pack_octets: its orders, and the first block of each and of whatever would follow.
struct PackOrders {
  static constexpr int kMost = 48;  // arguments of a kernel may take 4 KB

  int count;
  PackOrder order[kMost];
  int first_block[kMost + 1];
};
static_assert(sizeof(PackOrders) <= 4000);

constexpr int kOctetThreads = 128, kStepParts = 4;

/// The weights as the blocks of window_product_wgmma read them: rounded, transposed for the input gradient, padded with
/// zeros to whole steps, chunks and panels, in the order of the steps. A block packs two octets of a step; a thread has
/// a column.
__global__ void __launch_bounds__(kOctetThreads) pack_octets(PackOrders orders) {
  const int block = static_cast<int>(blockIdx.x);
  int which = 0;
  while (block >= orders.first_block[which + 1]) ++which;
  const PackOrder& order = orders.order[which];
  const PackedLayout& layout = order.layout;
  const TapOrder& taps = layout.taps;

  const int step_of_all = (block - orders.first_block[which]) / kStepParts;  // of all chunks and panels
  const int step = step_of_all % layout.steps(), chunk = step_of_all / layout.steps() % layout.chunks();
  const int panel = step_of_all / layout.steps() / layout.chunks();
  const int first_octet = block % kStepParts * (kOctets / kStepParts);
  int phase = 0;
  while (step >= taps.steps_before(phase + 1, layout.step_taps)) ++phase;
  const int first_tap = (step - taps.steps_before(phase, layout.step_taps)) * layout.step_taps;

  const int column = thread_number() % layout.columns, q = panel * layout.columns + column;
  auto* const packed =
      reinterpret_cast<uint4*>(order.packed) + int64_t{step_of_all} * kOctets * layout.columns + column;
  for (int octet = first_octet + thread_number() / layout.columns; octet < first_octet + kOctets / kStepParts;
       octet += kOctetThreads / layout.columns) {
    const int in_step = octet * layout.step_taps / kOctets, i = first_tap + in_step;
    const int first = chunk * layout.chunk() + octet * 8 - in_step * layout.chunk();
    const bool exists = i < taps.taps_of(phase) && q < layout.out_channels;
    const int64_t tap = exists ? int64_t{taps.tap(phase, i)} * layout.in_channels * layout.out_channels : 0;
    Octet weights{};
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const int c = first + e;
      if (exists && c < layout.in_channels)
        weights.value[e] =
            order.w[tap + (taps.gradient ? int64_t{q} * layout.in_channels + c : int64_t{c} * layout.out_channels + q)];
    }
    packed[octet * layout.columns] = pack(weights);
  }
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
