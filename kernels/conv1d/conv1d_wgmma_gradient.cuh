// The weight gradient for Hopper, by wgmma: dw[k, c, o] = Σ_n Σ_l z[n, l·s + k·d − p, c] · dy[n, l, o].
//
// A block has 64 channels c, kColumns channels o, up to eight taps, and a split: some of the units of kDepth positions
// l that records are cut into. Both operands lie in shared memory in lines of 64 channels, as the slab of
// conv1d_wgmma.cuh does: what was a row of the product there is its depth here, and wgmma takes either. So the window
// of each tap is again the same slab, some lines further, and a unit's z and dy are brought once for all taps:
//
//   z    slot 0 | slot 1 | …          tap i of a phase ↔ slots from i·D on
//   dy   l = 0  | l = 1  | …
//
// An instruction has 64 rows. Where there are at most 32 or 16 channels c, they are those of two or four taps of a
// phase, so that a block has up to 16 taps: lines of z are as much shorter, and the next tap's rows lie D lines
// further, which is where the operand looks for its next rows (group_bytes of WarpgroupOperand).
//
// Four warpgroups share the taps. While they multiply unit u, the copies of units u + 1 and u + 2 arrive. The halves of
// the block take turns: one copies and normalises the even units, the other the odd ones (measured: 8 % faster than all
// threads for each, docs/gpu_speed.md).
#pragma once

#include "kernels/conv1d/conv1d_weight_gradient.cuh"
#include "kernels/conv1d/conv1d_wgmma.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

struct WgmmaGradient {
  Conv1dShape shape;
  int L_out;
  int period, tap_slots;  // taps k, k + period, … form a phase; from one to the next, windows move by tap_slots
  int phase_slots;        // of the first phase; a multiple of 8 where a second one follows it
  int slots;              // of all phases
  int chunks, panels;     // of kTapRows channels c, and of kColumns channels o
  int products;           // of up to kProductTaps taps of a phase, which an instruction has together
  int product_groups;     // of as many as a block has sums for
  int units_per_record, splits;
  int64_t piece;  // floats of a split's sums: dw, then dbias
};

/// kProducts: of a warpgroup; kProductTaps: of each, 1, 2 or 4.
template <int kProducts, int kProductTaps, int kColumns>
struct WgmmaGradientKernel {
  static constexpr int kWarpgroups = 4, kThreads = 128 * kWarpgroups;
  static constexpr int kCopyThreads = kThreads / 2;  // of a unit
  static constexpr int kDepth = 128, kBuffers = 3;
  static constexpr int kMostSlots = 280;                       // two phases, of a stride of 2, with some taps
  static constexpr int kTapRows = kWgmmaChunk / kProductTaps;  // of an instruction: channels c
  static constexpr int kLineOctets = kTapRows / 8, kLineBytes = 16 * kLineOctets, kDyLineBytes = 16 * kOctets;
  static constexpr int kDyOctets = kColumns / 8, kDyGroups = kDyOctets / kOctets;  // a line has the octets of a group

  static_assert(kMostSlots % 8 == 0 && kDepth * kDyLineBytes % 1024 == 0);  // places in a line repeat after 8 lines
  struct Shared {
    alignas(1024) uint4 dy[kBuffers][kDyGroups][kDepth][kOctets];
    uint4 z[kBuffers][kMostSlots][kLineOctets];
    OctetNorm norm;                              // of the block's channels of z, where a normalisation is pending
    float bias[kThreads / kDyOctets][kColumns];  // a thread's sums of dy; no registers are left for them
  };

  struct Unit {
    int record, first;

    __device__ __forceinline__ Unit next(const WgmmaGradient& p) const {
      return first + kDepth < p.L_out ? Unit{record, first + kDepth} : Unit{record + 1, 0};
    }
  };

  const WgmmaGradient& p;
  Shared& shared;
  int first_c, first_o;

