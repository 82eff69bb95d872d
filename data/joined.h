// Lists of names for the sentences of errors. (fmt::join over strings warns of an overflow in fmt itself: GCC 12, -O3.)
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
