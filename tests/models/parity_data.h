// Weights and inputs of the parity tests, made by a formula that tests/golden/make_parity.py repeats bit for bit.
// PyTorch's results for them are the golden files beside that script; the large arrays themselves need no file.
//
// Integers are hashed by SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014); from
// there on there are only sums and products that are exact in double, so that neither a fused multiply-add nor the
// order of a sum can change a bit, and each value is rounded once, to float. No sine, cosine or exponential: those
// differ from one C library to the next.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace systole::test {

/// Streams below this are the positions of parameters in PyTorch's order (encoder first, then projector or head).
inline constexpr uint64_t kFirstInputStream = 1000;
inline constexpr uint64_t kTargetStream = 900;

/// Number i of stream s: uniform in [0, 1), a multiple of 2^-24.
inline double fraction(uint64_t i, uint64_t s) {
  uint64_t x = (i + 1) * 0x9E3779B97F4A7C15u + s * 0xD1B54A32D192ED03u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  return static_cast<double>(x >> 40) * 0x1p-24;
}

/// Number i of stream s as a whole number in [0, count).
inline int64_t whole(uint64_t i, uint64_t s, int64_t count) {
  return static_cast<int64_t>(fraction(i, s) * static_cast<double>(count));
}

/// Weights or biases of a convolution or linear layer in PyTorch's order ([out, in, K], [out, in], [out]), uniform in
/// ±1/√fan_in. fan_in is in · K, for the bias too; position is the parameter's place in the model.
inline std::vector<float> parity_weights(size_t count, size_t fan_in, uint64_t position) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  std::vector<float> weights(count);
  for (size_t i = 0; i < count; ++i) weights[i] = static_cast<float>(bound * (2.0 * fraction(i, position) - 1.0));
  return weights;
}

/// Weights (centre 1) or biases (centre 0) of a BatchNorm, uniform in centre ± 1/8.
inline std::vector<float> parity_batch_norm(size_t count, double centre, uint64_t position) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(centre + (fraction(i, position) - 0.5) / 4.0);
  return values;
}

/// A triangle wave in [-1, 1] of a phase in 2^-16 turns.
inline double triangle(int64_t phase) {
  return static_cast<double>(std::abs(phase % 65536 - 32768)) / 16384.0 - 1.0;
}

/// One view (0, 1 or 2) of a batch, channels first as in PyTorch, [records, leads, length]: two triangle waves per
/// record with amplitudes per lead, and per view a gain per lead and noise. The views of one record are similar, never
/// equal; no two batches share a record.
inline std::vector<float> parity_input(int records, int leads, int length, int batch, int view) {
  std::vector<float> x;
  x.reserve(static_cast<size_t>(records) * leads * length);
  for (int n = 0; n < records; ++n) {
    const uint64_t waves = kFirstInputStream + 4 * (static_cast<uint64_t>(batch) * records + n);
    const uint64_t noise = waves + 1 + view;
    const int64_t slow = 512 + whole(0, waves, 512), fast = 2048 + whole(1, waves, 6144);  // 2^-16 turns per sample
    for (int c = 0; c < leads; ++c) {
      const uint64_t i = 8 * (static_cast<uint64_t>(c) + 1);
      const int64_t slow_start = whole(i, waves, 65536), fast_start = whole(i + 1, waves, 65536);
      const double slow_amplitude = static_cast<double>(whole(i + 2, waves, 256)) / 256.0;
      const double fast_amplitude = static_cast<double>(whole(i + 3, waves, 256)) / 128.0;
      const double gain = 1.0 + static_cast<double>(whole(c, noise, 256) - 128) / 1024.0;
      for (int t = 0; t < length; ++t) {
        const double jitter = 2.0 * fraction(leads + static_cast<uint64_t>(c) * length + t, noise) - 1.0;
        const double wave =
            slow_amplitude * triangle(slow_start + t * slow) + fast_amplitude * triangle(fast_start + t * fast);
        x.push_back(static_cast<float>(gain * wave + jitter));
      }
    }
  }
  return x;
}

/// Targets of the classifier, [records, classes]: 1 with probability 0.4, else 0.
inline std::vector<float> parity_targets(int records, int classes) {
  std::vector<float> targets;
  for (int i = 0; i < records * classes; ++i) targets.push_back(fraction(i, kTargetStream) < 0.4 ? 1.0f : 0.0f);
  return targets;
}

/// [N, C, L] (PyTorch) to [N, L, C] (Systole).
inline std::vector<float> to_channels_last(const std::vector<float>& x, int records, int channels, int length) {
  std::vector<float> y(x.size());
  for (int n = 0; n < records; ++n)
    for (int c = 0; c < channels; ++c)
      for (int l = 0; l < length; ++l)
        y[(static_cast<size_t>(n) * length + l) * channels + c] =
            x[(static_cast<size_t>(n) * channels + c) * length + l];
  return y;
}

}  // namespace systole::test