  /// begin(row of the first slot), then body(slot, whether the record has it), for the thread's slots of each phase,
  /// all of one octet and a multiple of 8 apart; rows are kSlotStep · stride apart.
  static constexpr int kSlotStep = kCopyThreads / kLineOctets, kOwnSlots = ceil_div(kMostSlots, kSlotStep);
  static_assert(kSlotStep % 8 == 0);
  template <class Begin, class Body>
  __device__ __forceinline__ void for_each_slot(const Unit& unit, const Begin& begin, const Body& body) const {
    const int stride = p.shape.stride, first = copy_thread() / kLineOctets;
#pragma unroll 1
    for (int phase = 0; phase < (p.slots > p.phase_slots ? 2 : 1); ++phase) {
      const int slot = phase * p.phase_slots + first, end = phase == 0 ? p.phase_slots : p.slots;
      int row = (unit.first + first) * stride + phase * p.shape.dilation - p.shape.padding;
      begin(row);
#pragma unroll
      for (int i = 0; i < kOwnSlots; ++i, row += kSlotStep * stride) {
        if (slot + i * kSlotStep >= end) break;
        body(slot + i * kSlotStep, static_cast<unsigned>(row) < static_cast<unsigned>(p.shape.L));
      }
    }
  }

  __device__ __forceinline__ void start(const Unit& unit, int buffer, const bf16* x, const bf16* dy) const {
    const auto start_z = [&]<bool kWhole>() {
      const int octet = copy_thread() % kLineOctets, c = first_c + octet * 8, left = p.shape.C_in - c;
      const bf16 *record = x + int64_t{unit.record} * p.shape.L * p.shape.C_in + c, *from = record;
      const int64_t next = int64_t{kSlotStep * p.shape.stride} * p.shape.C_in;
      uint4* const octets = own_octets(buffer);
      for_each_slot(
          unit, [&](int row) { from = record + int64_t{row} * p.shape.C_in; },
          [&](int slot, bool exists) {
            copy_octet<kWhole>(octets + slot * kLineOctets, from, exists, left);
            from += next;
          });
    };
    if (p.shape.C_in % 8 == 0)  // in all threads alike
      start_z.template operator()<true>();
    else
      start_z.template operator()<false>();

    constexpr int kStep = kCopyThreads / kDyOctets;
    static_assert(kStep % 8 == 0);
    const int octet = copy_thread() % kDyOctets, first = copy_thread() / kDyOctets, o = first_o + octet * 8;
    const int left = o < p.shape.C_out ? p.L_out - unit.first - first : 0;
    const bf16* from = dy + (int64_t{unit.record} * p.L_out + unit.first + first) * p.shape.C_out + o;
    uint4* const to = dy_octet(buffer, octet, first);
#pragma unroll
    for (int l = 0; l < kDepth; l += kStep, from += int64_t{kStep} * p.shape.C_out)
      cp_async<16>(to + l * kOctets, from, l < left);
  }
  /// The address of the thread's octet of z in its first slot, less the slots before that: slots from there on are
  /// found by their number.
  __device__ __forceinline__ uint4* own_octets(int buffer) const {
    return &shared.z[buffer][0][swizzled<kLineBytes>(copy_thread() / kLineOctets, copy_thread() % kLineOctets)];
  }
  static __device__ __forceinline__ int copy_thread() {
    return thread_number() % kCopyThreads;
  }
  __device__ __forceinline__ uint4* dy_octet(int buffer, int octet, int l) const {
    return &shared.dy[buffer][octet / kOctets][l][swizzled<kDyLineBytes>(l, octet % kOctets)];
  }

