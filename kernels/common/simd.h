// The widest vector of floats of the processor that is compiled for, by std::experimental::simd (Parallelism TS 2).
#pragma once

#include <experimental/simd>

namespace systole::kernels::cpu {

using Vector = std::experimental::native_simd<float>;

inline constexpr int kWidth =
    static_cast<int>(Vector::size());  // floats per vector: 4 SSE and NEON, 8 AVX2, 16 AVX-512

#if defined(__AVX512F__) || defined(__aarch64__)
inline constexpr int kVectorRegisters = 32;
#else
inline constexpr int kVectorRegisters = 16;
#endif

/// kWidth floats from any address, aligned or not.
inline Vector load(const float* from) {
  return Vector(from, std::experimental::element_aligned);
}
inline void store(const Vector& value, float* to) {
  value.copy_to(to, std::experimental::element_aligned);
}

/// a · b + c for any simd, with one rounding wherever the processor can. Written as a · b + c it is left to the
/// compiler, which decides anew for every copy of a loop: the bits of a result would depend on which copy computes it.
template <class V>
V multiply_add(const V& a, const V& b, const V& c) {
#if defined(__FMA__) || defined(__aarch64__)
  return std::experimental::fma(a, b, c);
#else
  return a * b + c;
#endif
}

}  // namespace systole::kernels::cpu
