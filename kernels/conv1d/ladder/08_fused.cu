// Step 8. What surrounds the convolution is done while its data is at hand anyway.
//
// Between two convolutions of an encoder stand BatchNorm and ReLU. As kernels of their own they pass over the whole
// activation three times: read it for the statistics, read and write it to normalise. Here they cost no pass:
//
//   prologue   z = relu?(x · scale + shift) is computed between the load of x and its rounding into the slab.
//              Padding stays zero: it is the normalised signal that is padded.
//   epilogue   each warp takes mean and squared deviations of its 32 positions × 32 channels while the sums are in
//              registers; a second, small kernel merges a record's parts. These are BatchNorm's statistics:
//              mean[n, o] = (1/L_out) Σ_l y[n, l, o],   m2[n, o] = Σ_l (y[n, l, o] − mean[n, o])².
//
// Two parts with counts n_a, n_b merge exactly (Chan, Golub and LeVeque 1979): with δ = mean_b − mean_a, n = n_a + n_b
//   mean = mean_a + δ · n_b / n,   m2 = m2_a + m2_b + δ² · n_a · n_b / n
// and no E[y²] − E[y]², which loses everything when the mean is large. The order is fixed, so are the bits.

#include <cmath>

#include "kernels/common/memory.h"
#include "kernels/conv1d/ladder/bf16_tile.h"
#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

__global__ void __launch_bounds__(kThreads, 4) normalise_and_multiply(const float* __restrict__ x,  // [N, L, C_in]
                                                                      PendingAffine pending,
                                                                      const float* __restrict__ w,  // [K, C_in, C_out]
                                                                      float* __restrict__ y,        // [N, L_out, C_out]
                                                                      float2* __restrict__ parts,   // [N, parts, C_out]
                                                                      Conv1dShape s, Tiling t) {
  auto& operands = *dynamic_shared<Operands>();
  const int64_t n = blockIdx.x / t.tiles;
  const int tile_number = blockIdx.x % t.tiles, first_position = tile_number * t.positions;
  const int o0 = blockIdx.y * kChannels;
  const int64_t group = n / (s.N / pending.groups) * s.C_in;
  WarpTile tile(t, s.stride);

  const auto z = [&](int row, int c) -> float {
    if (row < 0 || row >= s.L || c >= s.C_in) return 0;
    const float value = x[(n * s.L + row) * s.C_in + c];
    if (!pending.scale) return value;
    const float normalised = fmaf(value, pending.scale[group + c], pending.shift[group + c]);
    return pending.relu && normalised < 0 ? 0 : normalised;  // a NaN stays
  };
  for (int c0 = 0; c0 < s.C_in; c0 += kDepth)
    for (int k0 = 0; k0 < s.K; k0 += t.taps) {
      __syncthreads();  // the last round's readers are done
      const int first_row = first_position * s.stride + k0 * s.dilation - s.padding;
      for (int i = threadIdx.x; i < t.rows * (kDepth / 2); i += kThreads) {
        const int r = i / (kDepth / 2), pair = i % (kDepth / 2), c = c0 + 2 * pair;
        operands.slab[r][pair] = pack_bf16(z(first_row + r, c), z(first_row + r, c + 1));
      }
      fill_weights(operands, w, s, t.taps, k0, c0, o0);
      __syncthreads();
      tile.multiply(operands, t.taps, s.dilation);
    }

  const int part = tile_number * kParts + tile.position / kWarpPositions, count = count_of(part, t);
  for (int j = 0; j < kAcross; ++j)
    for (int column = 0; column < 2; ++column) {  // the lane's two channels of product j
      const int o = o0 + tile.channel_of(j, column);
      float sum = 0, m2 = 0;
      for (int q = column; q < 4 * kDown; q += 2)
        if (tile.position_of(q / 4, q % 4) - tile.position < count) sum += tile.sum[q / 4][j][q % 4];
      const float mean = sum_over_positions(sum) / (count > 0 ? count : 1);
      for (int q = column; q < 4 * kDown; q += 2) {
        const int p = tile.position_of(q / 4, q % 4);
        const float value = tile.sum[q / 4][j][q % 4];
        if (p - tile.position >= count) continue;
        m2 += (value - mean) * (value - mean);
        if (o < s.C_out) y[(n * t.L_out + first_position + p) * s.C_out + o] = value;
      }
      m2 = sum_over_positions(m2);
      if (parts && o < s.C_out && threadIdx.x % 32 < 4)
        parts[(n * t.tiles * kParts + part) * s.C_out + o] = make_float2(mean, m2);
    }
}

__global__ void __launch_bounds__(kThreads) merge_parts(const float2* __restrict__ parts,  // [N, parts, C_out]
                                                        RecordMoments moments, int C_out, Tiling t) {
  const int64_t n = blockIdx.x;
  const int o = blockIdx.y * kThreads + threadIdx.x;
  if (o >= C_out) return;
  float count = 0, mean = 0, m2 = 0;
  for (int part = 0; part < t.tiles * kParts; ++part) {
    const float more = count_of(part, t);
    if (more == 0) continue;
    const float2 other = parts[(n * t.tiles * kParts + part) * C_out + o];
    const float delta = other.x - mean, share = more / (count + more);
    mean += delta * share;
    m2 += other.y + delta * delta * count * share;
    count += more;
  }
  moments.mean[n * C_out + o] = mean;
  moments.m2[n * C_out + o] = m2;
}

void forward_of_a_training_step(Queue& queue, const Conv1dShape& s, const float* x, const PendingAffine& pending,
                                const float* w, float* y, const RecordMoments& moments) {
  const Tiling t = tiling_of(s, kPositions, kRows, kTaps, kDepth);
  float2* parts = moments.mean ? scratch<float2>(queue, size_t(s.N) * t.tiles * kParts * s.C_out) : nullptr;
  launch(queue, {.grid = grid_of(s, t, kChannels), .block = {kThreads}, .shared_bytes = sizeof(Operands)},
         normalise_and_multiply, x, pending, w, y, parts, s, t);
  if (parts)
    launch(queue, {.grid = {s.N, ceil_div(s.C_out, kThreads)}, .block = {kThreads}}, merge_parts, parts, moments,
           s.C_out, t);
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  forward_of_a_training_step(queue, s, x, {}, w, y, {});
}

}  // namespace

extern const Step fused{"08 fused",
                        "BatchNorm and ReLU while the slab is filled, moments while the sums are in registers",
                        Precision::bf16, forward};
extern const FusedForward fused_forward = forward_of_a_training_step;

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
