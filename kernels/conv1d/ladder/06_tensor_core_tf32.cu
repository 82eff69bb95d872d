// Step 6. Tensor cores multiply, in tf32.
//
// mma.sync m16n8k8 multiplies a 16 × 8 by an 8 × 8 matrix with one instruction of a whole warp: 1,024 multiply-adds,
// where an ordinary instruction of a warp is 32. The left matrix is the slab read through 16 windows, for one tap and
// 8 input channels; the right one is that tap's weights for 8 output channels:
//
//                              8 channels o         the block's 64 × 64 tile
//                             +----------+         +-------------+-------------+
//                8 channels c |   w[k]   |         | warp 0      | warp 1      |   a warp has 32 positions
//    8 channels c             +----------+         |  2 × 4 mma  |             |   × 32 channels:
//   +------------+            +----------+         +-------------+-------------+   2 × 4 products 16 × 8
//   | rows of    | 16         |          |         | warp 2      | warp 3      |
//   | the slab   | positions  |    y     |         |             |             |
//   +------------+            +----------+         +-------------+-------------+
//
// Taps only move the rows that are read: the slab is written once and multiplied K times. Which lane holds which
// element is fixed by the instruction (kernels/common/intrinsics.h): of the left matrix, lane 4·g + t brings rows g
// and g + 8, columns t and t + 4. tf32 keeps 10 of 23 bits of the mantissa; values are rounded here whenever a
// fragment is read. Sums are f32. The copies are step 5's.
//
// The paddings of the stage keep the 32 lanes in 32 banks. A row of the slab has 8 + 4 words: the 8 rows of a fragment
// start at banks 0, 12, 24, 4, 16, 28, 8, 20, and each takes 4. A row of the weights has 64 + 8: 4 rows start at banks
// 0, 8, 16, 24, and each takes 8. With stride 2 the slab's rows are read 24 words apart, and two of them collide.

#include "kernels/conv1d/ladder/async_copy.h"
#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

constexpr int kPositions = 64, kChannels = 64, kThreads = 128;
constexpr int kWarpPositions = 32, kWarpChannels = 32;
constexpr int kDown = kWarpPositions / 16, kAcross = kWarpChannels / 8;  // products of a warp

using Round = Stage<160, 8, 8, kChannels, 4, 8>;  // rows, taps, input channels, output channels, paddings
struct Shared {
  Round stage[2];
};

template <int Vector>
__global__ void __launch_bounds__(kThreads, 3) tensor_cores(const float* __restrict__ x,  // [N, L, C_in]
                                                            const float* __restrict__ w,  // [K, C_in, C_out]
                                                            float* __restrict__ y,        // [N, L_out, C_out]
                                                            Conv1dShape s, Tiling t) {
  auto& shared = *dynamic_shared<Shared>();
  const TileOrigin tile{blockIdx.x / t.tiles, static_cast<int>(blockIdx.x % t.tiles) * t.positions,
                        static_cast<int>(blockIdx.y) * kChannels};
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, lane_t = threadIdx.x % 4;
  const int p0 = warp / 2 * kWarpPositions + g, o0 = warp % 2 * kWarpChannels;
  int window[2 * kDown];  // of positions p0 + 8·i
  for (int i = 0; i < 2 * kDown; ++i) window[i] = window_row(p0 + 8 * i, t, s.stride);

  float sum[kDown][kAcross][4] = {};
  const int rounds = t.channel_rounds * t.tap_rounds;
  copy_round<Vector, kThreads>(0, shared.stage[0], x, w, s, t, tile);
  for (int round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) {
      copy_round<Vector, kThreads>(round + 1, shared.stage[(round + 1) % 2], x, w, s, t, tile);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();

    const Round& stage = shared.stage[round % 2];
    for (int k = 0; k < t.taps; ++k) {
      uint32_t a[kDown][4];
      for (int i = 0; i < kDown; ++i)
        for (int q = 0; q < 4; ++q)
          a[i][q] = tf32_bits(stage.slab[window[2 * i + q % 2] + k * s.dilation][lane_t + q / 2 * 4]);
      for (int j = 0; j < kAcross; ++j) {
        uint32_t b[2];
        for (int q = 0; q < 2; ++q) b[q] = tf32_bits(stage.weights[k][lane_t + q * 4][o0 + j * 8 + g]);
        for (int i = 0; i < kDown; ++i) mma_m16n8k8_tf32(sum[i][j], a[i], b);
      }
    }
    __syncthreads();  // the next copy overwrites this stage
  }

  for (int i = 0; i < kDown; ++i)
    for (int j = 0; j < kAcross; ++j)
      for (int q = 0; q < 4; ++q) {
        const int p = p0 + i * 16 + q / 2 * 8, l = tile.position + p;
        const int o = tile.channel + o0 + j * 8 + lane_t * 2 + q % 2;
        if (p < t.positions && l < t.L_out && o < s.C_out) y[(tile.n * t.L_out + l) * s.C_out + o] = sum[i][j][q];
      }
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  const Tiling t = tiling_of(s, kPositions, Round::kRows, Round::kTaps, Round::kDepth);
  const Launch shape{.grid = grid_of(s, t, kChannels), .block = {kThreads}, .shared_bytes = sizeof(Shared)};
  launch(queue, shape, rows_are_aligned(s, x, w) ? tensor_cores<4> : tensor_cores<1>, x, w, y, s, t);
}

}  // namespace

extern const Step tensor_core_tf32{"06 tensor core tf32", "mma m16n8k8 on the slab: 1,024 multiply-adds an instruction",
                                   Precision::tf32, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