  /// Normalises what the thread copied, where that is pending; padding stays zero. Adds dy to the bias gradient.
  __device__ __forceinline__ void transform(const Unit& unit, int buffer, const PendingAffine& pending,
                                            bool with_bias) const {
    if (pending.scale) {
      const OctetAffine affine = shared.norm.affine(copy_thread() % kLineOctets, pending.relu);
      uint4* const octets = own_octets(buffer);
      for_each_slot(
          unit, [](int) {},
          [&](int slot, bool exists) {
            if (exists) octets[slot * kLineOctets] = affine(octets[slot * kLineOctets]);
          });
    }
    if (!with_bias) return;
    const int octet = copy_thread() % kDyOctets;
    float* const bias = &shared.bias[thread_number() / kDyOctets][octet * 8];
#pragma unroll 1
    for (int l = copy_thread() / kDyOctets; l < kDepth; l += kCopyThreads / kDyOctets) {
      const Octet dy = unpack(*dy_octet(buffer, octet, l));
#pragma unroll
      for (int e = 0; e < 8; ++e) bias[e] += dy.value[e];
    }
  }

  /// What a pending normalisation needs of a record's group, behind a barrier, and a barrier must follow.
  __device__ __forceinline__ void load_norm(int record, const PendingAffine& pending) const {
    const int i = thread_number(), c = first_c + i;
    if (!pending.scale || i >= kWgmmaChunk) return;
    const int64_t at = int64_t{record / (p.shape.N / pending.groups)} * p.shape.C_in + c;
    const bool exists = c < p.shape.C_in;
    shared.norm.set(i, exists ? pending.scale[at] : 0, exists ? pending.shift[at] : 0);
  }
};

