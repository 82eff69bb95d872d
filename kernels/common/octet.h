// Eight neighbouring bf16 values, which one access of 16 bytes reads or writes, as floats in registers. For .cu files.
#pragma once

#include "kernels/common/intrinsics.h"

namespace systole::kernels::SYSTOLE_TARGET {

struct Octet {
  float value[8];
};

__device__ __forceinline__ Octet unpack(uint4 packed) {
  const unsigned words[4] = {packed.x, packed.y, packed.z, packed.w};
  Octet octet;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    octet.value[2 * i] = float_of(words[i] << 16);
    octet.value[2 * i + 1] = float_of(words[i] & 0xffff0000u);
  }
  return octet;
}
__device__ __forceinline__ uint4 pack(const Octet& octet) {
  const float(&v)[8] = octet.value;
  return make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}
/// Its two halves, each of four neighbouring floats, 16-byte aligned.
__device__ __forceinline__ Octet octet_of(const float* lower, const float* upper) {
  const float4 low = *reinterpret_cast<const float4*>(lower), high = *reinterpret_cast<const float4*>(upper);
  return {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
}
/// Eight neighbouring floats, 16-byte aligned.
__device__ __forceinline__ Octet load_octet(const float* from) {
  return octet_of(from, from + 4);
}
/// As it lies in memory, 16-byte aligned.
__device__ __forceinline__ const uint4& octet_at(const bf16* from) {
  return *reinterpret_cast<const uint4*>(from);
}

}  // namespace systole::kernels::SYSTOLE_TARGET
