// A tile of a matrix product, C [rows, columns] += A [rows, depth] · B [depth, columns], by one block of 2 · columns
// threads, in three precisions. A and B lie in shared memory as the precision's Value; the sums are f32 registers.
//
//   Format<P>         how values are rounded, how fragments of the tensor cores are read, one multiply
//   RegisterTile<P>   the sums of a block: tf32 and bf16 by mma.sync, f32 by plain multiply-adds
//
// B is always [depth][columns + kTilePad]. A is either [row][depth] (add_rows: the windows of a convolution) or
// [depth][row] (add_columns: the weight gradient sums over positions, and positions are rows in memory).
#pragma once

#include <cmath>

#include "kernels/common/intrinsics.h"
#include "kernels/common/pending.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

// Rows of a [depth][columns] tile lie columns + 8 values apart, columns a multiple of 32. Shared memory has 32 banks of
// 4 bytes. f32, tf32: a lane's bank is 8t + g, for each of the 32 lanes another. bf16: eight rows that ldmatrix reads
// together start 16 bytes further each (modulo 128), so that they cover all banks once.
constexpr int kTilePad = 8;

__device__ __forceinline__ int thread_number() {
  return static_cast<int>(threadIdx.x);
}
__device__ __forceinline__ int lane_number() {
  return thread_number() % 32;
}

/// One value of global memory into shared memory; zero where it does not exist. Asynchronously in f32; two bytes are
/// too few for that.
__device__ __forceinline__ void copy_value(float* to, const float* from, bool exists) {
  cp_async<4>(to, from, exists);
}
__device__ __forceinline__ void copy_value(bf16* to, const bf16* from, bool exists) {
  *to = exists ? *from : bf16{0};
}

/// Four neighbouring values of a series; `valid` of them exist, zeros take the place of the rest. With `aligned`, all
/// are valid or none, and one asynchronous copy of 16 or 8 bytes does.
template <class S>
__device__ __forceinline__ void copy_quad(S* to, const S* from, int valid, bool aligned) {
  if (aligned) {
    cp_async<4 * sizeof(S)>(to, from, valid > 0);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) copy_value(to + i, from + i, i < valid);
}

__device__ __forceinline__ float value_of(float x) {
  return x;
}
__device__ __forceinline__ float value_of(bf16 x) {
  return to_float(x);
}
__device__ __forceinline__ void store_value(float& to, float x) {
  to = x;
}
__device__ __forceinline__ void store_value(bf16& to, float x) {
  to = round_to_bf16(x);
}

