// Tensor: a handle to shared storage with a shape of at most four dimensions, a type and a device. Always contiguous.
// A time series is [N, L, C], channels last.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/error.h"
#include "kernels/common/series.h"

namespace systole {

enum class DType : uint8_t { f32, bf16, i32, i16, u8 };

size_t byte_size(DType type);

template <class T>
inline constexpr bool kIsElement = false;
template <>
inline constexpr bool kIsElement<float> = true;
template <>
inline constexpr bool kIsElement<bf16> = true;
template <>
inline constexpr bool kIsElement<int32_t> = true;
template <>
inline constexpr bool kIsElement<int16_t> = true;
template <>
inline constexpr bool kIsElement<uint8_t> = true;

template <class T>
constexpr DType dtype_of() {
  static_assert(kIsElement<T>);
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  if constexpr (std::is_same_v<T, int32_t>) return DType::i32;
  if constexpr (std::is_same_v<T, int16_t>) return DType::i16;
  return DType::u8;
}

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dimensions);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return dimension_.at(static_cast<size_t>(i)); }
  int64_t count() const;
  bool operator==(const Shape& other) const = default;
  std::string text() const;  // "[256, 1000, 12]"

 private:
  std::array<int64_t, 4> dimension_{};
  int rank_ = 0;
};

/// A piece of memory of one device; freed, or handed back to its arena, with the last tensor that uses it.
class Storage {
 public:
  Storage(std::byte* data, size_t bytes, Device device, std::shared_ptr<void> owner)
      : data_(data), bytes_(bytes), device_(device), owner_(std::move(owner)) {}
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  std::byte* data_;
  size_t bytes_;
  Device device_;
  std::shared_ptr<void> owner_;
};

struct Node;  // engine/autograd.h

class Tensor {
 public:
  Tensor() = default;

  /// Memory for a tensor, its content undefined: from the arena of the enclosing ArenaScope, or else of its own.
  static Tensor empty(const Shape& shape, Device device = Device::cpu, DType type = DType::f32);
  static Tensor zeros(const Shape& shape, Device device = Device::cpu, DType type = DType::f32);
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, Device device = Device::cpu);

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t count() const { return shape_.count(); }
  size_t bytes() const { return static_cast<size_t>(count()) * byte_size(type_); }
  DType dtype() const { return type_; }
  Device device() const { return storage_->device(); }

  /// The elements, in the memory of the tensor's device: for kernels, not to be read here. T must be the tensor's type.
  template <class T = float>
  T* data() const {
    if (dtype_of<T>() != type_) throw Error("a tensor is read as another type than its own");
    return reinterpret_cast<T*>(bytes_begin());
  }
  /// The same for kernels that take a series as it is stored: f32 or bf16.
  kernels::Series series() const {
    if (type_ == DType::bf16) return data<bf16>();
    return data<float>();
  }
  std::byte* bytes_begin() const { return storage_->data() + offset_; }

  /// A copy on the host.
  template <class T = float>
  std::vector<T> to_vector() const;
  /// The only element of a tensor of one float.
  float item() const;

  /// The same elements in another shape of the same count. The view is not part of the autograd graph.
  Tensor reshaped(const Shape& shape) const;
  /// Elements [begin, begin + shape.count()) of the flat tensor, as a tensor that shares the memory.
  Tensor slice(int64_t begin, const Shape& shape) const;

  // The tensor is a handle: what it points to changes.
  void copy_from(const void* source, size_t bytes) const;  ///< from the host
  void copy_from(const Tensor& source) const;              ///< of the same shape, type and device
  void fill_zero() const;

  /// The operation that made this tensor, when gradients can flow to it; otherwise null.
  const std::shared_ptr<Node>& node() const { return node_; }
  void set_node(std::shared_ptr<Node> node) { node_ = std::move(node); }

 private:
  void copy_to(void* target) const;  // on the host

  std::shared_ptr<Storage> storage_;
  size_t offset_ = 0;
  Shape shape_;
  DType type_ = DType::f32;
  std::shared_ptr<Node> node_;
};

template <class T>
Tensor Tensor::from(const std::vector<T>& values, const Shape& shape, Device device) {
  Tensor tensor = empty(shape, device, dtype_of<T>());
  tensor.copy_from(values.data(), values.size() * sizeof(T));
  return tensor;
}

template <class T>
std::vector<T> Tensor::to_vector() const {
  if (dtype_of<T>() != type_) throw Error("a tensor is read as another type than its own");
  std::vector<T> values(static_cast<size_t>(count()));
  copy_to(values.data());
  return values;
}

}  // namespace systole
