#include "data/generator_dipole.h"

#include <algorithm>
#include <array>

namespace systole::data::synthetic {

const LeadMatrix kDower = {
    {0.632f, -0.235f, 0.059f}, {0.235f, 1.066f, -0.132f}, {-0.515f, 0.157f, -0.917f}, {0.044f, 0.164f, -1.387f},
    {0.882f, 0.098f, -1.277f}, {1.213f, 0.127f, -0.601f}, {1.125f, 0.127f, -0.086f},  {0.831f, 0.076f, 0.230f},
};

Rotation::Rotation(Vector3 angles) {
  const float cx = std::cos(angles.x), sx = std::sin(angles.x);
  const float cy = std::cos(angles.y), sy = std::sin(angles.y);
  const float cz = std::cos(angles.z), sz = std::sin(angles.z);
  row[0] = {cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx};
  row[1] = {sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx};
  row[2] = {-sy, cy * sx, cy * cx};
}

std::vector<Wave> average_beat() {
  using enum WaveKind;
  return {
      {right_atrium, -0.165f, 0.020f, 0.020f, {0.025f, 0.070f, -0.045f}},
      {left_atrium, -0.130f, 0.022f, 0.022f, {0.055f, 0.055f, 0.035f}},  // left atrium
      {qrs, -0.026f, 0.007f, 0.007f, {-0.100f, -0.030f, -0.160f}},       // septum
      {qrs, -0.010f, 0.010f, 0.010f, {0.450f, 0.450f, -0.250f}},         // apex and anterior wall
      {qrs, 0.004f, 0.010f, 0.010f, {0.850f, 0.650f, 0.450f}},           // free wall of the left ventricle
      {qrs, 0.024f, 0.010f, 0.010f, {0.050f, -0.050f, 0.400f}},          // posterior wall
      {qrs, 0.038f, 0.009f, 0.010f, {-0.100f, -0.120f, 0.120f}},         // base
      {st, 0.120f, 0.050f, 0.060f, {0.020f, 0.020f, -0.030f}},
      {t, 0.275f, 0.058f, 0.040f, {0.260f, 0.200f, -0.170f}},
      {u, 0.440f, 0.030f, 0.030f, {0.015f, 0.015f, -0.020f}},
  };
}

void add_beat(const std::vector<Wave>& waves, const Beat& beat, const Rotation& rotation, float scale, float start_s,
              float rate_hz, std::vector<Vector3>& moment) {
  constexpr float kReach = 4.5f;  // standard deviations; what is cut off there is below 5e-5 of the wave
  const float repolarisation = std::sqrt(beat.rr_s);
  for (const Wave& wave : waves) {
    const float stretch = is_repolarisation(wave.kind) ? repolarisation : 1.0f;
    const float centre = (beat.time_s + stretch * wave.centre_s - start_s) * rate_hz;
    const float rise = stretch * wave.rise_s * rate_hz, fall = stretch * wave.fall_s * rate_hz;
    const int first = std::max(0, static_cast<int>(std::ceil(centre - kReach * rise)));
    const int last =
        std::min(static_cast<int>(moment.size()) - 1, static_cast<int>(std::floor(centre + kReach * fall)));
    const Vector3 peak = scale * rotation(wave.mv);
    for (int i = first; i <= last; ++i) {
      const float u = (static_cast<float>(i) - centre) / (static_cast<float>(i) < centre ? rise : fall);
      moment[i] = moment[i] + std::exp(-0.5f * u * u) * peak;
    }
  }
}

namespace {

constexpr int kTaps = 2 * kFilterMargin + 1;

// 0.42 of the new rate, which leaves the window's transition (3.3 / taps of the old rate) just below half the new rate.
std::array<float, kTaps> low_pass(int factor) {
  constexpr double kPi = 3.14159265358979323846;
  const double cutoff = 0.42 / factor;
  std::array<double, kTaps> taps;
  double sum = 0;
  for (int k = 0; k < kTaps; ++k) {
    const double n = k - kFilterMargin;
    const double sinc = n == 0 ? 2 * cutoff : std::sin(2 * kPi * cutoff * n) / (kPi * n);
    taps[k] = sinc * (0.54 + 0.46 * std::cos(kPi * n / kFilterMargin));
    sum += taps[k];
  }
  std::array<float, kTaps> unit_gain;
  for (int k = 0; k < kTaps; ++k) unit_gain[k] = static_cast<float>(taps[k] / sum);
  return unit_gain;
}

}  // namespace

std::vector<float> decimate(const std::vector<float>& signal, int factor, int outputs) {
  const std::array<float, kTaps> taps = low_pass(factor);
  std::vector<float> result(outputs);
  for (int m = 0; m < outputs; ++m) {
    const float* window = signal.data() + static_cast<size_t>(m) * factor;
    float sum = 0;
    for (int k = 0; k < kTaps; ++k) sum += taps[k] * window[k];
    result[m] = sum;
  }
  return result;
}

}  // namespace systole::data::synthetic
