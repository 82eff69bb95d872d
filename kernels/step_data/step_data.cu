// Rows of step data on the cuda and simt devices. A row has a few hundred words, so one block copies it, column after
// column, neighbouring threads neighbouring words; what such a kernel costs is its launch.

#include "kernels/common/launch.h"
#include "kernels/step_data/step_data.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kThreads = 256;

__global__ __launch_bounds__(kThreads, 4) void fetch_row(const __grid_constant__ StepColumns columns,
                                                         const uint32_t* __restrict__ table,  // [rows, words]
                                                         const uint32_t* __restrict__ row) {
  const uint32_t* from = table + int64_t{*row} * columns.words;
  for (int c = 0; c < columns.count; from += columns.column[c++].words)
    for (int i = static_cast<int>(threadIdx.x); i < columns.column[c].words; i += kThreads)
      columns.column[c].at[i] = from[i];
}

__global__ __launch_bounds__(kThreads, 4) void keep_row(const __grid_constant__ StepColumns columns,
                                                        uint32_t* __restrict__ table,  // [rows, words]
                                                        uint32_t* __restrict__ row) {
  uint32_t* to = table + int64_t{*row} * columns.words;
  for (int c = 0; c < columns.count; to += columns.column[c++].words)
    for (int i = static_cast<int>(threadIdx.x); i < columns.column[c].words; i += kThreads)
      to[i] = columns.column[c].at[i];
  __syncthreads();  // every thread has read the row's number
  if (threadIdx.x == 0) ++*row;
}

void fetch(Queue& queue, const StepColumns& columns, const uint32_t* table, const uint32_t* row) {
  launch(queue, {.grid = {1}, .block = {kThreads}}, fetch_row, columns, table, row);
}

void keep(Queue& queue, const StepColumns& columns, uint32_t* table, uint32_t* row) {
  launch(queue, {.grid = {1}, .block = {kThreads}}, keep_row, columns, table, row);
}

}  // namespace

extern const StepDataKernels step_data{.fetch = fetch, .keep = keep};

}  // namespace systole::kernels::SYSTOLE_TARGET
