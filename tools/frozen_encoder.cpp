#include "tools/frozen_encoder.h"

#include <algorithm>
#include <cmath>

namespace systole::tools {

void calibrate(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records, Arena& arena) {
  const NoGradient no_gradient;
  int batch = 0;
  for_each_batch(records, kEvaluationBatch, [&](std::span<const size_t> rows) {
    const ArenaScope scope(arena);
    encoder.latent(batches.views(rows, {}), Mode::train(1, 1.0f / static_cast<float>(++batch)));
  });
}

Features compute_features(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records,
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
  const size_t in = mean_.size(), out = static_cast<size_t>(head.bias.shape.count());
  std::vector<float> w = head.weight.value.to_vector(), b = head.bias.value.to_vector();
  for (size_t i = 0; i < in; ++i)
    for (size_t o = 0; o < out; ++o) {
      w[i * out + o] /= std_[i];
      b[o] -= w[i * out + o] * mean_[i];
    }
  head.weight.value.copy_from(w.data(), head.weight.value.bytes());
  head.bias.value.copy_from(b.data(), head.bias.value.bytes());
}

}  // namespace systole::tools
