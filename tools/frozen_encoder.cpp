#include "tools/frozen_encoder.h"

#include <algorithm>
#include <cmath>

#include "tools/evaluation_pass.h"

namespace systole::tools {

void calibrate(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records, Arena& arena) {
  const NoGradient no_gradient;
  int batch = 0;
  for_each_batch(records, kEvaluationBatch, [&](std::span<const size_t> rows) {
    const ArenaScope scope(arena);
    encoder.latent(batches.views(rows, {}), Mode::train(1, 1.0f / static_cast<float>(++batch)));
  });
}

Features compute_features(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records) {
  Features features{static_cast<size_t>(encoder.latent_size()), {}, std::vector<size_t>(batches.dataset().records())};
  for (size_t i = 0; i < records.size(); ++i) features.row[records[i]] = i;
  EvaluationPass pass(batches, {}, [&](const Tensor& views) { return encoder.latent(views, Mode::evaluation()); });
  pass(records, [&](std::span<const size_t>, const std::vector<float>& latent) {
    features.values.insert(features.values.end(), latent.begin(), latent.end());
  });
  return features;
}

Standardization::Standardization(const Features& f, std::span<const size_t> training)
    : mean_(f.size, 0), std_(f.size, 1) {
  const auto rows = static_cast<double>(training.size());
  for (size_t i = 0; i < f.size; ++i) {
    double sum = 0, squares = 0;
    for (size_t r : training) sum += f.of(r)[i];
    const double mean = sum / rows;
    for (size_t r : training) squares += std::pow(f.of(r)[i] - mean, 2);
    mean_[i] = static_cast<float>(mean);
    std_[i] = static_cast<float>(std::sqrt(squares / rows));
  }
  // A channel that hardly moves on few training records must not become a giant on others.
  std::vector<float> sorted = std_;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(f.size / 2), sorted.end());
  const float floor = std::max(0.01f * sorted[f.size / 2], 1e-6f);
  for (float& deviation : std_) deviation = std::max(deviation, floor);
}

Tensor Standardization::apply(const Features& f, Device device) const {
  std::vector<float> table(f.values.size());
  for (size_t i = 0; i < table.size(); ++i) table[i] = (f.values[i] - mean_[i % f.size]) / std_[i % f.size];
  const auto size = static_cast<int64_t>(f.size);
  return Tensor::from(table, {static_cast<int64_t>(table.size()) / size, size}, device);
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

FrozenHead::FrozenHead(const Features& features, std::span<const size_t> training, int classes, Device device,
                       uint64_t seed)
    : features_(features),
      standardization_(features, training),
      table_(standardization_.apply(features, device)),
      head_(models::LinearLayer::declare(store_, "head.", static_cast<int>(features.size), classes)) {
  store_.allocate(device, seed);
}

void FrozenHead::copy_to(const models::LinearLayer& head) const {
  head.weight.value.copy_from(head_.weight.value);
  head.bias.value.copy_from(head_.bias.value);
  standardization_.fold_into(head);
}

}  // namespace systole::tools
