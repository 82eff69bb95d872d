// Tensors as they stand in files: named arrays, grouped in sections, with a text of metadata beside them.
//   PyTorch: torch.load(path, weights_only=True) is {"encoder": {"features.0.block.0.weight": tensor, …}}, a section a
//   key; the metadata is the member extra/systole.json of the archive.
//   safetensors: the same tensors under "encoder.features.0.block.0.weight"; the metadata is `__metadata__`'s
//   "systole".
// A plain state dict, {"features.0.block.0.weight": tensor, …}, is one section whose name is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace systole {

enum class FileType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

size_t byte_size(FileType type);

struct FileArray {
  FileType type = FileType::f32;
  std::vector<int64_t> shape;  // empty: a scalar
  std::vector<std::byte> bytes;

  int64_t count() const;
  /// The values as float, from any type.
  std::vector<float> to_float() const;

  static FileArray from_float(const std::vector<float>& values, std::vector<int64_t> shape);
  static FileArray from_int64(const std::vector<int64_t>& values, std::vector<int64_t> shape);
};

using NamedArrays = std::vector<std::pair<std::string, FileArray>>;  // in the order of the file

struct TensorFile {
  std::vector<std::pair<std::string, NamedArrays>> sections;  // "encoder", "model" …
  std::string metadata;                                       // JSON; empty if the file has none

  /// The section of this name, or null.
  const NamedArrays* section(const std::string& name) const;
};

/// Reads a file by its content: PyTorch's zip form, PyTorch's older stream form, or safetensors. Nothing in a file is
/// ever executed: a pickle may only build dictionaries, lists, numbers, strings and tensors, and anything else is
/// refused. Entries that are no tensors ("epoch": 3) are left out, views become contiguous. Throws Error.
TensorFile read_tensor_file(const std::filesystem::path& path);

/// Writes PyTorch's zip form (a name that ends in .pt or .pth) or safetensors (.safetensors); throws UsageError for
/// another name. Complete or not at all: written to a temporary name in the same folder, synced, renamed. Equal content
/// gives equal bytes.
void write_tensor_file(const std::filesystem::path& path, const TensorFile& file);

/// Throws unless write_tensor_file could write there: asked before a long run, not after it.
void check_writable(const std::filesystem::path& path);

}  // namespace systole
