// Tensors on the device under test.
#pragma once

#include <vector>

#include "engine/tensor.h"
#include "tests/device.h"

namespace systole::test {

template <class T>
Tensor tensor(const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape, device());
}
inline Tensor zeros(const Shape& shape) {
  return Tensor::zeros(shape, device());
}

}  // namespace systole::test
