#include "tools/run_log.h"

#include <cerrno>
#include <cstring>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::tools {

RunLog::RunLog(const std::filesystem::path& path) : path_(path), file_(path, std::ios::trunc) {
  if (!file_) throw Error(fmt::format("{}: cannot be written: {}", path.string(), std::strerror(errno)));
}

void RunLog::write(const nlohmann::ordered_json& object) {
  file_ << object.dump() << std::endl;  // flushed: whoever follows the file sees whole lines
  if (!file_) throw Error(fmt::format("{}: writing failed: {}", path_.string(), std::strerror(errno)));
}

}  // namespace systole::tools
