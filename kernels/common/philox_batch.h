// Many blocks of a Philox stream at once, as vector code: the numbers of RandomStream, more than ten times as fast. For
// the cpu.
#pragma once

#include "kernels/common/philox.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace systole::kernels::cpu {

inline constexpr int kPhiloxBatch = 32;  // blocks

/// Words of several blocks, each in the lower half of a 64-bit lane. The upper halves hold anything: the product below
/// does not look at them, and nothing moves down from them.
#if defined(__AVX512F__)
using PhiloxLanes = uint64_t __attribute__((vector_size(64)));
inline PhiloxLanes product_of_low_halves(PhiloxLanes a, PhiloxLanes b) {
  return reinterpret_cast<PhiloxLanes>(_mm512_mul_epu32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
#elif defined(__AVX2__)
using PhiloxLanes = uint64_t __attribute__((vector_size(32)));
inline PhiloxLanes product_of_low_halves(PhiloxLanes a, PhiloxLanes b) {
  return reinterpret_cast<PhiloxLanes>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
#else
using PhiloxLanes = uint64_t __attribute__((vector_size(16)));
inline PhiloxLanes product_of_low_halves(PhiloxLanes a, PhiloxLanes b) {
  return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF);
}
#endif

/// The standard normals of blocks first, first + stride, …: normal[k][i] is number k of the i-th block.
inline void normal_batch(const RandomStream& stream, uint32_t first, uint32_t stride,
                         float (&normal)[4][kPhiloxBatch]) {
  constexpr int kLanes = sizeof(PhiloxLanes) / sizeof(uint64_t);
  uint32_t word[4][kPhiloxBatch];
  const Philox4 counter = stream.counter(0);
  const PhiloxLanes factor0 = PhiloxLanes{} + kPhiloxFactor0, factor1 = PhiloxLanes{} + kPhiloxFactor1;
  for (int i = 0; i < kPhiloxBatch; i += kLanes) {
    PhiloxLanes w0, w1 = PhiloxLanes{} + counter.word[1], w2 = PhiloxLanes{} + counter.word[2],
                    w3 = PhiloxLanes{} + counter.word[3];
    for (int lane = 0; lane < kLanes; ++lane) w0[lane] = first + static_cast<uint32_t>(i + lane) * stride;
    auto key0 = static_cast<uint32_t>(stream.key()), key1 = static_cast<uint32_t>(stream.key() >> 32);
    for (int round = 0; round < 10; ++round, key0 += kPhiloxStep0, key1 += kPhiloxStep1) {
      const PhiloxLanes product0 = product_of_low_halves(w0, factor0), product1 = product_of_low_halves(w2, factor1);
      w0 = product1 >> 32 ^ w1 ^ key0;
      w1 = product1;
      w2 = product0 >> 32 ^ w3 ^ key1;
      w3 = product0;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      word[0][i + lane] = static_cast<uint32_t>(w0[lane]);
      word[1][i + lane] = static_cast<uint32_t>(w1[lane]);
      word[2][i + lane] = static_cast<uint32_t>(w2[lane]);
      word[3][i + lane] = static_cast<uint32_t>(w3[lane]);
    }
  }
#pragma omp simd
  for (int i = 0; i < kPhiloxBatch; ++i) {
    RandomStream::to_normal_pair(word[0][i], word[1][i], normal[0][i], normal[1][i]);
    RandomStream::to_normal_pair(word[2][i], word[3][i], normal[2][i], normal[3][i]);
  }
}

}  // namespace systole::kernels::cpu
