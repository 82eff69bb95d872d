#include "data/input_file.h"

#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/common/error.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

/// Where an open file lies, all links followed: asked of the system for the file itself, so that no exchange of names
/// comes between the question and the reading.
fs::path place_of(int descriptor, const fs::path& path) {
  char place[PATH_MAX];
  const ssize_t length = readlink(fmt::format("/proc/self/fd/{}", descriptor).c_str(), place, sizeof place);
  if (length <= 0) return fs::canonical(path);  // a system without /proc
  return std::string(place, static_cast<size_t>(length));
}

bool lies_in(const fs::path& root, const fs::path& place) {
  const std::string &folder = root.native(), &file = place.native();
  return file.starts_with(folder) && (folder.ends_with('/') || file.substr(folder.size(), 1) == "/");
}

}  // namespace

bool stays_below(std::string_view name) {
  const bool climbs =
      name == ".." || name.starts_with("../") || name.ends_with("/..") || name.find("/../") != std::string_view::npos;
  return !climbs && !name.starts_with('/') && name.find('\\') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

InputFile::InputFile(const fs::path& path, const fs::path& root)
    : path_(path),
      descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // a pipe must not be waited for
  if (descriptor_ < 0) throw Error(fmt::format("The file {} cannot be opened: {}.", path.string(), strerror(errno)));
  try {
    struct stat status = {};
    if (fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode))
      throw Error(fmt::format("{} is not a regular file.", path.string()));
    size_ = status.st_size;
    if (root.empty()) return;
    if (const fs::path place = place_of(descriptor_, path); !lies_in(root, place))
      throw Error(fmt::format("{} leads to {}, a file in the data folder {} was expected.", path.string(),
                              place.string(), root.string()));
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

InputFile::~InputFile() {
  close(descriptor_);
}

void InputFile::read(int64_t offset, int64_t count, uint8_t* bytes) const {
  int64_t done = 0;
  while (done < count) {  // one call, except past 2 GB and when a signal interrupts it
    const ssize_t got = pread(descriptor_, bytes + done, static_cast<size_t>(count - done), offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      throw Error(fmt::format("Reading the file {} failed at byte {}: {}.", path_.string(), offset + done,
                              got < 0 ? strerror(errno) : "it has become shorter"));
    done += got;
  }
}

std::string read_text(const fs::path& path, int64_t most_bytes, const fs::path& root) {
  const InputFile file(path, root);
  if (file.size() > most_bytes)
    throw Error(
        fmt::format("The file {} has {} bytes, at most {} were expected.", path.string(), file.size(), most_bytes));
  std::string text(static_cast<size_t>(file.size()), '\0');
  file.read(0, file.size(), reinterpret_cast<uint8_t*>(text.data()));
  return text;
}

}  // namespace systole::data
