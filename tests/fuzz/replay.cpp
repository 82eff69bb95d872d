// Replays the corpus of a fuzz target without libFuzzer: every file of the folders named, and simple changes of each,
// the same in every run. The program ends badly at a finding, and when the target refuses or accepts everything, since
// then it tests nothing.

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <iterator>
#include <set>
#include <sys/resource.h>

#include "tests/fuzz/fuzz.h"

namespace {

using systole::fuzz::counts;

constexpr size_t kPlaces = 200;                  // of one file at which it is changed
constexpr rlim_t kMostMemory = rlim_t{1} << 30;  // no small file may ask for more

std::string current;  // what is being tried, for the message about a finding

void run(const std::string& name, const std::string& bytes) {
  current = name;
  const std::vector<uint8_t> exact(bytes.begin(), bytes.end());  // nothing lies behind its end
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

[[noreturn]] void report_finding() {
  fmt::print(stderr, "a finding at: {}\n", current);
  std::_Exit(1);
}

void run_cut_short(const std::string& name, const std::string& bytes, size_t step) {
  for (size_t size = 0; size < bytes.size(); size += step)
    run(fmt::format("{}, cut to {} bytes", name, size), bytes.substr(0, size));
}

void run_changed_bytes(const std::string& name, const std::string& bytes, size_t step) {
  for (size_t at = 0; at < bytes.size(); at += step) {
    const auto changed = [&](const char* how, const std::string& by) {
      run(fmt::format("{}, byte {} {}", name, at, how), std::string(bytes).replace(at, 1, by));
    };
    changed("with its lowest bit flipped", std::string(1, static_cast<char>(bytes[at] ^ 1)));
    changed("with its highest bit flipped", std::string(1, static_cast<char>(bytes[at] ^ 0x80)));
    changed("zero", std::string(1, '\0'));
    changed("255", "\xff");
    changed("taken out", "");
    changed("twice", std::string(2, bytes[at]));
  }
}

void run_changed_numbers(const std::string& name, const std::string& bytes) {
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  size_t numbers = 0;
  for (auto at = bytes.begin(); numbers < kPlaces; ++numbers) {
    const auto begin = std::find_if(at, bytes.end(), is_digit);
    at = std::find_if_not(begin, bytes.end(), is_digit);
    if (begin == at) return;
    for (const char* number : {"0", "-1", "4294967296", "1099511627776", "9223372036854775807", "1e308", "1e-308"})
      run(fmt::format("{}, the number at byte {} as {}", name, begin - bytes.begin(), number),
          std::string(bytes.begin(), begin) + number + std::string(at, bytes.end()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::set_terminate(report_finding);
#if !defined(__SANITIZE_ADDRESS__)  // which reserves terabytes
  const rlimit limit{kMostMemory, kMostMemory};
  setrlimit(RLIMIT_AS, &limit);
#endif
  std::set<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i)
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) files.insert(entry.path());
  std::vector<std::pair<std::string, std::string>> inputs;
  for (const auto& path : files) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(path.string(), std::string(std::istreambuf_iterator<char>(file), {}));
  }
  for (const auto& [name, bytes] : inputs) run(name, bytes);
  const size_t accepted = counts.accepted;
  for (const auto& [name, bytes] : inputs) {
    const size_t step = std::max<size_t>(1, bytes.size() / kPlaces);
    run_cut_short(name, bytes, step);
    run_changed_bytes(name, bytes, step);
    run_changed_numbers(name, bytes);
  }
  fmt::print("{} files: {} accepted; with what was made of them {} accepted, {} refused\n", files.size(), accepted,
             counts.accepted, counts.refused);
  if (accepted > 0 && counts.refused > 0) return 0;
  fmt::print(stderr, "the target {} everything\n", accepted == 0 ? "refuses" : "accepts");
  return 1;
}