/// Four neighbouring values, read by one instruction.
__device__ __forceinline__ float4 whole_quad(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
__device__ __forceinline__ float4 whole_quad(const bf16* from) {
  const uint2 pairs = *reinterpret_cast<const uint2*>(from);
  return make_float4(float_of(pairs.x << 16), float_of(pairs.x & 0xffff0000u), float_of(pairs.y << 16),
                     float_of(pairs.y & 0xffff0000u));
}

/// Four neighbouring values of which `valid` exist; zeros take the place of the rest.
template <class S>
__device__ __forceinline__ float4 load_quad(const S* from, int valid, bool aligned) {
  if (aligned) return valid > 0 ? whole_quad(from) : make_float4(0, 0, 0, 0);
  return make_float4(valid > 0 ? value_of(from[0]) : 0, valid > 1 ? value_of(from[1]) : 0,
                     valid > 2 ? value_of(from[2]) : 0, valid > 3 ? value_of(from[3]) : 0);
}

/// What turns dz into dy (PendingGradient) for the channels that a block reads, in shared memory: registers are the
/// sums'. Channels that do not exist have zeros, and so has their dy.
template <int kChannels>
struct NormShared {
  alignas(16) float scale[kChannels], shift[kChannels], mean[kChannels], offset[kChannels], slope[kChannels];

  /// Fills in the channels from `first` on, of C, of the group of a record of N. For the first kChannels threads of a
  /// block; a barrier must follow.
  __device__ __forceinline__ void fill(const PendingGradient& pending, int record, int N, int first, int C) {
    const int c = thread_number();
    if (c >= kChannels) return;
    const NormalizedOutput& o = pending.output;
    const int64_t at = int64_t{record / (N / o.groups)} * C + first + c;
    const bool exists = first + c < C;
    scale[c] = exists ? o.scale[at] : 0;
    shift[c] = exists ? o.shift[at] : 0;
    mean[c] = exists ? o.mean[at] : 0;
    offset[c] = exists ? pending.offset[at] : 0;
    slope[c] = exists ? pending.slope[at] : 0;
  }
  __device__ __forceinline__ float dy(float dz, float y, int c, bool relu) const {
    const float g = relu && fmaf(y, scale[c], shift[c]) <= 0 ? 0.0f : dz;
    return scale[c] * g - offset[c] - slope[c] * (y - mean[c]);
  }
  __device__ __forceinline__ float4 dy(float4 dz, float4 y, int c, bool relu) const {
    return make_float4(dy(dz.x, y.x, c, relu), dy(dz.y, y.y, c + 1, relu), dy(dz.z, y.z, c + 2, relu),
                       dy(dz.w, y.w, c + 3, relu));
  }
};

// ---- formats

/// kChunk: depth that is brought to shared memory at a time. kStep: depth of one multiply.
/// kRowPitch: values from row to row of an A that is stored as [row][depth]: 80 bytes, so that the eight rows of 16
/// bytes that ldmatrix reads together start at bytes 0, 80, 32, 112, 64, 16, 96, 48 of the 128 of all banks.
template <Precision P>
struct Format;

template <>
struct Format<Precision::f32> {
  using Value = float;
  static constexpr int kChunk = 16, kStep = 4, kRowPitch = 20;

  static __device__ __forceinline__ Value round(float x) { return x; }
  static __device__ __forceinline__ void store(Value* to, float4 z) { *reinterpret_cast<float4*>(to) = z; }
};

/// Fragments are named in kernels/common/intrinsics.h; g = lane / 4, t = lane % 4.
template <>
struct Format<Precision::tf32> {
  using Value = float;  // with the low bits of its mantissa zero
  static constexpr int kChunk = 16, kStep = 8, kRowPitch = 20;

  static __device__ __forceinline__ Value round(float x) { return __uint_as_float(tf32_bits(x)); }
  static __device__ __forceinline__ void store(Value* to, float4 z) {
    *reinterpret_cast<float4*>(to) = make_float4(round(z.x), round(z.y), round(z.z), round(z.w));
  }
  /// A [16, 8] of [row][depth]. A row of 16 bytes is 4 values here, and lane (g, t) gets the t-th word of row g: that
  /// ldmatrix was made for 16-bit values does not matter.
  static __device__ __forceinline__ void load_rows(uint32_t (&a)[4], const Value* tile, int pitch) {
    const int lane = lane_number();
    ldmatrix_x4(a, tile + lane % 16 * pitch + lane / 16 * 4);
  }
  /// A [16, 8] of [depth][row].
  static __device__ __forceinline__ void load_columns(uint32_t (&a)[4], const Value* tile, int pitch) {
    const Value* at = tile + lane_number() % 4 * pitch + lane_number() / 4;
    a[0] = __float_as_uint(at[0]);
    a[1] = __float_as_uint(at[8]);
    a[2] = __float_as_uint(at[4 * pitch]);
    a[3] = __float_as_uint(at[4 * pitch + 8]);
  }
  /// Four B [8, 8] beside each other.
  static __device__ __forceinline__ void load_b(uint32_t (&b)[4][2], const Value* tile, int pitch) {
    const Value* at = tile + lane_number() % 4 * pitch + lane_number() / 4;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      b[n][0] = __float_as_uint(at[8 * n]);
      b[n][1] = __float_as_uint(at[4 * pitch + 8 * n]);
    }
  }
  static __device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_m16n8k8_tf32(c, a, b);
  }
};

template <>
struct Format<Precision::bf16> {
  using Value = bf16;
  static constexpr int kChunk = 32, kStep = 16, kRowPitch = 40;

