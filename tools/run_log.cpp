#include "tools/run_log.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "kernels/common/error.h"

namespace systole::tools {
namespace {

/// Cuts off what was written after the state that the run goes on from.
void shorten(const std::filesystem::path& path, int64_t keep) {
  std::error_code error;
  const auto bytes = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error || bytes < keep)
    throw Error(
        fmt::format("{}: {} bytes of the run that is to go on were expected, and it {}; delete the state to "
                    "start the run anew",
                    path.string(), keep, error ? "cannot be read" : fmt::format("has {}", bytes)));
  std::filesystem::resize_file(path, static_cast<uintmax_t>(keep), error);
  if (error) throw Error(fmt::format("{}: cannot be written: {}", path.string(), error.message()));
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& path, int64_t keep) : path_(path) {
  if (keep > 0) shorten(path, keep);
  file_.open(path, keep > 0 ? std::ios::app : std::ios::trunc);
  if (!file_) throw Error(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
}

void RunLog::write(const nlohmann::ordered_json& object) {
  file_ << object.dump() << std::endl;  // flushed: whoever follows the file sees whole lines
  if (!file_) throw Error(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(errno)));
}

int64_t RunLog::sync() {
  const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!done) throw Error(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(reason)));
  return static_cast<int64_t>(std::filesystem::file_size(path_));
}

nlohmann::ordered_json without_times(nlohmann::ordered_json line) {
  for (const char* key : {"seconds", "ecg_per_second"}) line.erase(key);
  return line;
}

}  // namespace systole::tools
