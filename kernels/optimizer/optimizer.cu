// Optimiser steps on the cuda and simt devices. A step is one pass over memory, one number per thread; the order of the
// float operations is the cpu's (and PyTorch's).
//
// LARS needs two norms per tensor before its step. The tensors of a batch of up to 64 travel as an argument of the
// kernels, so nothing is copied to the device and a step can be captured into a CUDA graph. Their numbers are cut into
// pieces of 4096, counted through all tensors; a block finds the tensor of its piece in the list. Three kernels:
// squares of every piece, a trust ratio per tensor from its pieces in order, the step.

#include <cmath>

#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/memory.h"
#include "kernels/optimizer/optimizer.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 4096;  // numbers of a sum that one block adds up: 16 loads in a row per thread

using DoubleSum = BlockSumScratch<double>;

__device__ __forceinline__ int64_t element_index() {
  return int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

Launch one_thread_each(int64_t count) {
  return {.grid = {ceil_div(count, int64_t{kThreads})}, .block = {kThreads}};
}

struct AdamConstants {
  float beta1, rest1, beta2, rest2, eps, decay;
};

__global__ __launch_bounds__(kThreads, 4) void adam_step(int64_t count, AdamConstants a,
                                                         const StepFactors* __restrict__ factors,
                                                         const float* __restrict__ scale,
                                                         const float* __restrict__ gradient,  // [count], as all arrays
                                                         float* __restrict__ w, float* __restrict__ first_moment,
                                                         float* __restrict__ second_moment) {
  const int64_t i = element_index();
  if (i >= count || !is_applied(*scale)) return;
  const StepFactors f = *factors;
  const float before = w[i] * f.shrink;
  const float g = gradient[i] * *scale + a.decay * before;
  const float m = first_moment[i] * a.beta1 + g * a.rest1;
  const float v = second_moment[i] * a.beta2 + g * g * a.rest2;
  first_moment[i] = m;
  second_moment[i] = v;
  w[i] = before - f.rate * (m / (sqrtf(v) / f.correction2_sqrt + a.eps));
}

void adam(Queue& queue, int64_t count, const Adam& adam, const StepFactors* factors, const float* gradient_scale,
          const float* gradient, float* w, float* first_moment, float* second_moment) {
  if (count == 0) return;
  const AdamConstants constants{.beta1 = static_cast<float>(adam.beta1),
                                .rest1 = static_cast<float>(1 - adam.beta1),
                                .beta2 = static_cast<float>(adam.beta2),
                                .rest2 = static_cast<float>(1 - adam.beta2),
                                .eps = static_cast<float>(adam.eps),
                                .decay = static_cast<float>(adam.decoupled ? 0 : adam.weight_decay)};
  launch(queue, one_thread_each(count), adam_step, count, constants, factors, gradient_scale, gradient, w, first_moment,
         second_moment);
}

/// SGD's numbers, and LARS'.
struct SgdNumbers {
  float rate, momentum, decay, scale, ratio;  // ratio: of LARS, 1 for SGD
  bool history;  // whether the momentum buffer is read: not in the first step, and not without momentum

  __device__ __forceinline__ SgdNumbers(float momentum_, float decay_, const StepFactors& f, float scale_)
      : rate(f.rate),
        momentum(momentum_),
        decay(decay_),
        scale(scale_),
        ratio(1),
        history(!f.first && momentum_ != 0) {}
};

/// One number of SGD or LARS. `momentum` may be null where it is not read.
__device__ __forceinline__ void sgd_number(const SgdNumbers& f, int64_t i, const float* gradient, float* w,
                                           float* momentum) {
  const float g = gradient[i] * f.scale + f.decay * w[i];
  // Fused this way, the product with the old buffer is rounded before the sum, as PyTorch rounds it.
  const float b = f.history ? fmaf(f.ratio, g, f.momentum * momentum[i]) : f.ratio * g;
  if (momentum) momentum[i] = b;
  w[i] -= f.rate * b;
}

__global__ __launch_bounds__(kThreads, 4) void sgd_step(int64_t count, float momentum_factor, float decay,
                                                        const StepFactors* __restrict__ factors,
                                                        const float* __restrict__ scale,
                                                        const float* __restrict__ gradient, float* __restrict__ w,
                                                        float* __restrict__ momentum) {
  const int64_t i = element_index();
  if (i < count && is_applied(*scale))
    sgd_number(SgdNumbers(momentum_factor, decay, *factors, *scale), i, gradient, w, momentum);
}

void sgd(Queue& queue, int64_t count, const Sgd& sgd, const StepFactors* factors, const float* gradient_scale,
         const float* gradient, float* w, float* momentum) {
  if (count == 0) return;
  launch(queue, one_thread_each(count), sgd_step, count, static_cast<float>(sgd.momentum),
         static_cast<float>(sgd.weight_decay), factors, gradient_scale, gradient, w, momentum);
}

/// Σ x² over [begin, end), in every thread of the block.
__device__ __forceinline__ double block_sum_of_squares(const float* __restrict__ x, int64_t begin, int64_t end,
                                                       DoubleSum& shared) {
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += double{x[i]} * double{x[i]};
  return block_sum(sum, shared);
}

/// The sum of `count` numbers, in every thread of the block.
__device__ __forceinline__ double block_sum_of_parts(const double* __restrict__ part, int64_t count,
                                                     DoubleSum& shared) {
  double sum = 0;
  for (int64_t p = threadIdx.x; p < count; p += kThreads) sum += part[p];
  return block_sum(sum, shared);
}

__global__ __launch_bounds__(kThreads, 4) void square_pieces(int64_t count, const float* __restrict__ x,  // [count]
                                                             double* __restrict__ part) {                 // [pieces]
  const int64_t begin = int64_t{blockIdx.x} * kPiece, end = begin + kPiece < count ? begin + kPiece : count;
  const double sum = block_sum_of_squares(x, begin, end, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

__global__ __launch_bounds__(kThreads, 4) void add_pieces(const double* __restrict__ part,  // [pieces]
                                                          int64_t pieces, double* __restrict__ sum) {
  const double total = block_sum_of_parts(part, pieces, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) *sum = total;
}

void sum_of_squares(Queue& queue, int64_t count, const float* x, double* sum) {
  const int64_t pieces = ceil_div(count, int64_t{kPiece});
  auto* part = scratch<double>(queue, static_cast<size_t>(pieces));
  if (pieces > 0)
    launch(queue, {.grid = {pieces}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, square_pieces, count, x,
           part);
  launch(queue, {.grid = {1}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, add_pieces, part, pieces, sum);
}

constexpr int kBatch = 64;  // tensors: 2.3 KB of the 4 KB that a kernel's arguments may have

struct LarsBatch {
  int tensors = 0;
  LarsSegment segment[kBatch];
  int64_t first_piece[kBatch + 1] = {};  // of each tensor, and the number of all pieces

  void add(const LarsSegment& s) {
    segment[tensors] = s;
    first_piece[tensors + 1] = first_piece[tensors] + ceil_div(s.end - s.begin, int64_t{kPiece});
    ++tensors;
  }
  int64_t pieces() const { return first_piece[tensors]; }
};

/// The numbers of this block.
struct LarsPiece {
  int tensor;
  int64_t begin, end;
};
__device__ __forceinline__ LarsPiece piece_of_block(const LarsBatch& batch) {
  int t = 0;
  while (static_cast<int64_t>(blockIdx.x) >= batch.first_piece[t + 1]) ++t;
  const int64_t begin = batch.segment[t].begin + (blockIdx.x - batch.first_piece[t]) * kPiece;
  return {t, begin, begin + kPiece < batch.segment[t].end ? begin + kPiece : batch.segment[t].end};
}

__global__ __launch_bounds__(kThreads, 4) void lars_squares(const __grid_constant__ LarsBatch batch,
                                                            const float* __restrict__ gradient,
                                                            const float* __restrict__ w,
                                                            double* __restrict__ squares) {  // [2, pieces]: of w, of g
  auto& shared = *dynamic_shared<DoubleSum>();
  const LarsPiece piece = piece_of_block(batch);
  const double of_w = block_sum_of_squares(w, piece.begin, piece.end, shared);
  const double of_g = block_sum_of_squares(gradient, piece.begin, piece.end, shared);
  if (threadIdx.x == 0) {
    squares[blockIdx.x] = of_w;
    squares[gridDim.x + blockIdx.x] = of_g;
  }
}

/// One block per tensor.
__global__ __launch_bounds__(kThreads, 4) void lars_ratios(const __grid_constant__ LarsBatch batch, double trust,
                                                           double decay, const float* __restrict__ scale,
                                                           const double* __restrict__ squares,  // [2, pieces]
                                                           float* __restrict__ ratio) {         // [tensors]
  auto& shared = *dynamic_shared<DoubleSum>();
  const unsigned t = blockIdx.x;
  const int64_t first = batch.first_piece[t], count = batch.first_piece[t + 1] - first;
  const double* squares_of_g = squares + batch.first_piece[batch.tensors];
  const double norm_w = sqrt(block_sum_of_parts(squares + first, count, shared));
  const double norm_g = sqrt(block_sum_of_parts(squares_of_g + first, count, shared)) * fabs(double{*scale});
  const bool plain = batch.segment[t].exempt || norm_w == 0 || norm_g == 0;
  if (threadIdx.x == 0) ratio[t] = plain ? 1.0f : static_cast<float>(trust * norm_w / (norm_g + decay * norm_w));
}

__global__ __launch_bounds__(kThreads, 4) void lars_step(const __grid_constant__ LarsBatch batch, float momentum_factor,
                                                         float decay, const StepFactors* __restrict__ factors,
                                                         const float* __restrict__ scale,
                                                         const float* __restrict__ ratio,  // [tensors]
                                                         const float* __restrict__ gradient, float* __restrict__ w,
                                                         float* __restrict__ momentum) {
  if (!is_applied(*scale)) return;
  const LarsPiece piece = piece_of_block(batch);
  SgdNumbers f(momentum_factor, batch.segment[piece.tensor].exempt ? 0 : decay, *factors, *scale);
  f.ratio = ratio[piece.tensor];
  for (int64_t i = piece.begin + threadIdx.x; i < piece.end; i += kThreads) sgd_number(f, i, gradient, w, momentum);
}

/// `squares` has room for 2 · batch.pieces() numbers, `ratio` for kBatch.
void lars_batch(Queue& queue, const LarsBatch& batch, const Lars& lars, const StepFactors* factors,
                const float* gradient_scale, const float* gradient, float* w, float* momentum, double* squares,
                float* ratio) {
  if (batch.pieces() == 0) return;
  launch(queue, {.grid = {batch.pieces()}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, lars_squares, batch,
         gradient, w, squares);
  launch(queue, {.grid = {batch.tensors}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, lars_ratios, batch,
         lars.trust, lars.weight_decay, gradient_scale, squares, ratio);
  launch(queue, {.grid = {batch.pieces()}, .block = {kThreads}}, lars_step, batch, static_cast<float>(lars.momentum),
         static_cast<float>(lars.weight_decay), factors, gradient_scale, ratio, gradient, w, momentum);
}

void lars(Queue& queue, int segments, const LarsSegment* segment, const Lars& lars, const StepFactors* factors,
          const float* gradient_scale, const float* gradient, float* w, float* momentum) {
  int64_t pieces = 0;
  for (int s = 0; s < segments; ++s) pieces += ceil_div(segment[s].end - segment[s].begin, int64_t{kPiece});
  auto* squares = scratch<double>(queue, static_cast<size_t>(2 * pieces) + kBatch);
  auto* ratio = reinterpret_cast<float*>(squares + 2 * pieces);
  for (int s = 0; s < segments;) {
    LarsBatch batch;
    while (s < segments && batch.tensors < kBatch) batch.add(segment[s++]);
    lars_batch(queue, batch, lars, factors, gradient_scale, gradient, w, momentum, squares, ratio);
  }
}

__global__ void limit(double max_norm, const double* __restrict__ sum, float* __restrict__ gradient_scale) {
  *gradient_scale = limited_scale(max_norm, *sum);
}

void limit_norm(Queue& queue, double max_norm, const double* sum, float* gradient_scale) {
  launch(queue, {.grid = {1}, .block = {1}}, limit, max_norm, sum, gradient_scale);
}

__global__ __launch_bounds__(kThreads, 4) void ema_step(int64_t count, const EmaWeights* __restrict__ weights,
                                                        const float* __restrict__ source, float* __restrict__ target) {
  const int64_t i = element_index();
  if (i < count) target[i] = weights->keep * target[i] + weights->rest * source[i];
}

void ema(Queue& queue, int64_t count, const EmaWeights* weights, const float* source, float* target) {
  if (count == 0) return;
  launch(queue, one_thread_each(count), ema_step, count, weights, source, target);
}

}  // namespace

extern const OptimizerKernels optimizer{
    .adam = adam, .sgd = sgd, .lars = lars, .sum_of_squares = sum_of_squares, .limit_norm = limit_norm, .ema = ema};

}  // namespace systole::kernels::SYSTOLE_TARGET
