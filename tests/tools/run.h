// Runs the program as a user does, and a data set to run it on.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <string>

#include "tests/support.h"

namespace systole::test {

struct Outcome {
  int code;
  std::string output;  // standard output and standard error
};

/// `before`: words that come before the program, as those of setpriv.
inline Outcome run(const std::string& arguments, const std::string& before = "") {
  FILE* pipe = popen(fmt::format("{} {} {} 2>&1 </dev/null", before, SYSTOLE_BINARY, arguments).c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, n);
  const int status = pclose(pipe);
  return {WEXITSTATUS(status), output};
}

/// A generated data set of a few patients, made once.
inline const std::filesystem::path& few_patients() {
  static const TemporaryFolder folder;
  static const std::filesystem::path data = [] {
    const Outcome outcome = run(fmt::format("generate --out {} --patients 14 --seed 5", (folder / "data").string()));
    REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
    return folder / "data";
  }();
  return data;
}

}  // namespace systole::test
