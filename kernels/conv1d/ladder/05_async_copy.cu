// Step 5. The next round's data is copied while this round is multiplied.
//
// In steps 3 and 4 a block loads, waits, multiplies, waits: a load from L2 or memory takes hundreds of cycles, in which
// this block does nothing. Here shared memory holds two stages, each with slab and weights of one round (8 input
// channels, up to 8 taps), and cp.async fills one while the other is used:
//
//   copy       | round 0 | round 1      | round 2      | round 3 …
//   multiply             | round 0      | round 1      | round 2 …
//                stage 0   stage 1 ← 0    stage 0 ← 1    …
//
// Two more things follow from the weights being in shared memory as well. All threads of the block share them: a weight
// is copied once per 64 positions, where step 4 loaded it once per 8. And both operands can be read as float4: for four
// input channels a thread needs 8 + 4 loads for 128 multiply-adds, where step 4 had 48. The thread's four channels are
// neighbours now: tx·4 … tx·4 + 3.
//
// cp.async copies 16 bytes at once where rows start at multiples of 16 bytes, that is where C_in and C_out are
// multiples of 4; otherwise 4 bytes.

#include "kernels/conv1d/ladder/async_copy.h"
#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

constexpr int kPositions = 64, kChannels = 64, kThreadPositions = 8;
constexpr int kAcross = kChannels / 4, kDown = kPositions / kThreadPositions;
constexpr int kThreads = kAcross * kDown;

using Round = Stage<160, 8, 8, kChannels, 4, 0>;  // rows, taps, input channels, output channels
struct Shared {
  Round stage[2];
};

__device__ __forceinline__ float4 vector_at(const float& first) {
  return *reinterpret_cast<const float4*>(&first);
}

__device__ __forceinline__ void add_product(float4& sum, float a, const float4& b) {
  sum.x += a * b.x;
  sum.y += a * b.y;
  sum.z += a * b.z;
  sum.w += a * b.w;
}

template <int Vector>
__global__ void __launch_bounds__(kThreads, 4) two_stages(const float* __restrict__ x,  // [N, L, C_in]
                                                          const float* __restrict__ w,  // [K, C_in, C_out]
                                                          float* __restrict__ y,        // [N, L_out, C_out]
                                                          Conv1dShape s, Tiling t) {
  auto& shared = *dynamic_shared<Shared>();
  const TileOrigin tile{blockIdx.x / t.tiles, static_cast<int>(blockIdx.x % t.tiles) * t.positions,
                        static_cast<int>(blockIdx.y) * kChannels};
  const int tx = threadIdx.x % kAcross, ty = threadIdx.x / kAcross;
  int window[kThreadPositions];
  for (int i = 0; i < kThreadPositions; ++i) window[i] = window_row(ty + i * kDown, t, s.stride);

  float4 sum[kThreadPositions] = {};
  const int rounds = t.channel_rounds * t.tap_rounds;
  copy_round<Vector, kThreads>(0, shared.stage[0], x, w, s, t, tile);
  for (int round = 0; round < rounds; ++round) {
    if (round + 1 < rounds) {
      copy_round<Vector, kThreads>(round + 1, shared.stage[(round + 1) % 2], x, w, s, t, tile);
      cp_async_wait<1>();  // all but the last group: this round is there
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();

    const Round& stage = shared.stage[round % 2];
    for (int k = 0; k < t.taps; ++k)  // weights of taps ≥ K are zero
      for (int c = 0; c < Round::kDepth; c += 4) {
        float4 b[4];
        for (int q = 0; q < 4; ++q) b[q] = vector_at(stage.weights[k][c + q][tx * 4]);
        for (int i = 0; i < kThreadPositions; ++i) {
          const float4 a = vector_at(stage.slab[window[i] + k * s.dilation][c]);
          add_product(sum[i], a.x, b[0]);
          add_product(sum[i], a.y, b[1]);
          add_product(sum[i], a.z, b[2]);
          add_product(sum[i], a.w, b[3]);
        }
      }
    __syncthreads();  // the next copy overwrites this stage
  }

  for (int i = 0; i < kThreadPositions; ++i) {
    const int p = ty + i * kDown, l = tile.position + p, o = tile.channel + tx * 4;
    if (p >= t.positions || l >= t.L_out) continue;
    float* to = y + (tile.n * t.L_out + l) * s.C_out + o;
    const float values[] = {sum[i].x, sum[i].y, sum[i].z, sum[i].w};
    for (int j = 0; j < 4; ++j)
      if (o + j < s.C_out) to[j] = values[j];
  }
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  const Tiling t = tiling_of(s, kPositions, Round::kRows, Round::kTaps, Round::kDepth);
  const Launch shape{.grid = grid_of(s, t, kChannels), .block = {kThreads}, .shared_bytes = sizeof(Shared)};
  launch(queue, shape, rows_are_aligned(s, x, w) ? two_stages<4> : two_stages<1>, x, w, y, s, t);
}

}  // namespace

extern const Step async_copy{"05 async copy",
                             "cp.async brings the next round's rows and weights while this one is multiplied",
                             Precision::f32, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
