// What the gradients of NT-Xent and of losses over pairs share on the cuda and simt devices: the product of a block's
// weights with rows, which never leave the block, and the sum over the parts that columns are cut into.
#pragma once

#include "kernels/common/launch.h"
#include "kernels/contrastive/packed_rows.h"

namespace systole::kernels::SYSTOLE_TARGET {

inline constexpr int kFinishThreads = 256;  // one element each

template <Precision P>
struct MixShared {
  Stage<P> stage[2];
  FactorTile<P, kTile, kTile> weights;
};

/// Block (stripe · chunks + chunk, part): out[part, i, d] = Σ_j w_ij y_j[d] over the tiles of columns of the part, for
/// 64 rows i of x and 128 columns d. weigh(s, row, column, weights) turns a tile of similarities into w_ij; it is zero
/// outside of the matrix. out is [parts, x.padded_M, y.transposed_rows].
template <Precision P, class Weigh>
__device__ __forceinline__ void mix_tiles(const PackedRows<P>& x, const PackedRows<P>& y, const Weigh& weigh,
                                          float* __restrict__ out) {
  using GradientTile = ProductTile<kTile, kGradientColumns>;
  auto& shared = *dynamic_shared<MixShared<P>>();
  const int chunks = y.transposed_rows / kGradientColumns, tiles = y.padded_M / kTile;
  const int row = static_cast<int>(blockIdx.x) / chunks * kTile;
  const int first_d = static_cast<int>(blockIdx.x) % chunks * kGradientColumns;
  const int64_t parts = gridDim.y, part = blockIdx.y;
  const int begin = static_cast<int>(tiles * part / parts), end = static_cast<int>(tiles * (part + 1) / parts);
  const size_t pitch = static_cast<size_t>(y.padded_M);

  GradientTile gradient;
  for (int column = begin * kTile; column < end * kTile; column += kTile) {
    {
      SimilarityTile s;
      similarity_tile<P>(x, y, row, column, shared.stage, s);
      weigh(s, row, column, shared.weights);
    }
    const Factor<P>* from_y = y.transposed + static_cast<size_t>(first_d) * pitch + column;
    stream_steps<P>(  // its first barrier also ends the writing of the weights
        shared.stage, kTile / kProductDepth,
        [&](int step, Stage<P>& to) {
          start_copies<P, kGradientColumns>(from_y + step * kProductDepth, pitch, to.value[0]);
        },
        [&](int step, const Stage<P>& from) {
          gradient.template add<P>(shared.weights.value[0] + step * kProductDepth, shared.weights.kPitch, from.value[0],
                                   from.kPitch);
        });
  }

  const size_t first = static_cast<size_t>(part) * static_cast<size_t>(x.padded_M) + static_cast<size_t>(row);
  float* own = out + first * static_cast<size_t>(y.transposed_rows) + first_d;
#pragma unroll
  for (int r = 0; r < GradientTile::kR; ++r)
#pragma unroll
    for (int c = 0; c < GradientTile::kC; ++c)
      own[static_cast<size_t>(GradientTile::row(r)) * y.transposed_rows + GradientTile::column(c)] = gradient.at(r, c);
}

/// dx (+)= upstream · c / count · Σ_part out: one thread per element.
__global__ void finish_gradient(const float* __restrict__ out,  // as mix_tiles writes it
                                int parts, int padded_M, int columns, int M, int D, const float* __restrict__ upstream,
                                float temperature, double count,
                                float* __restrict__ dx,  // [M, D]
                                GradientMode mode);

}  // namespace systole::kernels::SYSTOLE_TARGET
