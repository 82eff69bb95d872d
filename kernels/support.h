// Which device has which kernel, read from the kernel tables themselves: a new entry of a table needs no edit here, a
// new table one line in support.cpp.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "kernels/common/device.h"

namespace systole::kernels {

struct Support {
  const char* kernel;               // "conv1d.forward"
  bool on[std::size(kAllDevices)];  // by device. A build without CUDA says for cuda what it says for simt: both are
                                    // compiled from the same sources
};

/// All kernels of kernels/, family by family.
std::vector<Support> support_matrix();

/// How many entries a table has: it is an aggregate of entries, and each of them can be made from nullptr.
template <class Kernels, class... Nulls>
constexpr size_t entry_count() {
  if constexpr (requires { Kernels{Nulls{}..., nullptr}; })
    return entry_count<Kernels, Nulls..., std::nullptr_t>();
  else
    return sizeof...(Nulls);
}

/// Calls visit(entry) for every entry of a table. C++20 has no packs of structured bindings, hence the ladder.
template <class Kernels, class Visit>
void for_each_entry(const Kernels& table, const Visit& visit) {
  constexpr size_t kCount = entry_count<Kernels>();
  static_assert(kCount >= 1 && kCount <= 11, "another step is needed below");
  const auto all = [&](const auto&... entry) { (visit(entry), ...); };
  if constexpr (kCount == 1) {
    const auto& [a] = table;
    all(a);
  } else if constexpr (kCount == 2) {
    const auto& [a, b] = table;
    all(a, b);
  } else if constexpr (kCount == 3) {
    const auto& [a, b, c] = table;
    all(a, b, c);
  } else if constexpr (kCount == 4) {
    const auto& [a, b, c, d] = table;
    all(a, b, c, d);
  } else if constexpr (kCount == 5) {
    const auto& [a, b, c, d, e] = table;
    all(a, b, c, d, e);
  } else if constexpr (kCount == 6) {
    const auto& [a, b, c, d, e, f] = table;
    all(a, b, c, d, e, f);
  } else if constexpr (kCount == 7) {
    const auto& [a, b, c, d, e, f, g] = table;
    all(a, b, c, d, e, f, g);
  } else if constexpr (kCount == 8) {
    const auto& [a, b, c, d, e, f, g, h] = table;
    all(a, b, c, d, e, f, g, h);
  } else if constexpr (kCount == 9) {
    const auto& [a, b, c, d, e, f, g, h, i] = table;
    all(a, b, c, d, e, f, g, h, i);
  } else if constexpr (kCount == 10) {
    const auto& [a, b, c, d, e, f, g, h, i, j] = table;
    all(a, b, c, d, e, f, g, h, i, j);
  } else {
    const auto& [a, b, c, d, e, f, g, h, i, j, k] = table;
    all(a, b, c, d, e, f, g, h, i, j, k);
  }
}

/// Adds a row for every entry of a family.
template <class Kernels>
void add_support(std::vector<Support>& rows, const Kernels& (*table_of)(Device)) {
  const size_t first = rows.size();
  for (Device device : kAllDevices) {
    size_t row = first;
    for_each_entry(table_of(device), [&](const auto& entry) {
      if (row == rows.size()) rows.push_back({entry.name, {}});
      rows[row++].on[static_cast<size_t>(device)] = static_cast<bool>(entry);
    });
  }
}

}  // namespace systole::kernels
