// What the operations check alike before they call a kernel.
#pragma once

#include <fmt/format.h>
#include <initializer_list>
#include <string>

#include "engine/operations.h"
#include "kernels/common/memory.h"
#include "kernels/common/pending.h"

namespace systole {

inline void require(bool condition, const char* operation, const std::string& expected, const Tensor& found) {
  if (!condition)
    throw Error(fmt::format("{}: expected {}, found the shape {}", operation, expected, found.shape().text()));
}

/// The queue of the device that all tensors lie on.
inline Queue queue_of(const char* operation, std::initializer_list<const Tensor*> tensors) {
  const Device device = (*tensors.begin())->device();
  for (const Tensor* t : tensors)
    if (*t && t->device() != device)
      throw Error(fmt::format("{}: a tensor of shape {} lies on {}, another on {}", operation, t->shape().text(),
                              name(t->device()), name(device)));
  return Queue(device);
}

inline const float* data_or_null(const Tensor& t) {
  return t ? t.data() : nullptr;
}

inline kernels::PendingAffine pending_of(const Activation& x) {
  return {data_or_null(x.scale), data_or_null(x.shift), x.groups, x.relu};
}

/// A raw output with its BatchNorm, for the kernels of the backward pass.
inline kernels::NormalizedOutput output_of(const Activation& x) {
  return {x.raw.series(), x.mean.data(), x.scale.data(), x.shift.data(), x.groups, x.relu};
}

/// Sums of a gradient dz of the activation's shape, as the kernels write them.
inline kernels::RecordGradientSums sums_in(GradientSums& sums, const Activation& x) {
  return {output_of(x), sums.values.data(), sums.values.data() + sums.values.count() / 2, &sums.pieces};
}

/// The sums that the writer of an activation's gradient adds up on the way, where a BatchNorm waits for them; room for
/// those of so many pieces.
class WantedSums {
 public:
  WantedSums(const Activation& x, const GradientTarget& dx, int pieces) {
    if (!x.mean || dx.mode != GradientMode::overwrite) return;
    sums_.values = Tensor::empty({2, x.raw.dim(0), pieces, x.raw.dim(2)}, x.raw.device());
    wanted_ = sums_in(sums_, x);
  }
  WantedSums(const WantedSums&) = delete;
  WantedSums& operator=(const WantedSums&) = delete;

  const kernels::RecordGradientSums& wanted() const { return wanted_; }
  void leave(InputGradients& gradients) const {
    if (sums_) gradients.leave_sums(0, sums_);
  }

 private:
  GradientSums sums_;
  kernels::RecordGradientSums wanted_;  // points to sums_
};

/// A weight and its bias get their gradients from one kernel, in one mode: both are leaves, or neither.
inline void check_bias(const char* operation, const Tensor& w, const Tensor& bias, int64_t count) {
  if (!bias) return;
  require(bias.count() == count, operation, fmt::format("a bias [{}]", count), bias);
  if ((bias.node() != nullptr) != (w.node() != nullptr))
    throw Error(fmt::format("{}: a weight and its bias are trained together or not at all", operation));
}

}  // namespace systole
