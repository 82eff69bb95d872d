// Training a head on a frozen encoder: the features are computed once, standardised, and the standardisation is folded
// into the head when it is done.
#pragma once

#include <span>
#include <vector>

#include "engine/arena.h"
#include "engine/operations.h"
#include "models/encoder.h"
#include "models/linear_layer.h"
#include "tools/ecg_data.h"

namespace systole::tools {

/// Sets BatchNorm's running statistics of an untrained encoder to the averages over the records: with their initial
/// values a frozen random encoder would not normalise at all, which is no fair baseline.
void calibrate(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records, Arena& arena);

/// The latents of some records of a data set.
struct Features {
  size_t size;                // D
  std::vector<float> values;  // [records, D]
  std::vector<size_t> row;    // of a record of the data set among the values

  std::span<const float> of(size_t record) const { return {values.data() + row[record] * size, size}; }
};

/// The latents of the records, in evaluation mode.
Features compute_features(models::Encoder& encoder, const Batches& batches, std::span<const size_t> records);

/// Mean and standard deviation of each feature. A head that is trained on features of such different scales as a frozen
/// encoder gives would converge slowly.
class Standardization {
 public:
  Standardization(const Features& features, std::span<const size_t> training);

  /// All of the features, [records, D].
  Tensor apply(const Features& features, Device device) const;
  /// Turns a head for standardised features into the same function of raw ones: w / std, b − Σ w·mean / std.
  void fold_into(const models::LinearLayer& head) const;

 private:
  std::vector<float> mean_, std_;  // [D]
};

/// A linear head on features, standardised by those of the training records. They lie on the device.
class FrozenHead {
 public:
  /// `features` must outlive the head. Its initial weights follow from the seed.
  FrozenHead(const Features& features, std::span<const size_t> training, int classes, Device device, uint64_t seed);

  ParameterStore& store() { return store_; }
  /// By which inputs() knows a record.
  int32_t row_of(size_t record) const { return static_cast<int32_t>(features_.row[record]); }
  /// rows i32 [N] → the standardised features [N, D].
  Tensor inputs(const Tensor& rows) const { return gather(table_, rows); }
  /// Of inputs: [N, classes].
  Tensor logits(const Tensor& x) const { return head_.forward(x); }
  /// Sets a head on the encoder itself to the same function.
  void copy_to(const models::LinearLayer& head) const;

 private:
  const Features& features_;
  Standardization standardization_;
  Tensor table_;  // [records, D], standardised
  ParameterStore store_;
  models::LinearLayer head_;
};

}  // namespace systole::tools
