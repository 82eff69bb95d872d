// Lists of names for the sentences of errors. (fmt::join warns of an overflow inside fmt 9 with GCC 12 at -O3.)
#pragma once

#include <string>

namespace systole::data {

/// "I, II, III"
template <class Names>
std::string joined(const Names& names) {
  std::string text;
  for (bool first = true; const auto& name : names) {
    if (!first) text += ", ";
    text += name;
    first = false;
  }
  return text;
}

}  // namespace systole::data
