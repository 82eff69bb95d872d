// Every mistake is reported, with the line on which it is made: by the runtime itself in every build, by
// ThreadSanitizer and AddressSanitizer in theirs.

#include <cstdio>
#include <string>
#include <sys/wait.h>

#include "kernels/common/error.h"
#include "kernels/common/launch.h"
#include "kernels/simt/options.h"
#include "tests/simt/broken_kernels.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::test;

namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool kRaces = true, kAddresses = false;
#elif defined(__SANITIZE_ADDRESS__)
constexpr bool kRaces = false, kAddresses = true;
#else
constexpr bool kRaces = false, kAddresses = false;
#endif

/// "broken_kernels.cpp:LINE" of the mark.
std::string place_of(const std::string& name) {
  std::istringstream source(read_file(std::filesystem::path(SYSTOLE_SOURCE_DIR) / "tests/simt/broken_kernels.cpp"));
  int number = 1;
  for (std::string line; std::getline(source, line); ++number)
    if (line.find("// HERE: " + name) != std::string::npos) return fmt::format("broken_kernels.cpp:{}", number);
  FAIL("no line is marked " << name);
  return {};
}

struct Outcome {
  int code;
  std::string output;
};

Outcome run_alone(size_t number) {
  FILE* pipe = popen(fmt::format("{} {} 2>&1", SYSTOLE_BROKEN_KERNELS, number).c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome{};
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) outcome.output.append(buffer, n);
  outcome.code = WEXITSTATUS(pclose(pipe));
  return outcome;
}

}  // namespace

TEST_CASE("simt: every mistake is reported with its line") {
  for (size_t i = 0; i < broken_kernels().size(); ++i) {
    const BrokenKernel& kernel = broken_kernels()[i];
    const bool expected = kernel.checker == Checker::always || (kernel.checker == Checker::race_detector && kRaces) ||
                          (kernel.checker == Checker::address_checker && kAddresses);
    if (!expected) continue;
    const Outcome outcome = run_alone(i);
    INFO(kernel.name << ": " << outcome.output);
    CHECK(outcome.code != 0);
    CHECK(outcome.output.find(kernel.sentence) != std::string::npos);
    if (!kernel.name.empty()) CHECK(outcome.output.find(place_of(kernel.name)) != std::string::npos);
  }
}

TEST_CASE("simt: after a failure the next launch runs") {
  for (const BrokenKernel& kernel : broken_kernels()) {
    if (kernel.checker != Checker::always) continue;
    CHECK_THROWS_AS(kernel.run(), LaunchError);
    CHECK_THROWS_AS(kernel.run(), LaunchError);
  }
}
