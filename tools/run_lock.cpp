#include "tools/run_lock.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/common/error.h"

namespace systole::tools {
namespace {

/// "process 1234 on host ecg1".
std::string text_of(int file) {
  std::array<char, 512> text{};
  const ssize_t count = ::pread(file, text.data(), text.size(), 0);
  std::string owner(text.data(), static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return owner.substr(0, owner.find('\n'));
}

/// Whether the open file is still the one of that name: an owner that ends removes it.
bool is_at(int file, const std::filesystem::path& path) {
  struct stat open {
  }, named{};
  return ::fstat(file, &open) == 0 && ::stat(path.c_str(), &named) == 0 && open.st_dev == named.st_dev &&
         open.st_ino == named.st_ino;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

RunLock::RunLock(std::filesystem::path path, const std::string& what) : path_(std::move(path)) {
  while (true) {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) throw Error(fmt::format("cannot write {}: {}", path_.string(), std::strerror(errno)));
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      const std::string owner = text_of(file_);
      ::close(file_);
      if (reason != EWOULDBLOCK) throw Error(fmt::format("cannot lock {}: {}", path_.string(), std::strerror(reason)));
      throw Error(fmt::format("{} is being written by {} (its lock is {}); wait for it, or choose another --out", what,
                              owner.empty() ? "another process" : owner, path_.string()));
    }
    if (is_at(file_, path_)) break;
    ::close(file_);
  }
  if (const std::string owner = text_of(file_); !owner.empty())
    fmt::print(stderr, "the lock {} was left behind by {}, which has ended: taken over\n", path_.string(), owner);
  const std::string text = fmt::format("process {} on host {}\n", ::getpid(), host_name());
  if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    const int reason = errno;
    ::close(file_);
    throw Error(fmt::format("cannot write {}: {}", path_.string(), std::strerror(reason)));
  }
}

RunLock::~RunLock() {
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);  // before the lock ends: later it might be another's
  ::close(file_);
}

}  // namespace systole::tools
