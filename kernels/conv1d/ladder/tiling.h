// How steps 3 to 8 cut a convolution into tiles whose input rows fit into shared memory, the slab:
//
//   positions of a tile      l0                    l0+1            …   l0+positions−1
//   rows of the slab         0 … (taps−1)·dilation stride + (0 …)  …   (positions−1)·stride + (taps−1)·dilation
//
// Position p reads for tap k the slab's row p·stride + k·dilation. Shapes that need more rows than the slab has, or
// more taps than there is room for weights, are done in rounds of fewer taps; where the stride alone spreads the
// positions too far, a tile has fewer of them.
#pragma once

#include <algorithm>

#include "kernels/common/launch.h"
#include "kernels/conv1d/conv1d.h"

namespace systole::kernels::SYSTOLE_TARGET::ladder {

struct Tiling {
  int L_out;
  int positions, tiles;  // positions of a tile, tiles of a record
  int taps, rows;        // of a round; rows of the slab that are used
  int tap_rounds, channel_rounds;
};

/// For slabs of at most `max_rows` rows and `depth` input channels a round.
inline Tiling tiling_of(const Conv1dShape& s, int max_positions, int max_rows, int max_taps, int depth) {
  Tiling t;
  t.L_out = s.L_out();
  t.positions = std::min(max_positions, (max_rows - 1) / s.stride + 1);
  t.tiles = ceil_div(t.L_out, t.positions);
  const int rows_of_one_tap = (t.positions - 1) * s.stride + 1;
  t.taps = std::min({s.K, max_taps, (max_rows - rows_of_one_tap) / s.dilation + 1});
  t.rows = rows_of_one_tap + (t.taps - 1) * s.dilation;
  t.tap_rounds = ceil_div(s.K, t.taps);
  t.channel_rounds = ceil_div(s.C_in, depth);
  return t;
}

/// One block per tile of positions (x) and tile of output channels (y).
inline Extent grid_of(const Conv1dShape& s, const Tiling& t, int channels) {
  return {int64_t{s.N} * t.tiles, ceil_div(s.C_out, channels), 1};
}

/// The slab's row where the window of a position starts. Positions that a tile does not have read the last one's
/// window; their results are not stored.
__device__ __forceinline__ int window_row(int position, const Tiling& t, int stride) {
  return (position < t.positions ? position : t.positions - 1) * stride;
}

}  // namespace systole::kernels::SYSTOLE_TARGET::ladder
