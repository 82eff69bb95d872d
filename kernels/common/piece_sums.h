// The end of sums over the time of each record that blocks have made of pieces or tiles of it. For .cu files.
#pragma once

#include "kernels/common/launch.h"
#include "kernels/common/pending.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

constexpr int kPieceSumThreads = 128;

/// g[n, c] = Σ_p piece_g[n, p, c], in the order of p, and the same of gd; one thread per (n, c).
__global__ void __launch_bounds__(kPieceSumThreads) add_pieces(const float* __restrict__ piece_g,   // [N, pieces, C]
                                                               const float* __restrict__ piece_gd,  // [N, pieces, C]
                                                               float* __restrict__ g,               // [N, C]
                                                               float* __restrict__ gd,              // [N, C]
                                                               int64_t count, int64_t pieces, int C) {
  const int64_t at = int64_t{blockIdx.x} * kPieceSumThreads + threadIdx.x;
  if (at >= count) return;
  float sum_g = 0, sum_gd = 0;
  for (int64_t p = 0; p < pieces; ++p) {
    const int64_t from = (at / C * pieces + p) * C + at % C;
    sum_g += piece_g[from];
    sum_gd += piece_gd[from];
  }
  g[at] = sum_g;
  gd[at] = sum_gd;
}

void launch_add_pieces(Queue& queue, const float* piece_g, const float* piece_gd, float* g, float* gd, int64_t count,
                       int64_t pieces, int C) {
  launch(queue, {.grid = {ceil_div<int64_t>(count, kPieceSumThreads)}, .block = {kPieceSumThreads}}, add_pieces,
         piece_g, piece_gd, g, gd, count, pieces, C);
}

}  // namespace
}  // namespace systole::kernels::SYSTOLE_TARGET
