// The metrics of a run: one JSON object a line, written as they come.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace systole::tools {

class RunLog {
 public:
  /// Keeps the first `keep` bytes of the file that is there; 0 starts it anew. Throws Error when it cannot be written
  /// or is shorter.
  explicit RunLog(const std::filesystem::path& path, int64_t keep = 0);
  void write(const nlohmann::ordered_json& object);
  /// Everything on the disk; returns the bytes that the file has.
  int64_t sync();

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

/// A line without what the clock says, which no two runs have in common: "seconds" and "ecg_per_second".
nlohmann::ordered_json without_times(nlohmann::ordered_json line);

}  // namespace systole::tools
