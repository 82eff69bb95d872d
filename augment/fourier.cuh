// The Fourier transform of the band-pass on cuda and simt: four leads of a view in shared memory, one quad a moment.
// The forward steps leave the frequencies in another order than that of time (frequency_of_row in draws.h), the
// backward ones start from it, so nothing is ever permuted. All threads of the block call each step; it ends with a
// barrier.
//
// Roots of unity are computed where they are used: two short polynomials cost less than a table would in shared memory.
#pragma once

#include "augment/draws.h"
#include "kernels/common/launch.h"

namespace systole::augment::SYSTOLE_TARGET {

inline constexpr int kThreads = 256;  // of a block
inline constexpr int kLeads = 4;

/// Four leads at one moment. The filter takes them for two complex numbers, (0, 1) and (2, 3).
struct alignas(16) Quad {
  float lead[kLeads];
};
__device__ __forceinline__ Quad operator+(const Quad& a, const Quad& b) {
  return {{a.lead[0] + b.lead[0], a.lead[1] + b.lead[1], a.lead[2] + b.lead[2], a.lead[3] + b.lead[3]}};
}
__device__ __forceinline__ Quad operator-(const Quad& a, const Quad& b) {
  return {{a.lead[0] - b.lead[0], a.lead[1] - b.lead[1], a.lead[2] - b.lead[2], a.lead[3] - b.lead[3]}};
}
__device__ __forceinline__ Quad operator*(const Quad& a, float b) {
  return {{a.lead[0] * b, a.lead[1] * b, a.lead[2] * b, a.lead[3] * b}};
}
__device__ __forceinline__ Quad times_i(const Quad& a) {
  return {{-a.lead[1], a.lead[0], -a.lead[3], a.lead[2]}};
}
struct Root {
  float cosine, sine;
};
__device__ __forceinline__ Quad turned(const Quad& a, const Root& w) {  // times cosine + i sine
  return {{a.lead[0] * w.cosine - a.lead[1] * w.sine, a.lead[0] * w.sine + a.lead[1] * w.cosine,
           a.lead[2] * w.cosine - a.lead[3] * w.sine, a.lead[2] * w.sine + a.lead[3] * w.cosine}};
}

/// e^(2πi j/n) and its second and third power, turned in a direction.
struct Powers {
  Root w1, w2, w3;
};
__device__ __forceinline__ Powers powers(int j, int n, float direction) {
  Root w;
  elementary::sin_cos_turns(static_cast<float>(j) / static_cast<float>(n), w.sine, w.cosine);
  w.sine *= direction;
  const Root square{w.cosine * w.cosine - w.sine * w.sine, 2 * w.cosine * w.sine};
  return {
      w, square, {square.cosine * w.cosine - square.sine * w.sine, square.cosine * w.sine + square.sine * w.cosine}};
}

/// One step of the Fourier transform within blocks of n quads: two steps of radix 2 in one (decimation in frequency;
/// Cooley and Tukey). Each thread takes four quads at a distance of n / 4. All threads call; the last of `P` barriers
/// is inside.
__device__ inline void forward_step(Quad* x, int P, int n) {
  const int quarter = n / 4;
  for (int i = static_cast<int>(threadIdx.x); i < P / 4; i += kThreads) {
    const int j = i & (quarter - 1);  // i % quarter, a power of two
    Quad* a = x + 4 * (i - j) + j;    // block i / quarter
    const Powers w = powers(j, n, -1);
    const Quad x0 = a[0], x1 = a[quarter], x2 = a[2 * quarter], x3 = a[3 * quarter];
    const Quad even = x0 + x2, odd = x1 + x3, u = x0 - x2, v = times_i(x1 - x3);
    a[0] = even + odd;
    a[quarter] = turned(even - odd, w.w2);
    a[2 * quarter] = turned(u - v, w.w1);
    a[3 * quarter] = turned(u + v, w.w3);
  }
  __syncthreads();
}
/// Undoes forward_step, four times too large.
__device__ inline void inverse_step(Quad* x, int P, int n) {
  const int quarter = n / 4;
  for (int i = static_cast<int>(threadIdx.x); i < P / 4; i += kThreads) {
    const int j = i & (quarter - 1);  // i % quarter, a power of two
    Quad* a = x + 4 * (i - j) + j;    // block i / quarter
    const Powers w = powers(j, n, 1);
    const Quad y0 = a[0], y1 = turned(a[quarter], w.w2), y2 = turned(a[2 * quarter], w.w1),
               y3 = turned(a[3 * quarter], w.w3);
    const Quad even = y0 + y1, odd = y0 - y1, u = y2 + y3, v = times_i(y2 - y3);
    a[0] = even + u;
    a[quarter] = odd + v;
    a[2 * quarter] = even - u;
    a[3 * quarter] = odd - v;
  }
  __syncthreads();
}

/// The step for a circle of three times a power of two: into three blocks.
__device__ inline void forward_step_of_3(Quad* x, int P) {
  const int third = P / 3;
  for (int j = static_cast<int>(threadIdx.x); j < third; j += kThreads) {
    const Powers w = powers(j, P, -1);
    const Quad x0 = x[j], x1 = x[j + third], x2 = x[j + 2 * third];
    const Quad sum = x1 + x2, rest = x0 - sum * 0.5f, turn = times_i((x1 - x2) * kHalfRootOf3);
    x[j] = x0 + sum;
    x[j + third] = turned(rest - turn, w.w1);
    x[j + 2 * third] = turned(rest + turn, w.w2);
  }
  __syncthreads();
}
/// Undoes forward_step_of_3, three times too large.
__device__ inline void inverse_step_of_3(Quad* x, int P) {
  const int third = P / 3;
  for (int j = static_cast<int>(threadIdx.x); j < third; j += kThreads) {
    const Powers w = powers(j, P, 1);
    const Quad y0 = x[j], y1 = turned(x[j + third], w.w1), y2 = turned(x[j + 2 * third], w.w2);
    const Quad sum = y1 + y2, rest = y0 - sum * 0.5f, turn = times_i((y1 - y2) * kHalfRootOf3);
    x[j] = y0 + sum;
    x[j + third] = rest + turn;
    x[j + 2 * third] = rest - turn;
  }
  __syncthreads();
}

}  // namespace systole::augment::SYSTOLE_TARGET
