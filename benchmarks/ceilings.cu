// The highest rates of arithmetic that a GPU reaches, measured rather than read off a data sheet: every thread has
// enough independent work that neither latency nor memory can be what limits it.
//
// fma: 16 chains of fused multiply-adds per thread. A multiprocessor issues one instruction of a warp per scheduler and
// clock, with four clocks until its result: a warp with 16 chains and 7 others beside it never waits.
// mma_bf16: 8 chains of mma.sync per warp, the instruction that our kernels use. (Hopper's wgmma, which none of them
// uses, has a higher rate.) The factors are not zero: multiplying zeros takes less power and so can run faster.
// read: neighbouring threads load neighbouring float4, four of them in flight per thread.

#include "benchmarks/ceilings.h"
#include "kernels/common/intrinsics.h"
#include "kernels/common/launch.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

using benchmarks::kCeilingThreads;

constexpr int kFmaChains = 16, kMmaChains = 8;

__global__ void __launch_bounds__(kCeilingThreads) fma_kernel(float* __restrict__ sink,  // [blocks, threads]
                                                              float factor, float term, int rounds) {
  float x[kFmaChains];
#pragma unroll
  for (int i = 0; i < kFmaChains; ++i) x[i] = static_cast<float>(threadIdx.x) + static_cast<float>(i);
#pragma unroll 8
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < kFmaChains; ++i) x[i] = x[i] * factor + term;
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kFmaChains; ++i) sum += x[i];
  sink[blockIdx.x * kCeilingThreads + threadIdx.x] = sum;
}

__global__ void __launch_bounds__(kCeilingThreads) mma_bf16_kernel(float* __restrict__ sink,  // [blocks, threads]
                                                                   int rounds) {
  const unsigned lane = threadIdx.x % 32;
  uint32_t a[4], b[2];
#pragma unroll
  for (unsigned i = 0; i < 4; ++i) {
    const float value = static_cast<float>((lane * 37 + i * 11) % 64) / 64.0f - 0.49f;
    a[i] = pack_bf16(value, -value * 0.7f);
    if (i < 2) b[i] = pack_bf16(value * 0.9f, value * 0.3f);
  }
  float c[kMmaChains][4] = {};
#pragma unroll
  for (int i = 0; i < kMmaChains; ++i) c[i][0] = static_cast<float>(i);  // or they would be one chain
#pragma unroll 4
  for (int round = 0; round < rounds; ++round)
#pragma unroll
    for (int i = 0; i < kMmaChains; ++i) mma_m16n8k16_bf16(c[i], a, b);
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kMmaChains; ++i) sum += c[i][0] + c[i][1] + c[i][2] + c[i][3];
  sink[blockIdx.x * kCeilingThreads + threadIdx.x] = sum;
}

__global__ void __launch_bounds__(kCeilingThreads) read_kernel(const float4* __restrict__ from,  // [count]
                                                               int64_t count, int rounds,
                                                               float* __restrict__ sink) {  // [blocks, threads]
  const int64_t stride = int64_t{gridDim.x} * kCeilingThreads;
  float4 sum = make_float4(0, 0, 0, 0);
  for (int round = 0; round < rounds; ++round)
#pragma unroll 4
    for (int64_t i = int64_t{blockIdx.x} * kCeilingThreads + threadIdx.x; i < count; i += stride) {
      const float4 value = from[i];
      sum.x += value.x;
      sum.y += value.y;
      sum.z += value.z;
      sum.w += value.w;
    }
  sink[blockIdx.x * kCeilingThreads + threadIdx.x] = sum.x + sum.y + sum.z + sum.w;
}

void fma(Queue& queue, int blocks, int rounds, float* sink) {
  launch(queue, {.grid = {blocks}, .block = {kCeilingThreads}}, fma_kernel, sink, 0.999f, 0.5f, rounds);
}

void mma_bf16(Queue& queue, int blocks, int rounds, float* sink) {
  launch(queue, {.grid = {blocks}, .block = {kCeilingThreads}}, mma_bf16_kernel, sink, rounds);
}

void read(Queue& queue, int blocks, int rounds, const float* from, int64_t count, float* sink) {
  launch(queue, {.grid = {blocks}, .block = {kCeilingThreads}}, read_kernel, reinterpret_cast<const float4*>(from),
         count / 4, rounds, sink);
}

}  // namespace

extern const benchmarks::CeilingKernels ceilings{.fma = fma, .mma_bf16 = mma_bf16, .read = read};

}  // namespace systole::kernels::SYSTOLE_TARGET
