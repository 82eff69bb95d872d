// Training a head on a frozen encoder: the features are computed once, standardised, and the standardisation is folded
// into the head when it is done.
#pragma once

#include <span>
#include <vector>

#include "engine/arena.h"
#include "models/encoder.h"
#include "models/linear_layer.h"
#include "tools/ecg_data.h"

namespace systole::tools {

/// Sets BatchNorm's running statistics of an untrained encoder to the averages over the records: with their initial
/// values a frozen random encoder would not normalise at all, which is no fair baseline.
void calibrate(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records, Arena& arena);

struct Features {
  std::vector<float> values;  // [records, size]
  size_t size;
};

/// The latents of the records, in evaluation mode.
Features compute_features(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records,
                          Arena& arena);

/// Mean and standard deviation of each feature. A head that is trained on features of such different scales as a frozen
/// encoder gives would converge slowly.
class Standardization {
 public:
  explicit Standardization(const Features& training);

  void apply(Features& features) const;
  /// Turns a head for standardised features into the same function of raw ones: w / std, b − Σ w·mean / std.
  void fold_into(const models::LinearLayer& head) const;

 private:
  std::vector<float> mean_, std_;  // [size]
};

}  // namespace systole::tools
