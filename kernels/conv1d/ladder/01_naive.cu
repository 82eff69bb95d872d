// Step 1. One thread computes one output, as the formula says:
//   y[n, l, o] = Σ_k Σ_c x[n, l·stride + k·dilation − padding, c] · w[k, c, o]
//
// The one decision here is which outputs neighbouring threads get. A warp's 32 threads execute each load together, and
// the memory system moves whole sectors of 32 bytes. With neighbouring threads on neighbouring channels o:
//
//   w[k, c, o … o+31]   32 neighbouring floats      4 sectors, every byte used ("coalesced")
//   x[n, row, c]        the same float for all      1 sector, broadcast
//   y[n, l, o … o+31]   32 neighbouring floats      4 sectors
//
// With neighbouring threads on neighbouring positions l, the 32 floats of x would lie stride·C_in floats apart, and
// those of y C_out apart: up to 32 sectors for each load and store, 4 of 32 bytes used. The numbers would be the same,
// the traffic up to eight times as much.
//
// Every multiply-add costs two loads. That is what the next steps are about.

#include "kernels/common/launch.h"
#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) one_output(const float* __restrict__ x,  // [N, L, C_in]
                                                       const float* __restrict__ w,  // [K, C_in, C_out]
                                                       float* __restrict__ y,        // [N, L_out, C_out]
                                                       Conv1dShape s, int L_out) {
  const int64_t output = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t n = output / (int64_t{L_out} * s.C_out);
  if (n >= s.N) return;
  const int l = static_cast<int>(output / s.C_out % L_out);
  const int o = static_cast<int>(output % s.C_out);

  float sum = 0;
  for (int k = 0; k < s.K; ++k)
    for (int c = 0; c < s.C_in; ++c) {
      const int row = l * s.stride + k * s.dilation - s.padding;
      if (row >= 0 && row < s.L) sum += x[(n * s.L + row) * s.C_in + c] * w[(int64_t{k} * s.C_in + c) * s.C_out + o];
    }
  y[output] = sum;
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  launch(queue, {.grid = {ceil_div(s.output_size(), int64_t{kThreads})}, .block = {kThreads}}, one_output, x, w, y, s,
         s.L_out());
}

}  // namespace

extern const Step naive{"01 naive", "one thread per output, neighbouring threads on neighbouring channels",
                        Precision::f32, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
