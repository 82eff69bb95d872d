// Tensors on the device under test.
#pragma once

#include <vector>

#include "engine/operations.h"
#include "engine/tensor.h"
#include "tests/device.h"

namespace systole::test {

template <class T>
Tensor tensor(const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape, device());
}
/// A series as a run of the current precision stores it.
inline Tensor series(const std::vector<float>& values, const Shape& shape, Device on = device()) {
  if (series_type() == DType::f32) return Tensor::from(values, shape, on);
  std::vector<bf16> stored;
  for (float value : values) stored.push_back(to_bf16(value));
  return Tensor::from(stored, shape, on);
}
inline Tensor zeros(const Shape& shape) {
  return Tensor::zeros(shape, device());
}

}  // namespace systole::test
