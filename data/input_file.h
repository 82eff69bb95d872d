// Files of a data set that someone else may have made: what is read is a regular file, of a size that makes sense, and
// lies in the data folder, wherever names and symbolic links lead.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace systole::data {

/// Whether a name that a file gives for another one stays below the folder that it is relative to: no absolute path, no
/// `..` among its parts, no backslash and no zero byte.
bool stays_below(std::string_view name);

/// A file open for reading. Throws Error when it is missing, no regular file, or outside a root.
class InputFile {
 public:
  /// `root` is the canonical path of the folder that the file must lie in once all symbolic links are followed; empty:
  /// it may lie anywhere, since the user named it.
  explicit InputFile(const std::filesystem::path& path, const std::filesystem::path& root = {});
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  int64_t size() const { return size_; }
  /// Throws Error when the file ends before.
  void read(int64_t offset, int64_t count, uint8_t* bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_;
  int64_t size_;
};

/// The whole file. Throws Error as InputFile, and before any of it is read when it has more than `most_bytes`.
std::string read_text(const std::filesystem::path& path, int64_t most_bytes, const std::filesystem::path& root = {});

}  // namespace systole::data
