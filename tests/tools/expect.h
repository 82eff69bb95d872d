// What a command must do.
#pragma once

#include <string>
#include <vector>

#include "tests/tools/run.h"

namespace systole::test {

/// The output of a command that must succeed.
inline std::string succeeded(const std::string& arguments) {
  const Outcome outcome = run(arguments);
  INFO(arguments << "\n" << outcome.output);
  REQUIRE(outcome.code == 0);
  return outcome.output;
}

/// A command that must fail with this code and these words in its last line.
inline void check_refused(const std::string& arguments, int code, const std::vector<std::string>& words,
                          const std::string& before = "") {
  const Outcome outcome = run(arguments, before);
  INFO(arguments << "\n" << outcome.output);
  REQUIRE(outcome.code == code);
  const std::string sentence = outcome.output.substr(outcome.output.rfind("systole: "));
  for (const std::string& word : words) CHECK_MESSAGE(sentence.find(word) != std::string::npos, word);
}

}  // namespace systole::test
