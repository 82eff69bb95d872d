// What the threads of a warp or a block do together. All threads of the scope must call; results have the same bits in
// every run, since each sum has one order.
#pragma once

#include "kernels/common/intrinsics.h"

namespace systole::kernels::SYSTOLE_TARGET {

/// The sum over the 32 lanes, in every lane. A butterfly: both partners add the same two numbers.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kWholeWarp, value, lanes);
  return value;
}

template <class T>
__device__ __forceinline__ T warp_max(T value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const T other = __shfl_xor_sync(kWholeWarp, value, lanes);
    value = other > value ? other : value;
  }
  return value;
}

/// Shared memory of block_sum.
template <class T>
struct BlockSumScratch {
  T warp[32];
};

/// The sum over a one-dimensional block of whole warps, in every thread. Two barriers; `scratch` may be used again
/// after the call, also by another block_sum.
template <class T>
__device__ __forceinline__ T block_sum(T value, BlockSumScratch<T>& scratch) {
  const unsigned warps = blockDim.x / 32;
  value = warp_sum(value);
  __syncthreads();  // the last call's readers are done
  if (threadIdx.x % 32 == 0) scratch.warp[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = 0;
  for (unsigned w = 0; w < warps; ++w) sum += scratch.warp[w];
  return sum;
}

}  // namespace systole::kernels::SYSTOLE_TARGET