template <int kProducts, int kProductTaps, int kColumns>
__global__ void __launch_bounds__(512, 1)
    weight_gradient_wgmma(WgmmaGradient p,
                          const bf16* __restrict__ x,   // [N, L, C_in]
                          PendingAffine pending,        // of x
                          const bf16* __restrict__ dy,  // [N, L_out, C_out]
                          float* __restrict__ pieces,   // [splits, K·C_in·C_out + C_out]
                          bool with_bias) {
  using Kernel = WgmmaGradientKernel<kProducts, kProductTaps, kColumns>;
  auto& shared = *dynamic_shared<typename Kernel::Shared>();
  const int tiles = p.chunks * p.panels * p.product_groups;
  const int64_t split = static_cast<int>(blockIdx.x) / tiles;
  const int in_split = static_cast<int>(blockIdx.x) % tiles, channels = in_split / p.product_groups;  // neighbours
  const Kernel kernel{p, shared, channels % p.chunks * kWgmmaChunk,
                      channels / p.chunks * kColumns};  // read the same records
  const int first_product = in_split % p.product_groups * (Kernel::kWarpgroups * kProducts);
  with_bias = with_bias && kernel.first_c == 0 && first_product == 0;

  const int64_t units = int64_t{p.shape.N} * p.units_per_record;
  const int64_t begin = units * split / p.splits, end = units * (split + 1) / p.splits;
  typename Kernel::Unit unit{static_cast<int>(begin / p.units_per_record),
                             static_cast<int>(begin % p.units_per_record) * Kernel::kDepth};
  const int warpgroup = __shfl_sync(kWholeWarp, thread_number() / 128, 0);  // the same in a warp, as operands must be
  const int own_turn = warpgroup / 2;  // whether the thread copies even or odd units
  typename Kernel::Unit ahead = unit;  // whose copy starts next
  int left_to_start = static_cast<int>(end - begin);
  const auto start = [&](int turn, int buffer) {
    if (left_to_start-- <= 0) return;
    if (own_turn == turn) {
      kernel.start(ahead, buffer, x, dy);
      cp_async_commit();
    }
    ahead = ahead.next(p);
  };
  start(0, 0);
  start(1, 1);

  float sum[kProducts][kColumns / 2];
  int first_slot[kProducts];  // of the windows of each product's first tap
#pragma unroll
  for (int j = 0; j < kProducts; ++j) {
    const int product = first_product + warpgroup + Kernel::kWarpgroups * j;
    first_slot[j] = product % p.period * p.phase_slots + product / p.period * kProductTaps * p.tap_slots;
  }
  if (with_bias)
    for (int e = 0; e < 8; ++e)
      shared.bias[thread_number() / Kernel::kDyOctets][thread_number() % Kernel::kDyOctets * 8 + e] = 0;
  int buffer = 0, turn = 0, group_end = 0;  // the first record of the next group
  bool begun = false;                       // the first products overwrite the sums
#pragma unroll 1
  for (int left = static_cast<int>(end - begin); left > 0; --left, turn ^= 1, unit = unit.next(p)) {
    if (unit.record >= group_end) {  // in all threads alike
      const int records_per_group = p.shape.N / pending.groups;
      group_end = (unit.record / records_per_group + 1) * records_per_group;
      __syncthreads();
      kernel.load_norm(unit.record, pending);
      __syncthreads();
    }
    if (own_turn == turn) {
      cp_async_wait<0>();
      kernel.transform(unit, buffer, pending, with_bias);
      fence_for_wgmma();
    }
    wgmma_wait<0>();  // behind the barrier, the last unit's buffer is no longer read: the one after next goes there
    __syncthreads();
    wgmma_fence();
    const auto b =
        WarpgroupOperand::of_lines<Kernel::kDyLineBytes>(shared.dy[buffer][0], Kernel::kDepth * Kernel::kDyLineBytes);
#pragma unroll
    for (int j = 0; j < kProducts; ++j) {
      if (first_product + warpgroup + Kernel::kWarpgroups * j >= p.products) break;
      const int next_tap_bytes = kProductTaps > 1 ? p.tap_slots * Kernel::kLineBytes : 0;
      const auto a = WarpgroupOperand::of_lines<Kernel::kLineBytes>(shared.z[buffer][first_slot[j]], next_tap_bytes);
#pragma unroll
      for (int l = 0; l < Kernel::kDepth; l += kWgmmaDepth)  // where the record has ended, dy is zero
        wgmma<Major::row, Major::row>(sum[j], a + l * Kernel::kLineBytes, b + l * Kernel::kDyLineBytes, begun || l > 0);
    }
    wgmma_commit();
    start(turn, (buffer + 2) % Kernel::kBuffers);
    begun = true;
    buffer = (buffer + 1) % Kernel::kBuffers;
  }
  wgmma_wait<0>();
#pragma unroll
  for (auto& of_product : sum) sums_are_there(of_product);

  float* piece = pieces + split * p.piece;
  const int row = thread_number() / 32 % 4 * 16 + lane_number() / 4, column = lane_number() % 4 * 2;
#pragma unroll
  for (int j = 0; j < kProducts; ++j) {
    const int product = first_product + warpgroup + Kernel::kWarpgroups * j;
    const int in_phase = product / p.period * kProductTaps + row / Kernel::kTapRows;
    const int tap = product % p.period + in_phase * p.period;  // the same for the rows of a warp
    if (product >= p.products || tap >= p.shape.K) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int c = kernel.first_c + row % Kernel::kTapRows + 8 * half;
      float* to = piece + (int64_t{tap} * p.shape.C_in + c) * p.shape.C_out + kernel.first_o + column;
#pragma unroll
      for (int n = 0; n < kColumns / 8; ++n)
        if (c < p.shape.C_in && kernel.first_o + 8 * n < p.shape.C_out)
          *reinterpret_cast<float2*>(to + 8 * n) = make_float2(sum[j][4 * n + 2 * half], sum[j][4 * n + 2 * half + 1]);
    }
  }
  if (!with_bias) return;  // all threads alike
  __syncthreads();
  const int o = kernel.first_o + thread_number();
  if (thread_number() >= kColumns || o >= p.shape.C_out) return;
  float total = 0;
  for (int part = 0; part < Kernel::kThreads / Kernel::kDyOctets; ++part) total += shared.bias[part][thread_number()];
  piece[p.piece - p.shape.C_out + o] = total;
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
