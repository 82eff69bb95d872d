// log, exp, sine and cosine that have the same bits on every device, compiler and instruction set: polynomials, written
// with explicit fused multiply-adds so that no compiler may contract them in its own way. A random decision that
// depends on one of them (the rejection in a gamma variate, the end of a masked stretch) is then the same everywhere.
// Without branches, so that a loop over them becomes vector code.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define SYSTOLE_HOST_DEVICE __host__ __device__
#define SYSTOLE_HOST_DEVICE_INLINE __host__ __device__ __forceinline__
#define SYSTOLE_HOST_DEVICE_CALL __host__ __device__ __noinline__  // once in a kernel, however often it is used
#else
#define SYSTOLE_HOST_DEVICE
#define SYSTOLE_HOST_DEVICE_CALL
#define SYSTOLE_HOST_DEVICE_INLINE [[gnu::always_inline]] inline  // a loop with a call in it stays scalar
#endif

namespace systole::elementary {

template <class To, class From>
SYSTOLE_HOST_DEVICE_INLINE To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/// log x for normal x > 0, within 1 ulp. x = m 2^e with m in [√½, √2), and log m from the polynomial of Cephes
/// (Moshier, logf).
SYSTOLE_HOST_DEVICE_INLINE float log(float x) {
  const auto bits = same_bits<int32_t>(x) - 0x3F3504F3;  // √½
  const auto e = static_cast<float>(bits >> 23);
  const float f = same_bits<float>((bits & 0x007FFFFF) + 0x3F3504F3) - 1.0f;
  float p = 7.0376836292e-2f;
  p = fmaf(p, f, -1.1514610310e-1f);
  p = fmaf(p, f, 1.1676998740e-1f);
  p = fmaf(p, f, -1.2420140846e-1f);
  p = fmaf(p, f, 1.4249322787e-1f);
  p = fmaf(p, f, -1.6668057665e-1f);
  p = fmaf(p, f, 2.0000714765e-1f);
  p = fmaf(p, f, -2.4999993993e-1f);
  p = fmaf(p, f, 3.3333331174e-1f);
  const float square = f * f;
  float y = fmaf(e, -2.12194440e-4f, (f * p) * square);  // ln 2 in two parts, the large one without rounding
  y = fmaf(-0.5f, square, y);
  return fmaf(e, 0.693359375f, f + y);
}

/// sin 2πu and cos 2πu for |u| < 2^21, with an error below 1.1e-7. The nearest quarter turn is exact; the rest, at most
/// an eighth of a turn, goes into two short polynomials.
SYSTOLE_HOST_DEVICE_INLINE void sin_cos_turns(float u, float& sine, float& cosine) {
  const float quarters = rintf(4.0f * u);
  const float r = fmaf(4.0f, u, -quarters) * 1.57079632679489662f;
  const float square = r * r;
  float s = fmaf(-1.9515295891e-4f, square, 8.3321608736e-3f);
  s = fmaf(s, square, -1.6666654611e-1f);
  s = fmaf(s * square, r, r);
  float c = fmaf(2.443315711809948e-5f, square, -1.388731625493765e-3f);
  c = fmaf(c, square, 4.166664568298827e-2f);
  c = fmaf(c * square, square, fmaf(-0.5f, square, 1.0f));
  // Odd quarters swap the two; the signs follow from the quarter's second bit. By masks: a branch here would keep loops
  // over this function from becoming vector code.
  const auto quarter = static_cast<int32_t>(quarters);
  const int32_t swap = -(quarter & 1) & (same_bits<int32_t>(s) ^ same_bits<int32_t>(c));
  sine =
      same_bits<float>(same_bits<int32_t>(s) ^ swap ^ static_cast<int32_t>((static_cast<uint32_t>(quarter) & 2) << 30));
  cosine = same_bits<float>(same_bits<int32_t>(c) ^ swap ^
                            static_cast<int32_t>((static_cast<uint32_t>(quarter + 1) & 2) << 30));
}

/// log x for normal x > 0, within 3 ulp: log m = 2 artanh((m − 1)/(m + 1)), its series to the 23rd power.
SYSTOLE_HOST_DEVICE_CALL inline double log(double x) {
  const auto bits = same_bits<int64_t>(x) - 0x3FE6A09E667F3BCD;  // √½
  const auto e = static_cast<double>(bits >> 52);
  const double m = same_bits<double>((bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD);
  const double s = (m - 1.0) / (m + 1.0), square = s * s;
  double p = 1.0 / 23;
  for (int k = 21; k >= 1; k -= 2) p = ::fma(p, square, 1.0 / k);
  return ::fma(e, 0.69314718055994531, 2.0 * (s * p));
}

/// e^x for |x| ≤ 700, within 2 ulp: e^x = 2^k e^r with |r| ≤ ½ ln 2, its series to the 13th power.
SYSTOLE_HOST_DEVICE_CALL inline double exp(double x) {
  const double k = ::rint(x * 1.4426950408889634);
  const double r = ::fma(k, -1.9082149292705877e-10, ::fma(k, -0.69314718036912382, x));  // ln 2 in two parts
  double p = 1.0;
  for (int i = 13; i >= 1; --i) p = ::fma(p * r, 1.0 / i, 1.0);
  return same_bits<double>(same_bits<int64_t>(p) + (static_cast<int64_t>(k) << 52));
}

}  // namespace systole::elementary
