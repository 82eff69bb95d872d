// The metrics of a run: one JSON object a line, written as they come.
#pragma once

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace systole::tools {

class RunLog {
 public:
  /// Starts the file anew. Throws Error when it cannot be written.
  explicit RunLog(const std::filesystem::path& path);
  void write(const nlohmann::ordered_json& object);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace systole::tools