  static __device__ __forceinline__ Value round(float x) { return to_bf16(x); }
  static __device__ __forceinline__ void store(Value* to, float4 z) {
    *reinterpret_cast<uint2*>(to) = make_uint2(pack_bf16(z.x, z.y), pack_bf16(z.z, z.w));
  }
  /// A [16, 16] of [row][depth]: its quarters in the order rows 0 …, rows 8 …, then the same of depth 8 ….
  static __device__ __forceinline__ void load_rows(uint32_t (&a)[4], const Value* tile, int pitch) {
    const int lane = lane_number();
    ldmatrix_x4(a, tile + lane % 16 * pitch + lane / 16 * 8);
  }
  /// A [16, 16] of [depth][row]: the same quarters, each transposed on its way.
  static __device__ __forceinline__ void load_columns(uint32_t (&a)[4], const Value* tile, int pitch) {
    const int lane = lane_number();
    ldmatrix_x4_transposed(a, tile + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8);
  }
  /// Four B [16, 8] beside each other, two with one instruction.
  static __device__ __forceinline__ void load_b(uint32_t (&b)[4][2], const Value* tile, int pitch) {
    const int lane = lane_number();
    const Value* at = tile + lane % 16 * pitch + lane / 16 * 8;
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      uint32_t pair[4];
      ldmatrix_x4_transposed(pair, at + 8 * n);
      b[n][0] = pair[0], b[n][1] = pair[1];
      b[n + 1][0] = pair[2], b[n + 1][1] = pair[3];
    }
  }
  static __device__ __forceinline__ void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_m16n8k16_bf16(c, a, b);
  }
};

// ---- sums

/// On the tensor cores. Warps in two rows, each with kRows / 2 rows × 32 columns of the tile:
///
///            32 columns  32 columns           a warp with 64 rows reads per kStep 4 fragments of A and 4 of B
///            +--------+--------+              for 16 multiplies. The larger a warp's tile, the fewer bytes of shared
///   kRows/2  | warp 0 | warp 2 |  …           memory a multiply costs; 64 × 32 sums fill half of the registers.
///            +--------+--------+
///   kRows/2  | warp 1 | warp 3 |  …
///            +--------+--------+
template <Precision P, int kRows, int kColumns>
struct RegisterTile {
  using F = Format<P>;
  using Value = typename F::Value;
  static constexpr int kFragments = kRows / 32;
  float sum[kFragments][4][4] = {};

  static __device__ __forceinline__ int first_row() { return thread_number() / 32 % 2 * (kRows / 2); }
  static __device__ __forceinline__ int first_column() { return thread_number() / 64 * 32; }

  /// Fragments of A come from load(fragment, row, k).
  template <class Load>
  __device__ __forceinline__ void add(const Load& load, const Value* b, int depth) {
    constexpr int kPitch = kColumns + kTilePad;
    for (int k = 0; k < depth; k += F::kStep) {
      uint32_t b_fragment[4][2];
      F::load_b(b_fragment, b + k * kPitch + first_column(), kPitch);
#pragma unroll
      for (int m = 0; m < kFragments; ++m) {
        uint32_t a_fragment[4];
        load(a_fragment, first_row() + 16 * m, k);
#pragma unroll
        for (int n = 0; n < 4; ++n) F::multiply(sum[m][n], a_fragment, b_fragment[n]);
      }
    }
  }

  /// a [kRows][kRowPitch], b [depth][kColumns + kTilePad]. `depth` is a multiple of kStep, the same in all threads.
  __device__ __forceinline__ void add_rows(const Value* a, const Value* b, int depth) {
    add([a](uint32_t(&fragment)[4], int row,
            int k) { F::load_rows(fragment, a + row * F::kRowPitch + k, F::kRowPitch); },
        b, depth);
  }
  /// a [depth][kRows + kTilePad], b [depth][kColumns + kTilePad].
  __device__ __forceinline__ void add_columns(const Value* a, const Value* b, int depth) {
    constexpr int kPitch = kRows + kTilePad;
    add([a](uint32_t(&fragment)[4], int row, int k) { F::load_columns(fragment, a + k * kPitch + row, kPitch); }, b,
        depth);
  }

  /// To tile [kRows][kColumns + kTilePad]. Half a warp stores 16 pairs at banks 8g + 2t: all 32, once.
  __device__ __forceinline__ void store(float* tile) const {
    const int row = first_row() + lane_number() / 4, column = first_column() + lane_number() % 4 * 2;
#pragma unroll
    for (int m = 0; m < kFragments; ++m)
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<float2*>(tile + (row + 16 * m + 8 * half) * (kColumns + kTilePad) + column + 8 * n) =
              make_float2(sum[m][n][2 * half], sum[m][n][2 * half + 1]);
  }
};

