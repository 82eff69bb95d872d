// Runs the program as a user does.
#pragma once

#include <cstdio>
#include <string>

#include "tests/support.h"

namespace systole::test {

struct Outcome {
  int code;
  std::string output;  // standard output and standard error
};

inline Outcome run(const std::string& arguments) {
  FILE* pipe = popen((std::string(SYSTOLE_BINARY) + " " + arguments + " 2>&1 </dev/null").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, n);
  const int status = pclose(pipe);
  return {WEXITSTATUS(status), output};
}

}  // namespace systole::test
