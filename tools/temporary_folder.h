// A folder for files that nothing but the command itself needs.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <string>

#include "kernels/common/error.h"

namespace systole::tools {

/// Below TMPDIR; removed with its files.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "systole_XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw Error(fmt::format("the folder {} cannot be made", pattern));
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace systole::tools
