// One writer for the files of a run: a lock on a file beside them, with the owner's process and host as its text. The
// lock is the system's (flock, Linux): it ends with its process, however that ends, so what a crash leaves behind is
// only the text.
#pragma once

#include <filesystem>

namespace systole::tools {

/// Of this machine, as locks and records name it.
std::string host_name();

class RunLock {
 public:
  /// Throws Error that names the owner where another process has the lock; `what` says in the sentence what it writes.
  /// Says on standard error when the last owner did not end in order.
  RunLock(std::filesystem::path path, const std::string& what);
  /// Removes the file.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

}  // namespace systole::tools
