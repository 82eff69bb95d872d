// A synthetic ECG of Gaussian waves (after McSharry et al., IEEE Trans. Biomed. Eng. 50 (2003)) whose R peaks are
// known.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/common/philox.h"

namespace systole::test {

/// One beat in mV, `t_s` seconds after its R peak. The R wave alone is not symmetric: Q and S pull its peak by 0.3 ms.
inline double beat_mv(double t_s) {
  const auto wave = [&](double mv, double centre_s, double width_s) {
    const double z = (t_s - centre_s) / width_s;
    return mv * std::exp(-z * z / 2);
  };
  return wave(0.12, -0.17, 0.022) + wave(-0.1, -0.03, 0.009) + wave(1, 0, 0.011) + wave(-0.2, 0.03, 0.01) +
         wave(0.3, 0.25, 0.045);
}

/// R peaks from a second before the record to a second after it; intervals vary by 4 %.
inline std::vector<double> r_peaks_s(double mean_interval_s, double duration_s, uint32_t which) {
  const RandomStream stream(1, Purpose::test, 1, which);
  std::vector<double> peaks;
  double t = -1;
  for (uint32_t i = 0; t < duration_s + 1; ++i) {
    peaks.push_back(t);
    t += mean_interval_s * (1 + 0.04 * stream.normal(i));
  }
  return peaks;
}

inline double ecg_mv(double t_s, const std::vector<double>& r_peaks) {
  double sum = 0;
  for (double r : r_peaks)
    if (std::abs(t_s - r) < 1) sum += beat_mv(t_s - r);
  return sum;
}

/// Local maxima above a threshold, between samples: the vertex of the parabola through three of them.
inline std::vector<double> peaks(const std::vector<double>& x, double above) {
  std::vector<double> found;
  for (size_t i = 1; i + 1 < x.size(); ++i)
    if (x[i] > above && x[i] > x[i - 1] && x[i] >= x[i + 1])
      found.push_back(static_cast<double>(i) + 0.5 * (x[i - 1] - x[i + 1]) / (x[i - 1] - 2 * x[i] + x[i + 1]));
  return found;
}

}  // namespace systole::test
