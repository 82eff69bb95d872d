#include "tools/frozen_encoder.h"

#include <algorithm>
#include <cmath>

namespace systole::tools {

void calibrate(models::ECGEncoder1DCNN& encoder, const Batches& batches, std::span<const size_t> records,
               Arena& arena) {
  const NoGradient no_gradient;
  int batch = 0;
  for_each_batch(records, kEvaluationBatch, [&](std::span<const size_t> rows) {
    const ArenaScope scope(arena);
    encoder.forward(batches.views(rows, {}), Mode::train(1, 1.0f / static_cast<float>(++batch)));
  });
}

Features compute_features(models::ECGEncoder1DCNN& encoder, const Batches& batches, std::span<const size_t> records,
                          Arena& arena) {
  const NoGradient no_gradient;
  Features features{{}, static_cast<size_t>(encoder.latent_size())};
  for_each_batch(records, kEvaluationBatch, [&](std::span<const size_t> rows) {
    const ArenaScope scope(arena);
    const std::vector<float> latent = encoder.latent(batches.views(rows, {}), Mode::evaluation()).to_vector();
    features.values.insert(features.values.end(), latent.begin(), latent.end());
  });
  return features;
}

Standardization::Standardization(const Features& f) : mean_(f.size, 0), std_(f.size, 1) {
  const size_t rows = f.values.size() / f.size;
  for (size_t i = 0; i < f.size; ++i) {
    double sum = 0, squares = 0;
    for (size_t r = 0; r < rows; ++r) sum += f.values[r * f.size + i];
    const double mean = sum / static_cast<double>(rows);
    for (size_t r = 0; r < rows; ++r) squares += std::pow(f.values[r * f.size + i] - mean, 2);
    mean_[i] = static_cast<float>(mean);
    std_[i] = static_cast<float>(std::sqrt(squares / static_cast<double>(rows)));
  }
  // A channel that hardly moves on few training records must not become a giant on others.
  std::vector<float> sorted = std_;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(f.size / 2), sorted.end());
  const float floor = std::max(0.01f * sorted[f.size / 2], 1e-6f);
  for (float& deviation : std_) deviation = std::max(deviation, floor);
}

void Standardization::apply(Features& f) const {
  for (size_t i = 0; i < f.values.size(); ++i) f.values[i] = (f.values[i] - mean_[i % f.size]) / std_[i % f.size];
}

void Standardization::fold_into(const models::LinearLayer& head) const {
  const int64_t in = head.weight.shape[0], out = head.weight.shape[1];
  float* w = head.weight.value.data();
  float* b = head.bias.value.data();
  for (int64_t i = 0; i < in; ++i)
    for (int64_t o = 0; o < out; ++o) {
      w[i * out + o] /= std_[static_cast<size_t>(i)];
      b[o] -= w[i * out + o] * mean_[static_cast<size_t>(i)];
    }
}

}  // namespace systole::tools
