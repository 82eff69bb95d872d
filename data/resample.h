// Resampling to another rate by a windowed sinc: a band-limited signal is its samples convolved with a low-pass,
//   y[k] = Σ_j h(k · from / to − j) x[j],   h(u) = 2 f sinc(2 f u) · I0(β √(1 − (u / W)²)) / I0(β),   |u| ≤ W,
// with time u in samples of x, the cut-off f in cycles per sample, and Kaiser's window (Kaiser and Schafer, "On the use
// of the I0-sinh window for spectrum analysis", IEEE Trans. ASSP 28 (1980) 105-107).
//
// With F = min(from, to) / 2: the pass band is 0 … 0.9 F, the stop band begins at F and is 70 dB down, so nothing
// folds back; both ripples are below 0.04 %. h is symmetric: no delay, no phase. The weights of each output sample add
// up to 1, so a constant stays what it is. y[0] is the instant of x[0]. Beyond its ends a signal is continued by its
// odd reflection, 2 x[0] − x[−j], which continues a constant and a line.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace systole::data {

/// round(length · to / from). Throws Error unless both rates are from 1 Hz to 1 MHz, the second
/// at most 32 times the first, and the result at most 2^28.
int64_t resampled_length(int64_t length, double from_hz, double to_hz);

/// One ratio of rates; its weights are computed once. The ratio is that of two whole numbers of hundredths of a hertz.
class Resampler {
 public:
  /// Throws Error unless both rates are from 1 Hz to 1 MHz and four million weights are enough.
  Resampler(double from_hz, double to_hz);

  /// resampled_length samples; at equal rates the signal itself.
  std::vector<double> operator()(std::span<const double> signal) const;

 private:
  double from_hz_, to_hz_;
  int64_t up_, down_;            // to / from in lowest terms: output k lies at k · down / up
  int64_t half_;                 // input samples on either side
  std::vector<double> weights_;  // [up, 2 · half]: for the instant between samples p / up, of the samples around it
};

}  // namespace systole::data
