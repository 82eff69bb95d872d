#include "engine/checkpoint/tensor_file.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <set>

#include "engine/checkpoint/atomic_file.h"
#include "engine/checkpoint/formats.h"
#include "kernels/common/error.h"

namespace systole {
namespace {

struct Half {
  uint16_t bits;
  /// IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits.
  explicit operator float() const {
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    float magnitude = std::ldexp(static_cast<float>(exponent ? fraction + 1024 : fraction), std::max(exponent, 1) - 25);
    if (exponent == 31) magnitude = fraction ? NAN : INFINITY;
    return bits >> 15 ? -magnitude : magnitude;
  }
};

struct BFloat16 {
  uint16_t bits;
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

template <class T>
std::vector<float> converted(const FileArray& array) {
  std::vector<float> values(array.bytes.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, array.bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = static_cast<float>(value);
  }
  return values;
}

template <class T>
FileArray array_from(FileType type, const std::vector<T>& values, std::vector<int64_t> shape) {
  FileArray array{type, std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  if (formats::byte_count(type, array.shape) != static_cast<int64_t>(array.bytes.size()))
    throw Error(
        fmt::format("{} values do not fill an array of shape [{}]", values.size(), fmt::join(array.shape, ", ")));
  if (!values.empty()) std::memcpy(array.bytes.data(), values.data(), array.bytes.size());
  return array;
}

enum class Format { pytorch, safetensors };

Format format_of(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".pt" || extension == ".pth") return Format::pytorch;
  if (extension == ".safetensors") return Format::safetensors;
  throw UsageError(
      fmt::format("cannot write {}: a name that ends in .pt, .pth or .safetensors was expected", path.string()));
}

/// A section's name stands before a dot in safetensors, and "" puts its tensors beside the other sections.
void check_sections(const TensorFile& file, const std::string& path) {
  std::set<std::string> sections;
  for (const auto& [section, arrays] : file.sections) {
    if (section.find('.') != std::string::npos || (section.empty() && file.sections.size() > 1) ||
        !sections.insert(section).second)
      throw Error(fmt::format(
          "cannot write {}: the section \"{}\" is there twice, contains a dot, or is nameless beside others", path,
          section));
    std::set<std::string> names;
    for (const auto& [name, array] : arrays) {
      if (name.empty() || !names.insert(name).second)
        throw Error(fmt::format("cannot write {}: the tensor \"{}\" is there twice or has no name", path, name));
      if (formats::byte_count(array.type, array.shape) != static_cast<int64_t>(array.bytes.size()))
        throw Error(fmt::format("cannot write {}: the tensor {} of shape [{}] has {} bytes", path, name,
                                fmt::join(array.shape, ", "), array.bytes.size()));
    }
  }
}

bool is_known(std::string_view file) {
  return formats::is_pytorch_zip(file) || formats::is_pytorch_stream(file) || formats::is_safetensors(file);
}

/// The content of the file, which is read only when it begins as one of the formats.
std::string read_whole(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) throw Error(fmt::format("the file {} does not exist", path.string()));
  if (!std::filesystem::is_regular_file(path, error)) throw Error(fmt::format("{} is not a file", path.string()));
  std::ifstream stream(path, std::ios::binary);
  const size_t size = std::filesystem::file_size(path);
  std::string content;
  for (const size_t part : {std::min<size_t>(size, 64), size}) {
    const size_t begin = content.size();
    content.resize(part);
    stream.read(content.data() + begin, static_cast<std::streamsize>(part - begin));
    if (!stream) throw Error(fmt::format("the file {} cannot be read", path.string()));
    if (!is_known(content))
      throw Error(fmt::format("{}: the file is neither one of torch.save nor safetensors", path.string()));
  }
  return content;
}

}  // namespace

namespace formats {

std::optional<int64_t> byte_count(FileType type, const std::vector<int64_t>& shape) {
  auto bytes = static_cast<int64_t>(byte_size(type));
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) return {};
    empty |= size == 0;
  }
  return empty ? 0 : bytes;
}

}  // namespace formats

size_t byte_size(FileType type) {
  switch (type) {
    case FileType::f64:
    case FileType::i64:
      return 8;
    case FileType::f32:
    case FileType::i32:
      return 4;
    case FileType::f16:
    case FileType::bf16:
    case FileType::i16:
      return 2;
    case FileType::i8:
    case FileType::u8:
    case FileType::boolean:
      return 1;
  }
  throw Error("an array has an unknown type");
}

int64_t FileArray::count() const {
  const std::optional<int64_t> size = formats::byte_count(type, shape);
  if (!size) throw Error(fmt::format("an array cannot have the shape [{}]", fmt::join(shape, ", ")));
  return *size / static_cast<int64_t>(byte_size(type));
}

std::vector<float> FileArray::to_float() const {
  switch (type) {
    case FileType::f64:
      return converted<double>(*this);
    case FileType::f32:
      return converted<float>(*this);
    case FileType::f16:
      return converted<Half>(*this);
    case FileType::bf16:
      return converted<BFloat16>(*this);
    case FileType::i64:
      return converted<int64_t>(*this);
    case FileType::i32:
      return converted<int32_t>(*this);
    case FileType::i16:
      return converted<int16_t>(*this);
    case FileType::i8:
      return converted<int8_t>(*this);
    case FileType::u8:
    case FileType::boolean:
      return converted<uint8_t>(*this);
  }
  throw Error("an array has an unknown type");
}

FileArray FileArray::from_float(const std::vector<float>& values, std::vector<int64_t> shape) {
  return array_from(FileType::f32, values, std::move(shape));
}

FileArray FileArray::from_int64(const std::vector<int64_t>& values, std::vector<int64_t> shape) {
  return array_from(FileType::i64, values, std::move(shape));
}

const NamedArrays* TensorFile::section(const std::string& name) const {
  for (const auto& [section, arrays] : sections)
    if (section == name) return &arrays;
  return nullptr;
}

TensorFile read_tensor_file(const std::filesystem::path& path) {
  const std::string content = read_whole(path);
  const std::string name = path.string();
  if (formats::is_pytorch_zip(content)) return formats::read_pytorch_zip(content, name);
  if (formats::is_pytorch_stream(content)) return formats::read_pytorch_stream(content, name);
  return formats::read_safetensors(content, name);
}

void write_tensor_file(const std::filesystem::path& path, const TensorFile& file) {
  const Format format = format_of(path);
  check_sections(file, path.string());
  write_file_atomically(path, [&](std::ostream& stream) {
    format == Format::pytorch ? formats::write_pytorch_zip(stream, file) : formats::write_safetensors(stream, file);
  });
}

void check_writable(const std::filesystem::path& path) {
  format_of(path);
  check_file_writable(path);
}

}  // namespace systole
