#include "kernels/contrastive/similarity_tiles.h"

#include "kernels/common/parallel.h"

namespace systole::kernels::cpu {
namespace {

enum Slot { kDotSlot = 0, kMixSlot = 1 };

float* pack_dot(int M, int D, const float* z) {
  float* panels = thread_scratch(kDotSlot, packed_size(D, M));
  parallel_for(panel_count(M), [=](int64_t p) {
    const int64_t row = p * kTileColumns;
    pack_panel(D, panel_columns(M, static_cast<int>(p)), z + row * D, 1, D, panels + row * D);
  });
  return panels;
}

float* pack_mix(int M, int D, const float* z) {
  float* panels = thread_scratch(kMixSlot, packed_size(M, D));
  parallel_for(panel_count(D), [=](int64_t p) {
    const int64_t d = p * kTileColumns;
    pack_panel(M, panel_columns(D, static_cast<int>(p)), z + d, D, 1, panels + d * M);
  });
  return panels;
}

}  // namespace

SimilarityRows pack_for_dot(int M, int D, const float* z) {
  return {M, D, z, pack_dot(M, D, z)};
}

SimilarityRows pack_for_dot_and_mix(int M, int D, const float* z) {
  return {M, D, z, pack_dot(M, D, z), pack_mix(M, D, z)};
}

void dot_tile(const SimilarityRows& s, int row, int rows, int column, float* tile) {
  const int end = column + s.columns_from(column);
  for (int j = column; j < end; j += kTileColumns)
    multiply_panel(rows, panel_width(std::min(kTileColumns, end - j)), s.D, s.z + int64_t{row} * s.D, s.D,
                   s.dot_panels + int64_t{j} * s.D, {.c = tile + (j - column), .c_row = kTile});
}

void mix_tile(const SimilarityRows& s, const float* tile, int rows, int column, float* out) {
  for (int p = 0; p < panel_count(s.D); ++p) {
    const int d = p * kTileColumns, columns = panel_columns(s.D, p);
    const float* panel = s.mix_panels + int64_t{d} * s.M + int64_t{column} * panel_width(columns);
    multiply_panel(rows, columns, s.columns_from(column), tile, kTile, panel,
                   {.c = out + d, .c_row = s.D, .add = out + d, .add_row = s.D});
  }
}

}  // namespace systole::kernels::cpu