/// By plain multiply-adds. Warps in four rows, each with kRows / 4 rows × 64 columns; lanes in 4 rows × 8 columns, each
/// with kRows / 16 neighbouring rows and the columns 4 … and 32 + 4 …, so that eight lanes read 128 neighbouring bytes
/// of B. Lanes of one row read the same float of A: a broadcast. With 128 rows, 256 multiply-adds follow 16 loads.
template <int kRows, int kColumns>
struct RegisterTile<Precision::f32, kRows, kColumns> {
  static constexpr int kOwnRows = kRows / 16;
  static constexpr int kPitch = kColumns + kTilePad;
  float sum[kOwnRows][8] = {};

  static __device__ __forceinline__ int first_row() {
    return thread_number() / 32 % 4 * (kRows / 4) + lane_number() / 8 * kOwnRows;
  }
  static __device__ __forceinline__ int first_column() { return thread_number() / 128 * 64 + lane_number() % 8 * 4; }

  __device__ __forceinline__ void add_outer(const float (&a)[kOwnRows], const float* b_row) {
    const float4 low = *reinterpret_cast<const float4*>(b_row);
    const float4 high = *reinterpret_cast<const float4*>(b_row + 32);
    const float b[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int r = 0; r < kOwnRows; ++r)
#pragma unroll
      for (int c = 0; c < 8; ++c) sum[r][c] += a[r] * b[c];
  }

  __device__ __forceinline__ void add_rows(const float* a, const float* b, int depth) {
    constexpr int kRowPitch = Format<Precision::f32>::kRowPitch;
    a += first_row() * kRowPitch;
    b += first_column();
    for (int k = 0; k < depth; k += 4) {
      float4 rows[kOwnRows];
#pragma unroll
      for (int r = 0; r < kOwnRows; ++r) rows[r] = *reinterpret_cast<const float4*>(a + r * kRowPitch + k);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float column[kOwnRows];
#pragma unroll
        for (int r = 0; r < kOwnRows; ++r)
          column[r] = i == 0 ? rows[r].x : i == 1 ? rows[r].y : i == 2 ? rows[r].z : rows[r].w;
        add_outer(column, b + (k + i) * kPitch);
      }
    }
  }
  __device__ __forceinline__ void add_columns(const float* a, const float* b, int depth) {
    a += first_row();
    b += first_column();
#pragma unroll 4
    for (int k = 0; k < depth; ++k) {
      float column[kOwnRows];
#pragma unroll
      for (int r = 0; r < kOwnRows; r += 4) {
        const float4 quad = *reinterpret_cast<const float4*>(a + k * (kRows + kTilePad) + r);
        column[r] = quad.x, column[r + 1] = quad.y, column[r + 2] = quad.z, column[r + 3] = quad.w;
      }
      add_outer(column, b + k * kPitch);
    }
  }

  __device__ __forceinline__ void store(float* tile) const {
    tile += first_row() * kPitch + first_column();
#pragma unroll
    for (int r = 0; r < kOwnRows; ++r) {
      const float(&row)[8] = sum[r];
      *reinterpret_cast<float4*>(tile + r * kPitch) = make_float4(row[0], row[1], row[2], row[3]);
      *reinterpret_cast<float4*>(tile + r * kPitch + 32) = make_float4(row[4], row[5], row[6], row[7]);
    }
  }
};

// ---- a pending normalisation

/// scale and shift of four neighbouring channels, or of any four.
struct QuadAffine {
  float4 scale, shift;

  /// relu?(x · scale + shift), element by element. Fused by name, so that every compiler gives the same bits: what is
  /// rounded to bf16 afterwards would turn a difference in the last one into one of 2⁻⁸. A maximum would hide a NaN.
  __device__ __forceinline__ float4 operator()(float4 x, bool relu) const {
    float4 z = make_float4(fmaf(x.x, scale.x, shift.x), fmaf(x.y, scale.y, shift.y), fmaf(x.z, scale.z, shift.z),
                           fmaf(x.w, scale.w, shift.w));
    if (relu) {
      z.x = z.x < 0 ? 0 : z.x;
      z.y = z.y < 0 ? 0 : z.y;
      z.z = z.z < 0 ? 0 : z.z;
      z.w = z.w < 0 ? 0 : z.w;
    }
    return z;
  }
};

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
