// Masked reconstruction on cuda and simt. Each thread has one value, neighbours have neighbouring addresses; what
// counts is the traffic. The error is summed in two steps: a block adds up a piece, then one block adds the pieces in
// order.

#include "kernels/common/channel_runs.h"
#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/mean_of_pieces.h"
#include "kernels/common/memory.h"
#include "kernels/reconstruction/reconstruction.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 4096;  // values of a block

using DoubleSum = BlockSumScratch<double>;

/// blockIdx.x: the record; blockIdx.y: 256 values of it. All threads of a block of time draw the same number: it is
/// cheaper to draw it again than to fetch it.
template <class S>
__global__ __launch_bounds__(kThreads, 4) void mask(BlockMaskShape s, const S* x,  // [N, L, C]
                                                    S* y) {                        // [N, L, C], may be x
  const int64_t i = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (i >= int64_t{s.L} * s.C) return;
  const RandomStream stream(s.seed, Purpose::block_mask, s.step, blockIdx.x);
  const auto draw = static_cast<uint32_t>(i / (int64_t{s.block} * s.C));
  const bool masked = RandomStream::to_uniform(stream.block(draw / 4).word[draw % 4]) < s.p;
  const int64_t at = int64_t{blockIdx.x} * s.L * s.C + i;
  y[at] = masked ? S{} : x[at];
}

void mask_blocks(Queue& queue, const BlockMaskShape& s, ConstSeries x, Series y) {
  with_storage({x, y}, [&]<class S>() {
    launch(queue, {.grid = {s.N, ceil_div(int64_t{s.L} * s.C, int64_t{kThreads})}, .block = {kThreads}}, mask<S>, s,
           x.as<S>(), y.as<S>());
  });
}

template <class S>
__device__ __forceinline__ float value(const S* x, int64_t i) {
  return load_floats<1>(x + i).lane[0];
}

template <class S>
__global__ __launch_bounds__(kThreads, 4) void error_of_pieces(int64_t count, const S* __restrict__ x,
                                                               const S* __restrict__ target,
                                                               double* __restrict__ part) {  // [pieces]
  const int64_t begin = int64_t{blockIdx.x} * kPiece;
  const int64_t end = begin + kPiece < count ? begin + kPiece : count;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const double difference = static_cast<double>(value(x, i)) - value(target, i);
    sum += difference * difference;
  }
  sum = block_sum(sum, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

template <class S>
__global__ __launch_bounds__(kThreads, 4) void slopes(int64_t count, const S* __restrict__ x,
                                                      const S* __restrict__ target, const float* __restrict__ upstream,
                                                      S* __restrict__ dx, GradientMode mode) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const auto slope = static_cast<float>(2.0 * *upstream / static_cast<double>(count));
  const float d = slope * (value(x, i) - value(target, i));
  store_floats(dx + i, Vector<1>{mode == GradientMode::accumulate ? value(dx, i) + d : d});
}

void squared_error_forward(Queue& queue, int64_t count, ConstSeries x, ConstSeries target, float* loss) {
  const int64_t pieces = ceil_div(count, int64_t{kPiece});
  auto* part = scratch<double>(queue, static_cast<size_t>(pieces));
  with_storage({x, target}, [&]<class S>() {
    launch(queue, {.grid = {pieces}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, error_of_pieces<S>, count,
           x.as<S>(), target.as<S>(), part);
  });
  launch_mean_of_pieces(queue, part, pieces, count, loss);
}

void squared_error_backward(Queue& queue, int64_t count, ConstSeries x, ConstSeries target, const float* upstream,
                            Series dx, GradientMode mode) {
  with_storage({x, target, dx}, [&]<class S>() {
    launch(queue, {.grid = {ceil_div(count, int64_t{kThreads})}, .block = {kThreads}}, slopes<S>, count, x.as<S>(),
           target.as<S>(), upstream, dx.as<S>(), mode);
  });
}

}  // namespace

extern const ReconstructionKernels reconstruction{
    .mask_blocks = mask_blocks,
    .squared_error_forward = squared_error_forward,
    .squared_error_backward = squared_error_backward,
};

}  // namespace systole::kernels::SYSTOLE_TARGET
