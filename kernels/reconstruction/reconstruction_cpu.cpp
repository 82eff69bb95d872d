// Masked reconstruction on the CPU: copies, and one sum. All are bound by memory.

#include <algorithm>
#include <vector>

#include "kernels/common/parallel.h"
#include "kernels/common/series_cpu.h"
#include "kernels/reconstruction/reconstruction.h"

namespace systole::kernels {
namespace {

using cpu::Narrowed, cpu::Widened;

constexpr int64_t kPiece = 4096;  // values of a piece of work; fixes the order of the sum

/// Calls body(piece, begin, n) for all pieces of [0, count), in parallel.
template <class Body>
void for_pieces(int64_t count, const Body& body) {
  parallel_for((count + kPiece - 1) / kPiece,
               [&](int64_t piece) { body(piece, piece * kPiece, std::min(kPiece, count - piece * kPiece)); });
}

void mask_blocks(Queue&, const BlockMaskShape& s, ConstSeries x_series, Series y_series) {
  const Widened x_values(x_series, int64_t{s.N} * s.L * s.C);
  const Narrowed y_values(y_series, int64_t{s.N} * s.L * s.C);
  const float* const x = x_values;
  float* const y = y_values;
  const int64_t record_size = int64_t{s.L} * s.C, block_size = int64_t{s.block} * s.C;
  parallel_for(s.N, [&](int64_t n) {
    const RandomStream stream(s.seed, Purpose::block_mask, s.step, static_cast<uint32_t>(n));
    for (int64_t begin = 0; begin < record_size; begin += block_size) {
      const int64_t at = n * record_size + begin, size = std::min(block_size, record_size - begin);
      if (stream.uniform(static_cast<uint32_t>(begin / block_size)) < s.p)
        std::fill_n(y + at, size, 0.0f);
      else if (y != x)
        std::copy_n(x + at, size, y + at);
    }
  });
}

void squared_error_forward(Queue&, int64_t count, ConstSeries x_series, ConstSeries target_series, float* loss) {
  const Widened x_values(x_series, count), target_values(target_series, count);
  const float *const x = x_values, *const target = target_values;
  std::vector<double> part(static_cast<size_t>((count + kPiece - 1) / kPiece));
  for_pieces(count, [&](int64_t piece, int64_t begin, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = begin; i < begin + n; ++i) {
      const double difference = double{x[i]} - target[i];
      sum += difference * difference;
    }
    part[static_cast<size_t>(piece)] = sum;
  });
  double sum = 0;
  for (const double p : part) sum += p;
  *loss = static_cast<float>(sum / static_cast<double>(count));
}

void squared_error_backward(Queue&, int64_t count, ConstSeries x_series, ConstSeries target_series,
                            const float* upstream, Series dx_series, GradientMode mode) {
  const Widened x_values(x_series, count), target_values(target_series, count);
  const Narrowed dx_values(dx_series, count, mode == GradientMode::accumulate);
  const float *const x = x_values, *const target = target_values;
  float* const dx = dx_values;
  const auto slope = static_cast<float>(2.0 * *upstream / static_cast<double>(count));
  for_pieces(count, [&](int64_t, int64_t begin, int64_t n) {
#pragma omp simd
    for (int64_t i = begin; i < begin + n; ++i) {
      const float d = slope * (x[i] - target[i]);
      dx[i] = mode == GradientMode::accumulate ? dx[i] + d : d;
    }
  });
}

}  // namespace

namespace cpu {
const ReconstructionKernels reconstruction{
    .mask_blocks = mask_blocks,
    .squared_error_forward = squared_error_forward,
    .squared_error_backward = squared_error_backward,
};
}  // namespace cpu
}  // namespace systole::kernels
