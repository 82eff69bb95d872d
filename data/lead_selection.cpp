#include "data/lead_selection.h"

#include <algorithm>
#include <cctype>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/common/error.h"

namespace systole::data {
namespace {

/// The place of each lead in the data set.
std::vector<size_t> places(const Dataset& dataset, const std::vector<std::string>& leads) {
  std::vector<size_t> result;
  for (const std::string& lead : leads) {
    const std::optional<size_t> place = find_lead(dataset.leads, lead);
    if (!place)
      throw UsageError(
          fmt::format("{} has no lead '{}'; its leads are {}", dataset.name, lead, fmt::join(dataset.leads, ", ")));
    if (std::count(result.begin(), result.end(), *place))
      throw UsageError(fmt::format("the lead {} is named twice in {}", dataset.leads[*place], fmt::join(leads, ",")));
    result.push_back(*place);
  }
  return result;
}

/// The chosen columns of a table with `columns` of them.
template <class T>
std::vector<T> columns_of(const std::vector<T>& table, size_t columns, const std::vector<size_t>& chosen) {
  std::vector<T> result;
  result.reserve(table.size() / columns * chosen.size());
  for (size_t row = 0; row < table.size() / columns; ++row)
    for (const size_t column : chosen) result.push_back(table[row * columns + column]);
  return result;
}

}  // namespace

std::optional<size_t> find_lead(const std::vector<std::string>& leads, const std::string& name) {
  const auto same = [&](const std::string& lead) {
    return std::equal(lead.begin(), lead.end(), name.begin(), name.end(),
                      [](unsigned char a, unsigned char b) { return std::toupper(a) == std::toupper(b); });
  };
  const auto found = std::find_if(leads.begin(), leads.end(), same);
  if (found == leads.end()) return {};
  return static_cast<size_t>(found - leads.begin());
}

Dataset select_leads(Dataset dataset, const std::vector<std::string>& leads) {
  const std::vector<size_t> chosen = places(dataset, leads);
  const size_t before = dataset.lead_count();
  dataset.samples = columns_of(dataset.samples, before, chosen);
  dataset.scale = columns_of(dataset.scale, before, chosen);
  dataset.offset = columns_of(dataset.offset, before, chosen);
  std::vector<std::string> names;
  for (const size_t place : chosen) names.push_back(dataset.leads[place]);
  dataset.leads = names;
  return dataset;
}

}  // namespace systole::data
