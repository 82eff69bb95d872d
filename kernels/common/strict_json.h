// JSON from files that anyone may have written.
#pragma once

#include <fmt/format.h>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/error.h"

namespace systole {

/// Parses a text in which no object has a key twice, of which the library would take the last, and nothing is nested
/// deeper than `levels`: walking through a hundred thousand brackets would exhaust the stack. `Json` is one of
/// nlohmann's types. Throws Error with the reason, and what the library throws for a text that is not JSON.
template <class Json>
Json parse_strict_json(std::string_view text, int levels) {
  std::vector<std::set<std::string>> keys;  // of the objects around
  const auto check = [&](int depth, typename Json::parse_event_t event, Json& parsed) {
    using Event = typename Json::parse_event_t;
    const bool begins = event == Event::object_start || event == Event::array_start;
    if (begins && depth >= levels) throw Error(fmt::format("nested deeper than {} levels", levels));
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.template get<std::string>()).second)
      throw Error(fmt::format("the key {:.100} is there twice in one object",
                              parsed.dump(-1, ' ', false, Json::error_handler_t::replace)));
    return true;
  };
  return Json::parse(text, check);
}

}  // namespace systole
