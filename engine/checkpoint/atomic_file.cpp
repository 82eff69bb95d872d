#include "engine/checkpoint/atomic_file.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include "kernels/common/error.h"

namespace systole {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

[[noreturn]] void fail(const fs::path& path, const char* action, int reason) {
  throw Error(fmt::format("cannot {} {}: {}", action, path.string(), std::strerror(reason)));
}

void sync(const fs::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags);
  if (descriptor < 0) fail(path, "open", errno);
  const int reason = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  if (reason) fail(path, "sync", reason);
}

std::string temporary_prefix(const fs::path& path) {
  return fmt::format(".{}.", path.filename().string());
}

constexpr const char* kTemporarySuffix = ".tmp";

/// The temporary file; gone at the end of the scope unless it was renamed.
class Temporary {
 public:
  explicit Temporary(const fs::path& path)
      : path_(folder_of(path) / fmt::format("{}{}{}", temporary_prefix(path), ::getpid(), kTemporarySuffix)) {}
  ~Temporary() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove(path_, ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const fs::path& path() const { return path_; }

  void rename_to(const fs::path& path) {
    if (::rename(path_.c_str(), path.c_str()) != 0) fail(path, "write", errno);
    path_.clear();
  }

 private:
  fs::path path_;
};

}  // namespace

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  replace_file_atomically(path, {}, write);
}

void replace_file_atomically(const fs::path& path, const fs::path& previous,
                             const std::function<void(std::ostream&)>& write) {
  check_file_writable(path);
  Temporary temporary(path);
  errno = 0;
  std::ofstream stream(temporary.path(), std::ios::binary | std::ios::trunc);
  if (!stream) fail(path, "write", errno);
  write(stream);
  stream.close();
  if (!stream) fail(path, "write", errno ? errno : EIO);
  sync(temporary.path(), O_RDONLY);
  if (!previous.empty() && ::rename(path.c_str(), previous.c_str()) != 0 && errno != ENOENT)
    fail(previous, "write", errno);
  temporary.rename_to(path);
  sync(folder_of(path), O_RDONLY | O_DIRECTORY);
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  write_file_atomically(path, [content](std::ostream& stream) {
    stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  });
}

void remove_temporaries(const fs::path& path) {
  const std::string prefix = temporary_prefix(path);
  std::error_code ignored;
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_of(path), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(kTemporarySuffix)) continue;
    const auto process = std::string_view(name).substr(prefix.size());  // "1234.tmp", in no other file's name
    if (process.find_first_not_of("0123456789") == process.size() - std::strlen(kTemporarySuffix))
      found.push_back(entry.path());
  }
  for (const fs::path& file : found) fs::remove(file, ignored);
}

void check_file_writable(const fs::path& path) {
  std::error_code error;
  const fs::path folder = folder_of(path);
  if (!path.has_filename()) throw Error(fmt::format("cannot write {}: the name of a file was expected", path.string()));
  if (!fs::is_directory(folder, error))
    throw Error(fmt::format("cannot write {}: the folder {} does not exist", path.string(), folder.string()));
  const fs::file_status status = fs::status(path, error);
  if (fs::is_directory(status)) throw Error(fmt::format("cannot write {}: it is a folder", path.string()));
  if (fs::exists(status) && !fs::is_regular_file(status))
    throw Error(fmt::format("cannot write {}: it is not a regular file", path.string()));
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw Error(
        fmt::format("cannot write {}: the folder {}: {}", path.string(), folder.string(), std::strerror(errno)));
}

}  // namespace systole
