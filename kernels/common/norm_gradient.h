// The gradient through BatchNorm and ReLU on the cpu, for some rows of one group (pending.h has the formulas): used by
// the BatchNorm kernels piece by piece, by the convolutions record by record.
#pragma once

#include <algorithm>

#include "kernels/common/lanes.h"
#include "kernels/common/parallel.h"
#include "kernels/common/pending.h"

namespace systole::kernels::cpu {

inline constexpr int kNormGradientSlot = 7;  // of thread_scratch

/// One group's channels, [C] each.
struct NormChannels {
  const float *mean, *scale, *shift;
};

inline NormChannels channels_of(const NormalizedOutput& output, int64_t group, int C) {
  return {output.mean + group * C, output.scale + group * C, output.shift + group * C};
}
inline NormChannels widen(const NormChannels& channels, int C, float* lanes) {
  const int width = lanes_of(C);
  return {systole::widen(channels.mean, C, lanes), systole::widen(channels.scale, C, lanes + width),
          systole::widen(channels.shift, C, lanes + 2 * width)};
}

/// The gradient behind the ReLU.
template <bool kRelu>
inline float gated(float dz, float y, float scale, float shift) {
  return kRelu && y * scale + shift <= 0 ? 0.0f : dz;
}

/// sum_g[c] = Σ g,  sum_gd[c] = Σ g · (y − mean) over `count` values, whole rows of C. Lanes take up kRunsPerSum runs
/// before they are added to the sums: rounding then grows with the root of both numbers, not of their product.
template <bool kRelu>
void gradient_sums(int64_t count, int C, const float* y, const float* dz, const NormChannels& channels, float* sum_g,
                   float* sum_gd) {
  constexpr int64_t kRunsPerSum = 16;
  const int width = lanes_of(C);
  float* lanes = thread_scratch(kNormGradientSlot, size_t(7) * width);
  const auto [mean, scale, shift] = widen(channels, C, lanes);
  float* g_lanes = lanes + 3 * width;
  float* gd_lanes = lanes + 4 * width;
  float* sums = lanes + 5 * width;  // of g, then of gd
  std::fill_n(sums, 2 * width, 0.0f);
  for (int64_t begin = 0; begin < count; begin += kRunsPerSum * width) {
    std::fill_n(g_lanes, 2 * width, 0.0f);
    const int64_t part = std::min(count - begin, kRunsPerSum * width);
    for_runs(part, width, [&, mean = mean, scale = scale, shift = shift](int64_t offset, int n) {
      const float* ys = y + begin + offset;
      const float* dzs = dz + begin + offset;
#pragma omp simd
      for (int i = 0; i < n; ++i) {
        const float g = gated<kRelu>(dzs[i], ys[i], scale[i], shift[i]);
        g_lanes[i] += g;
        gd_lanes[i] += g * (ys[i] - mean[i]);
      }
    });
    for (int i = 0; i < 2 * width; ++i) sums[i] += g_lanes[i];
  }
  for (int c = 0; c < C; ++c) {
    sum_g[c] = static_cast<float>(sum_of_lanes(sums, C, c));
    sum_gd[c] = static_cast<float>(sum_of_lanes(sums + width, C, c));
  }
}

/// dy = scale · g − offset − slope · (y − mean); offset, slope [C]. dy may be dz.
template <bool kRelu, bool kAccumulate>
void output_gradient(int64_t count, int C, const float* y, const float* dz, const NormChannels& channels,
                     const float* offset, const float* slope, float* dy) {
  const int width = lanes_of(C);
  float* lanes = thread_scratch(kNormGradientSlot, size_t(5) * width);
  const auto [mean, scale, shift] = widen(channels, C, lanes);
  offset = systole::widen(offset, C, lanes + 3 * width);
  slope = systole::widen(slope, C, lanes + 4 * width);
  for_runs(count, width, [&, mean = mean, scale = scale, shift = shift](int64_t start, int n) {
    const float* ys = y + start;
    const float* dzs = dz + start;
    float* to = dy + start;
#pragma omp simd
    for (int i = 0; i < n; ++i) {
      const float g = gated<kRelu>(dzs[i], ys[i], scale[i], shift[i]);
      const float value = scale[i] * g - offset[i] - slope[i] * (ys[i] - mean[i]);
      to[i] = kAccumulate ? to[i] + value : value;
    }
  });
}

/// The sums of record n of N of a gradient dz [N, L, C].
inline void record_gradient_sums(const RecordGradientSums& sums, int64_t n, int64_t N, int64_t L, int C,
                                 const float* dz) {
  const NormalizedOutput& o = sums.output;
  const auto add = o.relu ? gradient_sums<true> : gradient_sums<false>;
  const int64_t first = n * L * C;
  add(L * C, C, o.y + first, dz + first, channels_of(o, n / (N / o.groups), C), sums.g + n * C, sums.gd + n * C);
}

}  // namespace systole::kernels::cpu
