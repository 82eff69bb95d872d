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

/// A weight and its bias get their gradients from one kernel, in one mode: both are leaves, or neither.
inline void check_bias(const char* operation, const Tensor& w, const Tensor& bias, int64_t count) {
  if (!bias) return;
  require(bias.count() == count, operation, fmt::format("a bias [{}]", count), bias);
  if ((bias.node() != nullptr) != (w.node() != nullptr))
    throw Error(fmt::format("{}: a weight and its bias are trained together or not at all", operation));
}

}  // namespace systole
