// --encoder, --width and --lead-groups: which encoder a run trains.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/encoder.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct EncoderChoice {
  std::optional<std::string> name, lead_groups;
  std::optional<int> width;
  bool is_given() const { return name || lead_groups || width; }
};

/// Adds --encoder, --width and --lead-groups.
void add_encoder_options(CLI::App& command, EncoderChoice& choice);
/// Throws UsageError for options out of range or that do not go together.
void check(const EncoderChoice& choice);

/// The encoder for records with these leads; what was not chosen is as published. Throws UsageError for lead groups
/// that the records do not have.
models::EncoderOptions encoder_options(const EncoderChoice& choice, const std::vector<std::string>& leads);

/// For the description of a model file: {"encoder", "width", …}.
nlohmann::json to_json(const models::EncoderOptions& options);

}  // namespace systole::tools
