// Step 7. Operands are rounded once, to bf16, and ldmatrix hands them to the tensor cores.
//
// Step 6 rounded a value each time a fragment was read: a row of x about 2·K times in each block. Here the threads
// load f32 from global memory, round it, and write two bf16 in one word into the operand slab. That halves the shared
// memory per value, and m16n8k16 multiplies twice the depth of m16n8k8 in one instruction.
//
// ldmatrix loads four 8 × 8 matrices of 16-bit values with one instruction. Each lane gives the address of one row:
//
//   lanes  0 …  7   positions 0 … 7,  channels 0 … 7     → a0
//   lanes  8 … 15   positions 8 … 15, channels 0 … 7     → a1     The rows need not be neighbours: a lane gives the
//   lanes 16 … 23   positions 0 … 7,  channels 8 … 15    → a2     address of its position's window, so stride and
//   lanes 24 … 31   positions 8 … 15, channels 8 … 15    → a3     dilation cost nothing.
//
// The weights lie as [c][o], and mma wants pairs along c: ldmatrix transposes them on the way.
// A warp's inner loop is, per tap and 16 input channels, 4 ldmatrix and 8 mma, on a tile of 32 × 32 as before. (Step 6,
// for the same work: 32 loads, 32 roundings, and 16 mma of half the depth.)
//
// The price: data passes through registers again, so a block waits for its loads (the blocks of a multiprocessor take
// turns), and every block rounds the same weights anew. conv1d.cu rounds them once per call and copies them.

#include "kernels/conv1d/ladder/bf16_tile.h"
#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

__global__ void __launch_bounds__(kThreads, 4) bf16_operands(const float* __restrict__ x,  // [N, L, C_in]
                                                             const float* __restrict__ w,  // [K, C_in, C_out]
                                                             float* __restrict__ y,        // [N, L_out, C_out]
                                                             Conv1dShape s, Tiling t) {
  auto& operands = *dynamic_shared<Operands>();
  const int64_t n = blockIdx.x / t.tiles;
  const int first_position = blockIdx.x % t.tiles * t.positions;
  const int o0 = blockIdx.y * kChannels;
  WarpTile tile(t, s.stride);

  for (int c0 = 0; c0 < s.C_in; c0 += kDepth)
    for (int k0 = 0; k0 < s.K; k0 += t.taps) {
      __syncthreads();  // the last round's readers are done
      const int first_row = first_position * s.stride + k0 * s.dilation - s.padding;
      for (int i = threadIdx.x; i < t.rows * (kDepth / 2); i += kThreads) {
        const int r = i / (kDepth / 2), pair = i % (kDepth / 2), row = first_row + r, c = c0 + 2 * pair;
        const bool inside = row >= 0 && row < s.L;
        const float* from = x + (n * s.L + row) * s.C_in + c;
        operands.slab[r][pair] = pack_bf16(inside && c < s.C_in ? from[0] : 0, inside && c + 1 < s.C_in ? from[1] : 0);
      }
      fill_weights(operands, w, s, t.taps, k0, c0, o0);
      __syncthreads();
      tile.multiply(operands, t.taps, s.dilation);
    }

  for (int i = 0; i < kDown; ++i)
    for (int j = 0; j < kAcross; ++j)
      for (int q = 0; q < 4; ++q) {
        const int p = tile.position_of(i, q), l = first_position + p, o = o0 + tile.channel_of(j, q);
        if (p < t.positions && l < t.L_out && o < s.C_out) y[(n * t.L_out + l) * s.C_out + o] = tile.sum[i][j][q];
      }
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  const Tiling t = tiling_of(s, kPositions, kRows, kTaps, kDepth);
  launch(queue, {.grid = grid_of(s, t, kChannels), .block = {kThreads}, .shared_bytes = sizeof(Operands)},
         bf16_operands, x, w, y, s, t);
}

}  // namespace

extern const Step tensor_core_bf16{"07 tensor core bf16", "operands rounded once, read by ldmatrix, mma m16n8k16",
                                   Precision::bf16, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
