// Step 3. A slab of rows in shared memory serves all taps and all output channels of a tile.
//
// A block computes 16 positions × 32 channels of one record. Their windows overlap: together they span only
// 15·stride + (K−1)·dilation + 1 rows, and all 32 channels read the same ones. The block copies these rows once, 32
// input channels at a time, and every thread takes its windows from the copy:
//
//   x in global memory            the slab, 32 channels of it               outputs, one a thread
//   rows l0·stride − padding …  → [22 rows for K = 7, stride 1][32]  →      [16 positions][32 channels], a warp a row
//
// Padding becomes rows of zeros in the slab, so the loops below test no borders.
//
// Each float of x is loaded 1.4 times per tile of channels where step 2 loaded it K·C_out times. Yet the inner loop
// still has two loads for one multiply-add: one from shared memory, and one of a weight, which comes from L1. So the
// traffic to L2 falls, but not the number of load instructions.

#include "kernels/conv1d/ladder/ladder.h"
#include "kernels/conv1d/ladder/tiling.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

constexpr int kPositions = 16, kChannels = 32;  // of a tile; one thread each
constexpr int kThreads = kPositions * kChannels;
constexpr int kRows = 160, kDepth = 32;  // the slab: rows, and input channels a round

struct Shared {
  float slab[kRows][kDepth];
};

__global__ void __launch_bounds__(kThreads, 2) slab_for_a_tile(const float* __restrict__ x,  // [N, L, C_in]
                                                               const float* __restrict__ w,  // [K, C_in, C_out]
                                                               float* __restrict__ y,        // [N, L_out, C_out]
                                                               Conv1dShape s, Tiling t) {
  auto& shared = *dynamic_shared<Shared>();
  const int64_t n = blockIdx.x / t.tiles;
  const int first_position = blockIdx.x % t.tiles * t.positions;
  const float* record = x + n * s.L * s.C_in;  // [L, C_in]

  const int p = threadIdx.x / kChannels;
  const int l = first_position + p;
  const int o = blockIdx.y * kChannels + threadIdx.x % kChannels;
  const bool has_output = p < t.positions && l < t.L_out && o < s.C_out;

  float sum = 0;
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

      if (!has_output) continue;  // to the next barrier
      const int taps = s.K - k0 < t.taps ? s.K - k0 : t.taps;
      const int channels = s.C_in - c0 < kDepth ? s.C_in - c0 : kDepth;
      for (int k = 0; k < taps; ++k) {
        const float* value = shared.slab[p * s.stride + k * s.dilation];  // the same for the whole warp: a broadcast
        const float* weight = w + (int64_t{k0 + k} * s.C_in + c0) * s.C_out + o;
        for (int c = 0; c < channels; ++c, weight += s.C_out) sum += value[c] * *weight;
      }
    }
  if (has_output) y[(n * t.L_out + l) * s.C_out + o] = sum;
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  const Tiling t = tiling_of(s, kPositions, kRows, s.K, kDepth);
  launch(queue, {.grid = grid_of(s, t, kChannels), .block = {kThreads}, .shared_bytes = sizeof(Shared)},
         slab_for_a_tile, x, w, y, s, t);
}

}  // namespace

extern const Step shared_slab{"03 shared slab", "rows in shared memory serve all taps and all channels of a tile",
                              Precision::f32, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
