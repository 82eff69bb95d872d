// Channels last with any number of channels: k rows of C channels, seen as one row of k·C lanes, are long enough for
// vector loops even when C is 1 or 12. Lane i of a run belongs to channel i % C, and so does the start of a last,
// shorter run.
#pragma once

#include <algorithm>
#include <cstdint>

namespace systole {

inline constexpr int kMinimumLanes = 256;

/// The width of a run: the smallest multiple of C that has kMinimumLanes.
inline int lanes_of(int C) {
  return (std::max(C, kMinimumLanes) + C - 1) / C * C;
}

/// One value per channel, repeated for every lane of a run. Returns the source itself when that is already as wide.
inline const float* widen(const float* channels, int C, float* lanes) {
  const int width = lanes_of(C);
  if (width == C) return channels;
  for (int i = 0; i < width; i += C) std::copy_n(channels, C, lanes + i);
  return lanes;
}

/// The sum of the lanes of channel c, in their order.
inline double sum_of_lanes(const float* lanes, int C, int c) {
  double sum = 0;
  for (int i = c; i < lanes_of(C); i += C) sum += lanes[i];
  return sum;
}

/// Calls body(offset, n) for the runs of `count` values in order: n is `width`, for the last run perhaps less.
template <class Body>
void for_runs(int64_t count, int width, const Body& body) {
  for (int64_t offset = 0; offset < count; offset += width)
    body(offset, static_cast<int>(std::min<int64_t>(width, count - offset)));
}

}  // namespace systole
