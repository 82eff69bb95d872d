// The sigmoid loss on the cuda and simt devices (sigmoid_loss.h has the formulas, pair_walk.cuh how tiles are gone
// through).
//
// A pair costs one exponential in either pass. Its logarithm would cost more than that, so a thread takes one for all
// its pairs of a tile: Σ log(1 + e) = log Π (1 + e). It keeps Π − 1, in which a small e is not lost.

#include <cstddef>

#include "kernels/common/collectives.h"
#include "kernels/contrastive/pair_walk.cuh"
#include "kernels/contrastive/sigmoid_loss.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr float kLog2E = 1.44269504f;

/// What a pair's similarity says.
struct SigmoidTerms {
  float scale, bias;

  /// a_ij.
  __device__ __forceinline__ float against(float s, bool positive) const {
    const float logit = s * scale + bias;
    return positive ? -logit : logit;
  }
};

SigmoidTerms terms_of(const SigmoidShape& shape) {
  return {static_cast<float>(1 / double{shape.pairs.temperature}), shape.bias};
}

/// Σ softplus(a) = Σ max(a, 0) + log Π (1 + e^−|a|), over one thread's pairs of a tile.
struct SoftplusSum {
  static_assert(SimilarityTile::kR * SimilarityTile::kC <= 64, "the product is at most 2 to that power");
  float linear = 0, product = 0;  // Π − 1

  __device__ __forceinline__ void add(float a) {
    const float e = exp2_approx(-fabsf(a) * kLog2E);
    linear += fmaxf(a, 0.0f);
    product += product * e + e;
  }
  __device__ __forceinline__ float value() const { return linear + log1pf(product); }
};

template <Precision P>
struct LossShared {
  Stage<P> stage[2];
  BlockSumScratch<double> sum;
};

/// Block (I, p): the losses of 64 rows with the column tiles of part p.
template <Precision P>
__global__ __launch_bounds__(kProductThreads, 2) void sum_losses(PackedRows<P> x, PackedRows<P> y, Pairs pairs,
                                                                 SigmoidTerms terms,
                                                                 double* __restrict__ loss) {  // [blocks]
  auto& shared = *dynamic_shared<LossShared<P>>();
  double sum = 0;
  for_each_tile<P>(x, y, shared.stage, [&](SimilarityTile& tile, int row, int column) {
    SoftplusSum of_tile;
    for_each_pair(tile, pairs, row, column,
                  [&](int, float s, bool positive) { of_tile.add(terms.against(s, positive)); });
    sum += double{of_tile.value()};
  });
  sum = block_sum(sum, shared.sum);
  if (threadIdx.x == 0) loss[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

/// w_ij, for store_weights: rows and columns have nothing of their own in it.
struct SigmoidWeight {
  struct Row {};
  SigmoidTerms terms;

  __device__ __forceinline__ Row row(int) const { return {}; }
  __device__ __forceinline__ Row column(int) const { return {}; }
  __device__ __forceinline__ float operator()(float s, bool positive, Row, Row) const {
    const float slope = 1.0f / (1.0f + exp2_approx(terms.against(s, positive) * -kLog2E));
    return positive ? -slope : slope;
  }
};

template <Precision P>
struct WeightShared {
  MixShared<P> mix;  // first: mix_tiles takes it for all there is
  BlockSumScratch<double> sum;
};

/// out = Σ_j w_ij y_j, in parts, by blocks as in mix_tiles; bias: the sum of a block's weights. Blocks that differ only
/// in their columns of dx have the same.
template <Precision P>
__global__ __launch_bounds__(kProductThreads, 2) void mix_columns(PackedRows<P> x, PackedRows<P> y, Pairs pairs,
                                                                  SigmoidTerms terms,
                                                                  float* __restrict__ out,  // [parts, padded A, chunks]
                                                                  double* __restrict__ bias) {  // [blocks]
  const SigmoidWeight weight{terms};
  double sum = 0;
  mix_tiles<P>(
      x, y,
      [&](SimilarityTile& s, int row, int column, FactorTile<P, kTile, kTile>& weights) {
        sum += double{store_weights<P>(s, pairs, row, column, weight, weights)};
      },
      out);
  sum = block_sum(sum, dynamic_shared<WeightShared<P>>()->sum);
  if (threadIdx.x == 0) bias[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

void sigmoid_loss_of_pairs(Queue& queue, const SigmoidShape& shape, const float* x, const float* y,
                           const int32_t* row_ids, const int32_t* column_ids, float* loss, GradientMode mode) {
  check(shape);
  with_precision(queue.precision(), [&]<Precision P>() {
    ScratchLayout layout;
    PairPass<P> pass = plan_pass<P>(layout, shape.pairs, PassKind::sums);
    const size_t part_at = layout.add<double>(pass.blocks());
    auto* memory = scratch<std::byte>(queue, layout.bytes());
    auto* part = reinterpret_cast<double*>(memory + part_at);

    pack(queue, x, y, memory, pass);
    launch(queue, {.grid = pass.grid, .block = {kProductThreads}, .shared_bytes = sizeof(LossShared<P>)}, sum_losses<P>,
           pass.x, pass.y, pairs_of(shape.pairs, row_ids, column_ids), terms_of(shape), part);
    add_parts(queue, part, pass.blocks(), 1 / static_cast<double>(shape.count), nullptr, loss, mode);
  });
}

void sigmoid_gradient(Queue& queue, const SigmoidShape& shape, const float* x, const float* y, const int32_t* row_ids,
                      const int32_t* column_ids, const float* upstream, float* dx, float* dbias, GradientMode mode) {
  check(shape);
  const double count = static_cast<double>(shape.count), roles = shape.pairs.same_rows ? 2 : 1;
  with_precision(queue.precision(), [&]<Precision P>() {
    ScratchLayout layout;
    PairPass<P> pass = plan_pass<P>(layout, shape.pairs, PassKind::gradient);
    const size_t out_at = layout.add<float>(pass.mixed()), bias_at = layout.add<double>(pass.blocks());
    auto* memory = scratch<std::byte>(queue, layout.bytes());
    auto* out = reinterpret_cast<float*>(memory + out_at);
    auto* bias = reinterpret_cast<double*>(memory + bias_at);

    pack(queue, x, y, memory, pass);
    launch(queue, {.grid = pass.grid, .block = {kProductThreads}, .shared_bytes = sizeof(WeightShared<P>)},
           mix_columns<P>, pass.x, pass.y, pairs_of(shape.pairs, row_ids, column_ids), terms_of(shape), out, bias);
    add_parts(queue, pass, out, upstream, shape.pairs.temperature, count / roles, dx, mode);
    if (dbias != nullptr) add_parts(queue, bias, pass.blocks(), 1 / (count * pass.chunks()), upstream, dbias, mode);
  });
}

}  // namespace

extern const SigmoidLossKernels sigmoid_loss{.loss = sigmoid_loss_of_pairs, .gradient = sigmoid_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET
