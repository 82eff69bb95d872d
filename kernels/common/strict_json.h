// JSON from files that anyone may have written.
#pragma once

#include <cstdint>
#include <fmt/format.h>
#include <limits>
#include <set>
#include <string>
#include <string_view>
#include <utility>
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

/// A whole number that `To` holds. The library would convert any number: cut off what is too long, and be undefined for
/// a fraction that is too large. Throws Error that quotes anything else.
template <class To, class Json>
To whole_number(const Json& json) {
  if (json.is_number_unsigned()) {
    if (const auto value = json.template get<uint64_t>(); std::in_range<To>(value)) return static_cast<To>(value);
  } else if (json.is_number_integer()) {
    if (const auto value = json.template get<int64_t>(); std::in_range<To>(value)) return static_cast<To>(value);
  }
  throw Error(fmt::format("{:.100} is no whole number from {} to {}",
                          json.dump(-1, ' ', false, Json::error_handler_t::replace), std::numeric_limits<To>::min(),
                          std::numeric_limits<To>::max()));
}

template <class To, class Json>
std::vector<To> whole_numbers(const Json& json) {
  std::vector<To> numbers;
  for (const Json& item : json.template get_ref<const typename Json::array_t&>())
    numbers.push_back(whole_number<To>(item));
  return numbers;
}

}  // namespace systole
