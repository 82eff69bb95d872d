// The parts around a library's convolution, one kernel each. Our own convolution does all of this while it loads or
// stores; here each part is a pass over memory, which is the point of the comparison.

#include "kernels/common/launch.h"
#include "kernels/conv1d/library_parts.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

// ---- transpose: a tile of 32 × 32 goes through shared memory, so that reads and writes are both whole lines

constexpr int kTile = 32, kTileRows = 8;

struct TransposeShared {
  float tile[kTile][kTile + 1];  // + 1: a column's elements lie in different banks
};

__global__ void __launch_bounds__(kTile* kTileRows) transpose_kernel(const float* __restrict__ from,  // [rows, columns]
                                                                     float* __restrict__ to,          // [columns, rows]
                                                                     int rows, int columns, bool accumulate) {
  auto& shared = *dynamic_shared<TransposeShared>();
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int row0 = static_cast<int>(blockIdx.x) * kTile, column0 = static_cast<int>(blockIdx.y) * kTile;
  for (int i = y; i < kTile; i += kTileRows)
    if (row0 + i < rows && column0 + x < columns) shared.tile[i][x] = from[int64_t{row0 + i} * columns + column0 + x];
  __syncthreads();
  for (int i = y; i < kTile; i += kTileRows)
    if (column0 + i < columns && row0 + x < rows) {
      float& target = to[int64_t{column0 + i} * rows + row0 + x];
      target = accumulate ? target + shared.tile[x][i] : shared.tile[x][i];
    }
}

// ---- pending normalisation: element by element

constexpr int kMapThreads = 256, kValues = 4;

__global__ void __launch_bounds__(kMapThreads)
    apply_pending_kernel(const float* __restrict__ x,      // [N, values]
                         const float* __restrict__ scale,  // [groups, C]
                         const float* __restrict__ shift,  // [groups, C]
                         float* __restrict__ z,            // [N, values]
                         int values, int C, int blocks_per_record, int records_per_group, bool relu) {
  const int n = static_cast<int>(blockIdx.x) / blocks_per_record;
  const int first = static_cast<int>(blockIdx.x) % blocks_per_record * (kMapThreads * kValues);
  const int64_t record = int64_t{n} * values, group = int64_t{n / records_per_group} * C;
#pragma unroll
  for (int v = 0; v < kValues; ++v) {
    const int i = first + v * kMapThreads + static_cast<int>(threadIdx.x);
    if (i >= values) continue;
    const int c = i % C;
    const float value = x[record + i] * scale[group + c] + shift[group + c];
    z[record + i] = relu && value < 0 ? 0 : value;
  }
}

// ---- moments: a block per record and 32 channels reads its values twice, the second time from the cache

constexpr int kColumns = 32, kRows = 16;

struct MomentsShared {
  float sum[kRows][kColumns + 1];
};

/// The sum of `value` over the block's rows, in every thread; two barriers.
__device__ float sum_over_rows(float value, int row, int column, MomentsShared& shared) {
  __syncthreads();  // the last call's readers are done
  shared.sum[row][column] = value;
  __syncthreads();
  float sum = 0;
  for (int r = 0; r < kRows; ++r) sum += shared.sum[r][column];
  return sum;
}

__global__ void __launch_bounds__(kColumns* kRows) record_moments_kernel(const float* __restrict__ y,  // [N, L, C]
                                                                         float* __restrict__ mean,     // [N, C]
                                                                         float* __restrict__ m2,       // [N, C]
                                                                         int L, int C) {
  auto& shared = *dynamic_shared<MomentsShared>();
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int c = static_cast<int>(blockIdx.y) * kColumns + column;
  const int64_t n = blockIdx.x;
  const int end = c < C ? L : 0;
  const float* record = y + n * L * C + c;

  float sum = 0;
  for (int l = row; l < end; l += kRows) sum += record[int64_t{l} * C];
  const float average = sum_over_rows(sum, row, column, shared) / static_cast<float>(L);
  float squares = 0;
  for (int l = row; l < end; l += kRows) {
    const float deviation = record[int64_t{l} * C] - average;
    squares += deviation * deviation;
  }
  squares = sum_over_rows(squares, row, column, shared);
  if (row == 0 && c < C) {
    mean[n * C + c] = average;
    m2[n * C + c] = squares;
  }
}

void transpose(Queue& queue, int rows, int columns, const float* from, float* to, GradientMode mode) {
  launch(queue,
         {.grid = {ceil_div(rows, kTile), ceil_div(columns, kTile)},
          .block = {kTile, kTileRows},
          .shared_bytes = sizeof(TransposeShared)},
         transpose_kernel, from, to, rows, columns, mode == GradientMode::accumulate);
}

void apply_pending(Queue& queue, int N, int L, int C, const float* x, const PendingAffine& pending, float* z) {
  const int values = L * C, blocks = ceil_div(values, kMapThreads * kValues);
  launch(queue, {.grid = {int64_t{N} * blocks}, .block = {kMapThreads}}, apply_pending_kernel, x, pending.scale,
         pending.shift, z, values, C, blocks, N / pending.groups, pending.relu);
}

void record_moments(Queue& queue, int N, int L, int C, const float* y, const RecordMoments& moments) {
  launch(queue, {.grid = {N, ceil_div(C, kColumns)}, .block = {kColumns, kRows}, .shared_bytes = sizeof(MomentsShared)},
         record_moments_kernel, y, moments.mean, moments.m2, L, C);
}

}  // namespace

extern const LibraryParts library_parts{
    .transpose = transpose, .apply_pending = apply_pending, .record_moments = record_moments};

}  // namespace systole::kernels::SYSTOLE_TARGET
