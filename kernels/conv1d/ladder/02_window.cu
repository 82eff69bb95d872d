// Step 2. The window is one run of memory.
//
// Channels last, the K rows that one output reads are neighbours, and so are their channels. With dilation 1 the window
// is K·C_in floats in a row, the weights of one output channel are a column of the matrix [K·C_in, C_out], and the
// convolution is their dot product. The window of the next output starts stride·C_in floats later:
//
//   x, C_in = 2:   |r0 r0|r1 r1|r2 r2|r3 r3|r4 r4|
//   output 0:      [  window, K = 3  ]                      y = [windows, K·C_in] · [K·C_in, C_out],
//   output 1:            [  window, K = 3  ]                a matrix product whose left side overlaps itself
//
// The two loops over k and c become one, and pointers walk where step 1 multiplied indices. The taps that fall outside
// of the record are a prefix and a suffix of the window: they are cut off before the loop, which tests nothing.
// A dilation of d > 1 leaves K runs of C_in floats, d rows apart.
//
// This changes the integer instructions and the branches, not the loads: a compiler finds part of it by itself. It is
// here because every later step relies on it.

#include "kernels/common/launch.h"
#include "kernels/conv1d/ladder/ladder.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) dot_product(const float* __restrict__ x,  // [N, L, C_in]
                                                        const float* __restrict__ w,  // [K, C_in, C_out]
                                                        float* __restrict__ y,        // [N, L_out, C_out]
                                                        Conv1dShape s, int L_out) {
  const int64_t output = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t n = output / (int64_t{L_out} * s.C_out);
  if (n >= s.N) return;
  const int l = static_cast<int>(output / s.C_out % L_out);
  const int o = static_cast<int>(output % s.C_out);

  // The taps [begin, end) are those whose row lies in [0, L).
  const int first_row = l * s.stride - s.padding;
  const int begin = first_row < 0 ? (-first_row + s.dilation - 1) / s.dilation : 0;
  const int inside = first_row < s.L ? (s.L - first_row - 1) / s.dilation + 1 : 0;
  const int end = inside < s.K ? inside : s.K;
  const int taps_in_a_run = s.dilation == 1 ? end - begin : 1;

  float sum = 0;
  for (int k = begin; k < end; k += taps_in_a_run) {
    const float* value = x + (n * s.L + first_row + k * s.dilation) * s.C_in;
    const float* weight = w + int64_t{k} * s.C_in * s.C_out + o;
    for (const float* last = value + taps_in_a_run * s.C_in; value != last; ++value, weight += s.C_out)
      sum += *value * *weight;
  }
  y[output] = sum;
}

void forward(Queue& queue, const Conv1dShape& s, const float* x, const float* w, float* y) {
  launch(queue, {.grid = {ceil_div(s.output_size(), int64_t{kThreads})}, .block = {kThreads}}, dot_product, x, w, y, s,
         s.L_out());
}

}  // namespace

extern const Step window{"02 window", "the window is one run of K·C_in floats: a dot product without border tests",
                         Precision::f32, forward};

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
