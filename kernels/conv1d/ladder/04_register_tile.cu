// Step 4. Each thread computes 8 positions × 4 channels, whose sums stay in registers.
//
// A value that is in a register costs nothing to use again. With one output a thread, every load serves one
// multiply-add. With a tile of 8 × 4 outputs, 8 values of x and 4 weights serve 32:
//
//                 b0   b1   b2   b3       4 weights: w[k, c, o], o = tx, tx+16, tx+32, tx+48
//          a0  [ sum  sum  sum  sum ]
//          a1  [ sum  sum  sum  sum ]     per (k, c): 8 + 4 loads, 32 multiply-adds
//          …   [  …    …    …    …  ]     (step 3: 64 loads for 32)
//          a7  [ sum  sum  sum  sum ]
//          8 values of x, from the slab: positions ty, ty+8, … ty+56
//
// and these 32 multiply-adds do not depend on each other, so the pipeline is full even with few warps.
// A block of 128 threads is 8 (ty) × 16 (tx): a tile of 64 positions × 64 channels. From here on all steps have this
// tile, so that what a step gains is due to its idea. A thread's channels lie 16 apart: at each load, 16 threads read
// 16 neighbouring weights.
//
// Where a tile reaches past the last position or channel, threads compute on the last one again and do not store it.

#include "kernels/conv1d/ladder/ladder.h"
#include "kernels/conv1d/ladder/tiling.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

constexpr int kPositions = 64, kChannels = 64;            // of a block's tile
constexpr int kThreadPositions = 8, kThreadChannels = 4;  // of a thread's
constexpr int kAcross = kChannels / kThreadChannels, kDown = kPositions / kThreadPositions;
constexpr int kThreads = kAcross * kDown;
constexpr int kRows = 160, kDepth = 32;

struct Shared {
  float slab[kRows][kDepth + 1];  // one more: rows start in different banks
};

__global__ void __launch_bounds__(kThreads, 4) tile_in_registers(const float* __restrict__ x,  // [N, L, C_in]
                                                                 const float* __restrict__ w,  // [K, C_in, C_out]
                                                                 float* __restrict__ y,        // [N, L_out, C_out]
                                                                 Conv1dShape s, Tiling t) {
  auto& shared = *dynamic_shared<Shared>();
  const int64_t n = blockIdx.x / t.tiles;
  const int first_position = blockIdx.x % t.tiles * t.positions;
  const float* record = x + n * s.L * s.C_in;  // [L, C_in]
  const int tx = threadIdx.x % kAcross, ty = threadIdx.x / kAcross;

  int window[kThreadPositions], channel[kThreadChannels];
  for (int i = 0; i < kThreadPositions; ++i) window[i] = window_row(ty + i * kDown, t, s.stride);
  for (int j = 0; j < kThreadChannels; ++j) {
    const int o = blockIdx.y * kChannels + tx + j * kAcross;
    channel[j] = o < s.C_out ? o : s.C_out - 1;
  }

  float sum[kThreadPositions][kThreadChannels] = {};
  for (int c0 = 0; c0 < s.C_in; c0 += kDepth)
    for (int k0 = 0; k0 < s.K; k0 += t.taps) {
      __syncthreads();  // the last round's readers are done
      const int first_row = first_position * s.stride + k0 * s.dilation - s.padding;
      for (int i = threadIdx.x; i < t.rows * kDepth; i += kThreads) {
        const int r = i / kDepth, c = i % kDepth, row = first_row + r;
        const bool inside = row >= 0 && row < s.L && c0 + c < s.C_in;
        shared.slab[r][c] = inside ? record[int64_t{row} * s.C_in + c0 + c] : 0;
      }
      __syncthreads();

      const int taps = s.K - k0 < t.taps ? s.K - k0 : t.taps;
      const int channels = s.C_in - c0 < kDepth ? s.C_in - c0 : kDepth;
      for (int k = 0; k < taps; ++k)
        for (int c = 0; c < channels; ++c) {
          const float* weights = w + (int64_t{k0 + k} * s.C_in + c0 + c) * s.C_out;  // [C_out]
          float b[kThreadChannels];
          for (int j = 0; j < kThreadChannels; ++j) b[j] = weights[channel[j]];
          for (int i = 0; i < kThreadPositions; ++i) {
            const float a = shared.slab[window[i] + k * s.dilation][c];
            for (int j = 0; j < kThreadChannels; ++j) sum[i][j] += a * b[j];
          }
        }
    }

  for (int i = 0; i < kThreadPositions; ++i)
    for (int j = 0; j < kThreadChannels; ++j) {
      const int p = ty + i * kDown, l = first_position + p, o = blockIdx.y * kChannels + tx + j * kAcross;
      if (p < t.positions && l < t.L_out && o < s.C_out) y[(n * t.L_out + l) * s.C_out + o] = sum[i][j];
    }
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  const Tiling t = tiling_of(s, kPositions, kRows, s.K, kDepth);
  launch(queue, {.grid = grid_of(s, t, kChannels), .block = {kThreads}, .shared_bytes = sizeof(Shared)},
         tile_in_registers, x, w, y, s, t);
}

}  // namespace

extern const Step register_tile{"04 register tile", "8 positions × 4 channels a thread: 12 loads for 32 multiply-adds",
                                Precision::f32, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
