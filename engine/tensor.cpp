#include "engine/tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <span>

#include "engine/arena.h"
#include "kernels/common/memory.h"

namespace systole {
namespace {

std::shared_ptr<Storage> allocate_alone(size_t bytes, Device device) {
  std::shared_ptr<std::byte> memory = allocate_memory(device, bytes);
  std::byte* const begin = memory.get();
  return std::make_shared<Storage>(begin, bytes, device, std::move(memory));
}

}  // namespace

size_t byte_size(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::i16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

Shape::Shape(std::initializer_list<int64_t> dimensions) : rank_(static_cast<int>(dimensions.size())) {
  if (dimensions.size() > dimension_.size())
    throw Error(fmt::format("a shape has at most 4 dimensions, not {}", rank_));
  std::copy(dimensions.begin(), dimensions.end(), dimension_.begin());
  for (int64_t d : dimensions)
    if (d < 0) throw Error(fmt::format("a shape cannot have the dimension {}", d));
}

int64_t Shape::count() const {
  int64_t product = 1;
  for (int i = 0; i < rank_; ++i) product *= dimension_[static_cast<size_t>(i)];
  return product;
}

std::string Shape::text() const {
  return fmt::format("[{}]", fmt::join(std::span(dimension_).first(static_cast<size_t>(rank_)), ", "));
}

Tensor Tensor::empty(const Shape& shape, Device device, DType type) {
  Tensor tensor;
  tensor.shape_ = shape;
  tensor.type_ = type;
  Arena* const arena = ArenaScope::current();
  const size_t bytes = static_cast<size_t>(shape.count()) * byte_size(type);
  tensor.storage_ = arena && arena->device() == device ? arena->allocate(bytes) : allocate_alone(bytes, device);
  return tensor;
}

Tensor Tensor::zeros(const Shape& shape, Device device, DType type) {
  Tensor tensor = empty(shape, device, type);
  tensor.fill_zero();
  return tensor;
}

float Tensor::item() const {
  if (count() != 1) throw Error(fmt::format("a tensor of shape {} is not one number", shape_.text()));
  return to_vector<float>()[0];
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.count() != count())
    throw Error(fmt::format("a tensor of shape {} cannot become {}", shape_.text(), shape.text()));
  return slice(0, shape);
}

Tensor Tensor::slice(int64_t begin, const Shape& shape) const {
  if (begin < 0 || begin + shape.count() > count())
    throw Error(fmt::format("elements {} to {} are not part of a tensor of shape {}", begin, begin + shape.count(),
                            shape_.text()));
  Tensor part = *this;
  part.node_ = nullptr;
  part.offset_ += static_cast<size_t>(begin) * byte_size(type_);
  part.shape_ = shape;
  return part;
}

void Tensor::copy_from(const void* source, size_t size) const {
  if (size != bytes()) throw Error(fmt::format("{} bytes do not fill a tensor of {} bytes", size, bytes()));
  Queue queue(device());
  copy_to_device(queue, bytes_begin(), source, size);
}

void Tensor::copy_from(const Tensor& source) const {
  if (!(source.shape() == shape_) || source.dtype() != type_ || source.device() != device())
    throw Error(fmt::format("a tensor of shape {} on {} cannot be copied to one of shape {} on {}",
                            source.shape().text(), name(source.device()), shape_.text(), name(device())));
  Queue queue(device());
  copy_on_device(queue, bytes_begin(), source.bytes_begin(), bytes());
}

void Tensor::copy_to(void* target) const {
  Queue queue(device());
  copy_to_host(queue, target, bytes_begin(), bytes());
}

void Tensor::fill_zero() const {
  Queue queue(device());
  systole::fill_zero(queue, bytes_begin(), bytes());
}

}  // namespace systole
