// The file formats behind tensor_file.h. `name` is the file's, for the sentences of errors.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include "engine/checkpoint/tensor_file.h"

namespace systole::formats {

/// PyTorch's networks have at most five.
inline constexpr size_t kMaxRank = 16;

/// The bytes of an array; nothing when a size is negative or the product leaves 63 bits.
std::optional<int64_t> byte_count(FileType type, const std::vector<int64_t>& shape);

TensorFile read_pytorch_zip(std::string_view file, const std::string& name);
TensorFile read_pytorch_stream(std::string_view file, const std::string& name);
TensorFile read_safetensors(std::string_view file, const std::string& name);

bool is_pytorch_zip(std::string_view file);
bool is_pytorch_stream(std::string_view file);
bool is_safetensors(std::string_view file);

/// The same content gives the same bytes.
void write_pytorch_zip(std::ostream& stream, const TensorFile& file);
void write_safetensors(std::ostream& stream, const TensorFile& file);

}  // namespace systole::formats
