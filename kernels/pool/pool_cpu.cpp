// Pooling over time on the CPU, channels last: one thread per record, vectors along the channels.
// The mean reads x once; the maximum reads its input window / stride times, all but once from the first-level cache.

#include <algorithm>
#include <vector>

#include "kernels/common/lanes.h"
#include "kernels/common/norm_gradient.h"
#include "kernels/common/parallel.h"
#include "kernels/common/series_cpu.h"
#include "kernels/pool/pool.h"

namespace systole::kernels {

namespace {

using cpu::Narrowed, cpu::Widened;

constexpr int kRunsPerSum = 64;  // runs added up in float before the double takes over

/// sum[i] += Σ over the runs of x of z, for `count` values of one record. kPending: z = x · scale + shift; kRelu: then
/// relu.
template <bool kPending, bool kRelu>
void add_runs(int64_t count, int width, const float* x, const float* scale, const float* shift, float* sum) {
  for_runs(count, width, [&](int64_t offset, int n) {
    const float* run = x + offset;
#pragma omp simd
    for (int i = 0; i < n; ++i) {
      float z = kPending ? run[i] * scale[i] + shift[i] : run[i];
      if (kRelu) z = z < 0 ? 0.0f : z;
      sum[i] += z;
    }
  });
}

template <bool kPending, bool kRelu>
void mean_of_record(const MeanShape& s, const float* x, const float* scale, const float* shift, float* y) {
  const int width = lanes_of(s.C);
  float* lanes = thread_scratch(0, size_t(3) * width);
  if (kPending) {
    scale = widen(scale, s.C, lanes + width);
    shift = widen(shift, s.C, lanes + 2 * width);
  }
  const int64_t count = int64_t{s.L} * s.C, part = int64_t{kRunsPerSum} * width;
  std::vector<double> sum(s.C);
  for (int64_t begin = 0; begin < count; begin += part) {
    std::fill_n(lanes, width, 0.0f);
    add_runs<kPending, kRelu>(std::min(part, count - begin), width, x + begin, scale, shift, lanes);
    for (int c = 0; c < s.C; ++c) sum[c] += sum_of_lanes(lanes, s.C, c);
  }
  for (int c = 0; c < s.C; ++c) y[c] = static_cast<float>(sum[c] / s.L);
}

void mean_forward(Queue&, const MeanShape& s, ConstSeries x_series, const PendingAffine& pending, float* y) {
  const Widened x(x_series, int64_t{s.N} * s.L * s.C);
  const auto record = !pending.scale ? (pending.relu ? mean_of_record<false, true> : mean_of_record<false, false>)
                                     : (pending.relu ? mean_of_record<true, true> : mean_of_record<true, false>);
  parallel_for(s.N, [&](int64_t n) {
    const int64_t group = n / (s.N / pending.groups);
    const float* scale = pending.scale ? pending.scale + group * s.C : nullptr;
    const float* shift = pending.scale ? pending.shift + group * s.C : nullptr;
    record(s, x + n * s.L * s.C, scale, shift, y + n * s.C);
  });
}

void mean_backward(Queue&, const MeanShape& s, const float* dy, Series dz_series, GradientMode mode,
                   const RecordGradientSums& wanted) {
  const Widened output(wanted.output.y, int64_t{s.N} * s.L * s.C);
  RecordGradientSums sums = wanted;
  sums.output.y = static_cast<const float*>(output);
  const Narrowed dz(dz_series, int64_t{s.N} * s.L * s.C, mode == GradientMode::accumulate);
  const int width = lanes_of(s.C);
  parallel_for(s.N, [&](int64_t n) {
    float* lanes = thread_scratch(0, width);
    for (int i = 0; i < width; ++i) lanes[i] = dy[n * s.C + i % s.C] / static_cast<float>(s.L);
    for_runs(int64_t{s.L} * s.C, width, [&](int64_t offset, int run) {
      float* to = dz + n * s.L * s.C + offset;
      if (mode == GradientMode::overwrite) {
        std::copy_n(lanes, run, to);
      } else {
#pragma omp simd
        for (int i = 0; i < run; ++i) to[i] += lanes[i];
      }
    });
    if (sums.g) cpu::record_gradient_sums(sums, n, s.N, s.L, s.C, dz);
  });
}

/// y[c], index[c] = the larger of themselves and row `position` of x; the earlier one of equals, the first NaN.
void take_larger(int C, const float* row, int32_t position, float* y, int32_t* index) {
#pragma omp simd
  for (int c = 0; c < C; ++c) {
    const bool take = !(row[c] <= y[c]) && y[c] == y[c];
    y[c] = take ? row[c] : y[c];
    index[c] = take ? position : index[c];
  }
}

void max_forward(Queue&, const MaxPoolShape& s, ConstSeries x_series, Series y_series, int32_t* index) {
  const int L_out = s.L_out();
  const Widened x(x_series, int64_t{s.N} * s.L * s.C);
  const Narrowed y(y_series, int64_t{s.N} * L_out * s.C);
  parallel_for(s.N, [&](int64_t n) {
    const float* record = x + n * s.L * s.C;
    for (int l = 0; l < L_out; ++l) {
      const int first = std::max(l * s.stride - s.padding, 0);
      const int end = std::min(l * s.stride - s.padding + s.window, s.L);
      const int64_t out = (n * L_out + l) * s.C;
      std::copy_n(record + int64_t{first} * s.C, s.C, y + out);
      std::fill_n(index + out, s.C, first);
      for (int i = first + 1; i < end; ++i) take_larger(s.C, record + int64_t{i} * s.C, i, y + out, index + out);
    }
  });
}

/// dx[c] += dy[c] where the maximum was at `position`.
void add_where(int C, int32_t position, const float* dy, const int32_t* index, float* dx) {
#pragma omp simd
  for (int c = 0; c < C; ++c) dx[c] += index[c] == position ? dy[c] : 0.0f;
}

void max_backward(Queue&, const MaxPoolShape& s, ConstSeries dy_series, const int32_t* index, Series dx_series,
                  GradientMode mode) {
  const int L_out = s.L_out();
  const Widened dy(dy_series, int64_t{s.N} * L_out * s.C);
  const Narrowed dx(dx_series, int64_t{s.N} * s.L * s.C, mode == GradientMode::accumulate);
  parallel_for(s.N, [&](int64_t n) {
    for (int i = 0; i < s.L; ++i) {
      float* to = dx + (n * s.L + i) * s.C;
      if (mode == GradientMode::overwrite) std::fill_n(to, s.C, 0.0f);
      // the windows l with l·stride − padding ≤ i < l·stride − padding + window
      const int past = i + s.padding - s.window;
      const int first = past < 0 ? 0 : past / s.stride + 1;
      const int last = std::min((i + s.padding) / s.stride, L_out - 1);
      for (int l = first; l <= last; ++l) {
        const int64_t out = (n * L_out + l) * s.C;
        add_where(s.C, i, dy + out, index + out, to);
      }
    }
  });
}

}  // namespace

namespace cpu {
const PoolKernels pool{
    .mean_forward = mean_forward,
    .mean_backward = mean_backward,
    .max_forward = max_forward,
    .max_backward = max_backward,
};
}  // namespace cpu
}  // namespace systole::kernels
