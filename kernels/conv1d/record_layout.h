// How a record must lie in memory so that a convolution of it is a matrix product.
//
// In a [rows, C] record, the window of K neighbouring rows is one contiguous run of K·C floats, and the window of the
// next output starts stride·C floats later. So outputs × (K·C) is a matrix with overlapping rows, and the convolution
// is this matrix times the weights [K·C, C_out]: no copy of windows (im2col), no test for borders in the inner loop. It
// needs
//   padding    as zero rows before and after the record
//   dilation d rows that a window reads must be neighbours: the record is laid out as its d phases, row q of the padded
//              record to row q / d of phase q % d
// The input gradient is the same thing with dy as the record: position i receives from the taps k with
// i + padding − k·dilation divisible by the stride, so positions fall into `stride` residues with a few taps each, in
// reverse order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/conv1d/conv1d.h"

namespace systole::kernels::cpu {

/// Outputs whose windows are evenly spaced in the laid-out record: one matrix product.
struct Strip {
  int64_t first_row, row_step;        // where the window of the strip's output 0 starts; rows to the next one's
  int64_t first_output, output_step;  // position of output 0; positions to the next one
  int64_t count;                      // outputs
  int first_tap, taps;                // the window's rows belong to taps tap_order[first_tap …]
};

struct RecordLayout {
  int64_t lead = 0;            // zero rows before the record
  int64_t phases = 1;          // the dilation that remains
  int64_t phase_rows = 0;      // rows of one phase
  std::vector<int> tap_order;  // each of the K taps once
  std::vector<Strip> strips;   // together they hold every output once

  int64_t rows() const { return phases * phase_rows; }
};

/// x → y.
RecordLayout forward_layout(const Conv1dShape& shape);

/// dy → dz.
RecordLayout input_gradient_layout(const Conv1dShape& shape);

/// The affine transformation of one record's channels; null scale: none.
struct RecordAffine {
  const float* scale;  // [C]
  const float* shift;  // [C]
  bool relu;
};

/// Copies a record [length, C] into the rows [layout.rows(), pitch] of a layout, pitch ≥ C, transformed on the way.
/// Rows outside of the record are zero; floats between C and pitch keep what they were.
void lay_out(const RecordLayout& layout, const float* record, int64_t length, int channels, const RecordAffine& affine,
             ptrdiff_t pitch, float* rows);

}  // namespace systole::kernels::cpu
