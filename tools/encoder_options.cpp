#include "tools/encoder_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>
#include <sstream>

#include "data/lead_selection.h"
#include "models/dual_stream.h"
#include "tools/command.h"

namespace systole::tools {
namespace {

constexpr const char* kPublishedGroups = "I,II,V5,V6/V1,V2,V3,V4";

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// The place of a lead: by its name in any case, or as a number.
int lead_of(const std::string& text, const std::vector<std::string>& leads) {
  if (const auto place = data::find_lead(leads, text)) return static_cast<int>(*place);
  const bool is_number = !text.empty() && text.size() < 6 && std::all_of(text.begin(), text.end(), ::isdigit);
  if (is_number && std::stoul(text) < leads.size()) return std::stoi(text);
  throw UsageError(fmt::format("--lead-groups: the records have no lead '{}'; expected {}, or 0 to {}", text,
                               fmt::join(leads, ", "), leads.size() - 1));
}

std::vector<std::vector<int>> parse_groups(const std::string& text, const std::vector<std::string>& leads) {
  const std::vector<std::string> groups = split(text, '/');
  require_option(groups.size() == 2 && !groups[0].empty() && !groups[1].empty(), "--lead-groups",
                 fmt::format("two groups of leads, like {}", kPublishedGroups), text);
  std::vector<std::vector<int>> result;
  std::set<int> seen;
  for (const std::string& group : groups) {
    result.emplace_back();
    for (const std::string& name : split(group, ',')) {
      result.back().push_back(lead_of(name, leads));
      require_option(seen.insert(result.back().back()).second, "--lead-groups", "groups with every lead at most once",
                     text);
    }
  }
  return result;
}

std::string encoder_help() {
  std::string text = "Encoder [default: ECGEncoder1DCNN]:";
  for (const models::EncoderDefinition& e : models::encoder_definitions())
    text += fmt::format("\n{}: {} ({}; width {})", e.name, e.meaning, e.source, e.width);
  return text + "\n";
}

}  // namespace

void add_encoder_options(CLI::App& command, EncoderChoice& choice) {
  command.add_option("--encoder", choice.name, encoder_help());
  command.add_option("--width", choice.width, "Channels of the encoder's first layer [default: as published]");
  command.add_option(
      "--lead-groups", choice.lead_groups,
      fmt::format("DualStream: the leads of its two streams, by name or place [default: {}]", kPublishedGroups));
}

void check(const EncoderChoice& choice) {
  const models::EncoderDefinition& encoder =
      models::encoder_definition(choice.name.value_or(models::EncoderOptions{}.name));
  const int width = choice.width.value_or(encoder.width);
  require_option(width >= 1 && width <= 4096, "--width", "between 1 and 4096", std::to_string(width));
  if (choice.lead_groups && encoder.name != std::string(models::DualStream::kName))
    throw UsageError(
        fmt::format("--lead-groups goes with --encoder {}, not with {}", models::DualStream::kName, encoder.name));
}

models::EncoderOptions encoder_options(const EncoderChoice& choice, const std::vector<std::string>& leads) {
  const models::EncoderDefinition& encoder =
      models::encoder_definition(choice.name.value_or(models::EncoderOptions{}.name));
  models::EncoderOptions options = encoder.published();
  if (!encoder.single_leads) options.leads = static_cast<int>(leads.size());
  if (choice.width) options.width = *choice.width;
  if (options.name == models::DualStream::kName)
    options.lead_groups = parse_groups(choice.lead_groups.value_or(kPublishedGroups), leads);
  return options;
}

nlohmann::json to_json(const models::EncoderOptions& options) {
  nlohmann::json json{{"encoder", options.name}, {"leads", options.leads}, {"width", options.width}};
  if (!options.lead_groups.empty()) json["lead_groups"] = options.lead_groups;
  return json;
}

}  // namespace systole::tools
