// Bias and bias gradient of a matrix product that a library computed (cuBLAS, cuDNN): y[r, c] += bias[c], and
// sums[c] = Σ_r x[r, c].
//
// The sums are made in two stages, without atomics: a block adds up a piece of kColumnSumsPiece rows for 32 columns,
// then the same kernel adds up the pieces. A warp reads 32 neighbouring columns of a row: full lines where C ≥ 32. The
// pieces depend on the number of rows alone, so the sums have the same bits on every GPU.

#include "kernels/common/launch.h"
#include "kernels/linear/bias.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kColumns = 32, kRows = 16;       // of a block: 512 threads, 16 loads in flight per column
constexpr int kMapThreads = 256, kValues = 4;  // a thread of add_bias has 4 values: loads that overlap

__global__ void __launch_bounds__(kMapThreads) add_bias_kernel(const float* __restrict__ bias,  // [C]
                                                               float* __restrict__ y,           // [rows, C]
                                                               int64_t count, int C) {
  const int64_t first = int64_t{blockIdx.x} * (kMapThreads * kValues) + threadIdx.x;
#pragma unroll
  for (int v = 0; v < kValues; ++v) {
    const int64_t i = first + v * kMapThreads;
    if (i < count) y[i] += bias[i % C];
  }
}

struct Shared {
  float sum[kRows][kColumns + 1];
};

/// Block (p, c): the sums of rows [p, p + 1) · piece_rows of 32 columns. A thread has every 16th row of its column.
__global__ void __launch_bounds__(kColumns* kRows) sum_rows(const float* __restrict__ x,  // [rows, C]
                                                            float* __restrict__ sums,     // [pieces, C]
                                                            int64_t rows, int C, int64_t piece_rows, bool accumulate) {
  auto& shared = *dynamic_shared<Shared>();
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int c = static_cast<int>(blockIdx.y) * kColumns + column;
  const int64_t begin = blockIdx.x * piece_rows, end = begin + piece_rows < rows ? begin + piece_rows : rows;

  float sum = 0;
  if (c < C)
    for (int64_t r = begin + row; r < end; r += kRows) sum += x[r * C + c];
  shared.sum[row][column] = sum;
  __syncthreads();

  if (row == 0 && c < C) {
    for (int other = 1; other < kRows; ++other) sum += shared.sum[other][column];
    float& to = sums[int64_t{blockIdx.x} * C + c];
    to = accumulate ? to + sum : sum;
  }
}

void launch_sum_rows(Queue& queue, int64_t rows, int C, int64_t piece_rows, const float* x, float* sums,
                     GradientMode mode) {
  launch(queue,
         {.grid = {ceil_div(rows, piece_rows), ceil_div(C, kColumns)},
          .block = {kColumns, kRows},
          .shared_bytes = sizeof(Shared)},
         sum_rows, x, sums, rows, C, piece_rows, mode == GradientMode::accumulate);
}

void add_bias(Queue& queue, int64_t rows, int C, const float* bias, float* y) {
  const int64_t count = rows * C;
  launch(queue, {.grid = {ceil_div<int64_t>(count, kMapThreads * kValues)}, .block = {kMapThreads}}, add_bias_kernel,
         bias, y, count, C);
}

void column_sums(Queue& queue, int64_t rows, int C, const float* x, float* partial, float* sums, GradientMode mode) {
  const int64_t pieces = ceil_div(rows, kColumnSumsPiece);
  if (pieces == 1) return launch_sum_rows(queue, rows, C, kColumnSumsPiece, x, sums, mode);
  launch_sum_rows(queue, rows, C, kColumnSumsPiece, x, partial, GradientMode::overwrite);
  launch_sum_rows(queue, pieces, C, pieces, partial, sums, mode);
}

}  // namespace

extern const BiasKernels bias{.add = add_bias, .column_sums = column_sums};

}  // namespace systole::kernels::SYSTOLE_TARGET
