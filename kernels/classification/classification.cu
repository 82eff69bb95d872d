// Binary cross-entropies on the cuda and simt devices, by the formulas of the cpu's (README.md): every element in
// double, since logits are few (records × classes) and a GPU for training has the units for it. A block adds up a piece
// of 1024 elements; a second kernel adds the pieces in order.

#include "kernels/classification/classification.h"
#include "kernels/common/collectives.h"
#include "kernels/common/launch.h"
#include "kernels/common/mean_of_pieces.h"
#include "kernels/common/memory.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 1024;  // elements of a block

using DoubleSum = BlockSumScratch<double>;

struct Element {
  double loss, slope;  // l and dl/dx
};

__device__ __forceinline__ double softplus(double x) {
  return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

__device__ Element evaluate(double x, double y, double positive_weight, double negative_weight, double gamma) {
  const double a = softplus(-x), b = softplus(x);
  const double p = exp(-a), q = exp(-b);  // q = 1 − p without cancellation
  const double positive = positive_weight * y * exp(-gamma * b);
  const double negative = negative_weight * (1 - y) * exp(-gamma * a);
  return {positive * a + negative * b, positive * (-gamma * p * a - q) + negative * (gamma * q * b + p)};
}

/// The inputs of a call; element i of N·C belongs to class i mod C.
struct Inputs {
  int64_t count;
  int C;
  float gamma;
  const float *logits, *targets;                   // [N, C]
  const float *positive_weight, *negative_weight;  // [C] or null

  __device__ __forceinline__ Element at(int64_t i) const {
    const int64_t c = i % C;
    return evaluate(logits[i], targets[i], positive_weight ? positive_weight[c] : 1,
                    negative_weight ? negative_weight[c] : 1, gamma);
  }
};

__global__ __launch_bounds__(kThreads, 4) void loss_of_pieces(Inputs inputs, double* __restrict__ part) {  // [pieces]
  const int64_t begin = int64_t{blockIdx.x} * kPiece;
  const int64_t end = begin + kPiece < inputs.count ? begin + kPiece : inputs.count;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += inputs.at(i).loss;
  sum = block_sum(sum, *dynamic_shared<DoubleSum>());
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

/// One thread per element.
__global__ __launch_bounds__(kThreads, 4) void slopes(Inputs inputs, const float* __restrict__ upstream,
                                                      float* __restrict__ dlogits,  // [N, C]
                                                      GradientMode mode) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= inputs.count) return;
  const double scale = *upstream / static_cast<double>(inputs.count);
  const float slope = static_cast<float>(scale * inputs.at(i).slope);
  dlogits[i] = mode == GradientMode::accumulate ? dlogits[i] + slope : slope;
}

Inputs inputs_of(const BceShape& shape, const float* logits, const float* targets, const float* positive_weight,
                 const float* negative_weight) {
  check(shape);
  return {int64_t{shape.N} * shape.C, shape.C, shape.gamma, logits, targets, positive_weight, negative_weight};
}

void bce_forward(Queue& queue, const BceShape& shape, const float* logits, const float* targets,
                 const float* positive_weight, const float* negative_weight, float* loss) {
  const Inputs inputs = inputs_of(shape, logits, targets, positive_weight, negative_weight);
  const int64_t pieces = ceil_div(inputs.count, int64_t{kPiece});
  auto* part = scratch<double>(queue, static_cast<size_t>(pieces));
  launch(queue, {.grid = {pieces}, .block = {kThreads}, .shared_bytes = sizeof(DoubleSum)}, loss_of_pieces, inputs,
         part);
  launch_mean_of_pieces(queue, part, pieces, inputs.count, loss);
}

void bce_backward(Queue& queue, const BceShape& shape, const float* logits, const float* targets,
                  const float* positive_weight, const float* negative_weight, const float* upstream, float* dlogits,
                  GradientMode mode) {
  const Inputs inputs = inputs_of(shape, logits, targets, positive_weight, negative_weight);
  launch(queue, {.grid = {ceil_div(inputs.count, int64_t{kThreads})}, .block = {kThreads}}, slopes, inputs, upstream,
         dlogits, mode);
}

}  // namespace

extern const ClassificationKernels classification{.bce_forward = bce_forward, .bce_backward = bce_backward};

}  // namespace systole::kernels::SYSTOLE_TARGET
