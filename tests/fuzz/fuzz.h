// What the fuzz targets share. A target hands bytes that may be anything to a parser, which returns or throws Error.
// Everything else is a finding: another exception, a crash, what a sanitizer reports, memory or time out of proportion.
// With clang each target is a program of libFuzzer (tools/fuzz); in every build its corpus is replayed (replay.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace systole::fuzz {

struct Counts {
  size_t accepted = 0, refused = 0;
};
inline Counts counts;

template <class Parse>
void attempt(const Parse& parse) {
  try {
    parse();
    ++counts.accepted;
  } catch (const Error&) {
    ++counts.refused;
  }
}

/// Something that holds for every input that was accepted.
inline void require(bool property) {
  if (!property) std::abort();
}

inline std::string_view text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// The files that an input stands for, `count` of them, separated by lines of %%.
inline std::vector<std::string> parts(std::string_view input, size_t count) {
  constexpr std::string_view kSeparator = "%%\n";
  std::vector<std::string> result;
  while (result.size() + 1 < count) {
    const size_t end = std::min(input.find(kSeparator), input.size());
    result.emplace_back(input.substr(0, end));
    input.remove_prefix(std::min(end + kSeparator.size(), input.size()));
  }
  result.emplace_back(input);
  return result;
}

}  // namespace systole::fuzz
