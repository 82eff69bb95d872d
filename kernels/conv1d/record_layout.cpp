#include "kernels/conv1d/record_layout.h"

#include <algorithm>
#include <numeric>

#include "kernels/common/simd.h"

namespace systole::kernels::cpu {
namespace {

/// a / b rounded up, for a ≥ 0 and b > 0.
int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// to = relu?(from · scale + shift)
void transform_row(const float* from, int channels, const RecordAffine& affine, float* to) {
  int c = 0;
  for (; c + kWidth <= channels; c += kWidth) {
    Vector z = multiply_add(load(from + c), load(affine.scale + c), load(affine.shift + c));
    if (affine.relu) where(z < 0.0f, z) = 0.0f;  // a maximum would hide a NaN
    store(z, to + c);
  }
  for (; c < channels; ++c) {
    const float z = from[c] * affine.scale[c] + affine.shift[c];
    to[c] = affine.relu && z < 0 ? 0.0f : z;
  }
}

/// A record whose rows stay neighbours, as they are: zeros, one copy, zeros.
void lay_out_plain(const RecordLayout& layout, const float* record, int64_t length, int channels, float* rows) {
  const int64_t before = std::min(layout.lead, layout.phase_rows);
  const int64_t copied = std::min(length, layout.phase_rows - before);
  rows = std::fill_n(rows, before * channels, 0.0f);
  rows = std::copy_n(record, copied * channels, rows);
  std::fill_n(rows, (layout.phase_rows - before - copied) * channels, 0.0f);
}

}  // namespace

// Output l reads padded rows l·s + k·d. With g = gcd(s, d), the outputs l = l0 + (d/g)·m start in the same phase
// l0·s % d, each s/g rows after the one before.
RecordLayout forward_layout(const Conv1dShape& s) {
  const int64_t L_out = s.L_out();
  RecordLayout layout;
  layout.lead = s.padding;
  layout.phases = s.dilation;
  layout.phase_rows = ceil_div((L_out - 1) * s.stride + int64_t{s.K - 1} * s.dilation + 1, s.dilation);
  layout.tap_order.resize(static_cast<size_t>(s.K));
  std::iota(layout.tap_order.begin(), layout.tap_order.end(), 0);

  const int g = std::gcd(s.stride, s.dilation);
  const int64_t spacing = s.dilation / g;
  for (int64_t l0 = 0; l0 < std::min(spacing, L_out); ++l0) {
    const int64_t start = l0 * s.stride;
    layout.strips.push_back({.first_row = start % s.dilation * layout.phase_rows + start / s.dilation,
                             .row_step = s.stride / g,
                             .first_output = l0,
                             .output_step = spacing,
                             .count = ceil_div(L_out - l0, spacing),
                             .first_tap = 0,
                             .taps = s.K});
  }
  return layout;
}

// Position i reads dy rows l = (i + p − k·d) / s for every k where this divides. Let r = (i + p) % s: these are each
// (s/g)-th tap (or none), and their rows are d/g apart, descending in k: the taps in reverse order make them ascend.
RecordLayout input_gradient_layout(const Conv1dShape& s) {
  const int64_t span = int64_t{s.K - 1} * s.dilation;
  const int g = std::gcd(s.stride, s.dilation);
  RecordLayout layout;
  layout.lead = ceil_div(std::max<int64_t>(span - s.padding, 0), s.stride);
  layout.phases = s.dilation / g;
  layout.phase_rows = ceil_div((s.L - 1 + s.padding) / s.stride + 1 + layout.lead, layout.phases);

  for (int64_t i0 = 0; i0 < std::min(s.stride, s.L); ++i0) {
    const auto first_tap = static_cast<int>(layout.tap_order.size());
    for (int k = s.K - 1; k >= 0; --k)
      if ((i0 + s.padding - int64_t{k} * s.dilation) % s.stride == 0) layout.tap_order.push_back(k);
    const int taps = static_cast<int>(layout.tap_order.size()) - first_tap;
    const int64_t offset = taps ? int64_t{layout.tap_order[static_cast<size_t>(first_tap)]} * s.dilation : 0;
    for (int64_t phase = 0; phase < layout.phases; ++phase) {
      const int64_t first_output = i0 + phase * s.stride;
      if (first_output >= s.L) break;
      const int64_t row = taps ? (first_output + s.padding - offset) / s.stride + layout.lead : 0;
      layout.strips.push_back({.first_row = row % layout.phases * layout.phase_rows + row / layout.phases,
                               .row_step = 1,
                               .first_output = first_output,
                               .output_step = s.stride * layout.phases,
                               .count = ceil_div(s.L - first_output, s.stride * layout.phases),
                               .first_tap = first_tap,
                               .taps = taps});
    }
  }
  return layout;
}

void lay_out(const RecordLayout& layout, const float* record, int64_t length, int channels, const RecordAffine& affine,
             ptrdiff_t pitch, float* rows) {
  if (layout.phases == 1 && pitch == channels && !affine.scale)
    return lay_out_plain(layout, record, length, channels, rows);
  for (int64_t phase = 0; phase < layout.phases; ++phase) {
    for (int64_t j = 0; j < layout.phase_rows; ++j, rows += pitch) {
      const int64_t position = phase + j * layout.phases - layout.lead;
      if (position < 0 || position >= length)
        std::fill_n(rows, channels, 0.0f);
      else if (affine.scale)
        transform_row(record + position * channels, channels, affine, rows);
      else
        std::copy_n(record + position * channels, channels, rows);
    }
  }
}

}  // namespace systole::kernels::cpu
