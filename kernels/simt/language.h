// The part of the CUDA language that kernels use, for a C++ compiler. Every function that meets other threads takes its
// place in the source as a last, defaulted argument.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/simt/runtime.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

#define threadIdx (::systole::simt::current_thread->index)
#define blockIdx (::systole::simt::block_index())
#define blockDim (::systole::simt::block_extent())
#define gridDim (::systole::simt::grid_extent())

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

// ---- rendezvous

using SimtWhere = ::systole::simt::Where;

inline void __syncthreads(SimtWhere where = SimtWhere::current()) {
  ::systole::simt::barrier(where);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, SimtWhere where = SimtWhere::current()) {
  ::systole::simt::warp_rendezvous(mask, nullptr, true, where);
}

namespace systole::simt {
void exchange_shuffle(Thread* const* lanes, unsigned mask);
void exchange_ballot(Thread* const* lanes, unsigned mask);

/// words[0]: the value; words[1]: the lane to read. The value comes back in words[0].
template <class T>
T shuffle(unsigned mask, T value, unsigned source, const Where& where) {
  static_assert(sizeof(T) <= 8);
  LaneData& data = current_thread->data;
  data.words[0] = 0;
  std::memcpy(&data.words[0], &value, sizeof value);
  data.words[1] = source;
  warp_rendezvous(mask, exchange_shuffle, false, where);
  std::memcpy(&value, &current_thread->data.words[0], sizeof value);
  return value;
}
}  // namespace systole::simt

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, SimtWhere where = SimtWhere::current()) {
  const unsigned lane = ::systole::simt::current_thread->lane(), segment = static_cast<unsigned>(width);
  return ::systole::simt::shuffle(mask, value,
                                  lane / segment * segment + (static_cast<unsigned>(source) & (segment - 1)), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SimtWhere where = SimtWhere::current()) {
  const unsigned lane = ::systole::simt::current_thread->lane(), segment = static_cast<unsigned>(width);
  const unsigned source = lane ^ static_cast<unsigned>(lanes);
  return ::systole::simt::shuffle(mask, value, source < (lane / segment + 1) * segment ? source : lane, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SimtWhere where = SimtWhere::current()) {
  const unsigned lane = ::systole::simt::current_thread->lane(), segment = static_cast<unsigned>(width);
  const unsigned source = lane + delta;
  return ::systole::simt::shuffle(mask, value, source < (lane / segment + 1) * segment ? source : lane, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SimtWhere where = SimtWhere::current()) {
  const unsigned lane = ::systole::simt::current_thread->lane(), segment = static_cast<unsigned>(width);
  return ::systole::simt::shuffle(mask, value, lane % segment >= delta ? lane - delta : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, SimtWhere where = SimtWhere::current()) {
  ::systole::simt::current_thread->data.words[0] = predicate != 0;
  ::systole::simt::warp_rendezvous(mask, ::systole::simt::exchange_ballot, false, where);
  return static_cast<unsigned>(::systole::simt::current_thread->data.words[0]);
}
inline int __any_sync(unsigned mask, int predicate, SimtWhere where = SimtWhere::current()) {
  return __ballot_sync(mask, predicate, where) != 0;
}
inline int __all_sync(unsigned mask, int predicate, SimtWhere where = SimtWhere::current()) {
  return __ballot_sync(mask, predicate, where) == mask;
}

// ---- arithmetic

inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
