// Tensors that losses over pairs of rows pass between kernels: arrays of structs, and scalars on the device.
#pragma once

#include "engine/tensor.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/pool/pool.h"

namespace systole {

/// Memory for `count` structs of four-byte numbers.
template <class Struct>
Tensor empty_structs(int64_t count, Device device) {
  return Tensor::empty({count, static_cast<int64_t>(sizeof(Struct) / sizeof(float))}, device);
}
/// Null for an empty tensor.
template <class Struct>
Struct* structs_in(const Tensor& tensor) {
  return tensor ? reinterpret_cast<Struct*>(tensor.data()) : nullptr;
}

/// factor · scalar.
inline Tensor scaled(const Tensor& scalar, float factor) {
  Queue queue(scalar.device());
  Tensor result = Tensor::empty({1}, scalar.device());
  kernels::elementwise_kernels(scalar.device())
      .scale(queue, 1, factor, scalar.data(), result.data(), GradientMode::overwrite);
  return result;
}

/// The mean of the numbers in `values`.
inline Tensor mean_of(const Tensor& values) {
  Queue queue(values.device());
  Tensor mean = Tensor::empty({1}, values.device());
  kernels::pool_kernels(values.device())
      .mean_forward(queue, {1, static_cast<int>(values.count()), 1}, values.data(), {}, mean.data());
  return mean;
}

}  // namespace systole
