#include "tools/model_file.h"

#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "kernels/common/error.h"
#include "kernels/common/strict_json.h"
#include "models/dual_stream.h"
#include "tools/encoder_options.h"

namespace systole::tools {
namespace {

using nlohmann::json;

const FileArray* find(const NamedArrays& arrays, const std::string& name) {
  for (const auto& [key, array] : arrays)
    if (key == name) return &array;
  return nullptr;
}

/// A sentence about a file without a known encoder: the first weight of each, as it would have to be.
[[noreturn]] void throw_no_encoder(const std::string& prefix, const std::string& path) {
  std::vector<std::string> known;
  for (const models::EncoderDefinition& e : models::encoder_definitions())
    known.push_back(fmt::format("'{}{}' ({})", prefix, e.first_weight, e.name));
  throw Error(fmt::format("{}: holds no encoder: expected one of {}", path, fmt::join(known, ", ")));
}

/// The encoder whose first weight the arrays have.
const models::EncoderDefinition& recognized(const NamedArrays& arrays, const std::string& prefix,
                                            const std::string& path) {
  for (const models::EncoderDefinition& e : models::encoder_definitions())
    if (find(arrays, prefix + e.first_weight)) return e;
  throw_no_encoder(prefix, path);
}

/// The encoder that the description names, where it names one.
const models::EncoderDefinition& described(const std::string& name, const std::string& path) {
  try {
    return models::encoder_definition(name);
  } catch (const UsageError& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
}

/// A network is built of what these shapes say before its other weights are compared: they must be such as networks
/// have.
void check_channels(const FileArray& weight, const std::string& name, const std::string& path) {
  constexpr int64_t kMost = 1 << 14;
  for (const int64_t size : weight.shape)
    if (size < 1 || size > kMost)
      throw Error(fmt::format("{}: '{}' has the shape [{}], sizes from 1 to {} were expected", path, name,
                              fmt::join(weight.shape, ", "), kMost));
}

/// Completes the encoder of a description from the names and shapes in the file.
void complete(models::EncoderOptions& options, const NamedArrays& arrays, const std::string& prefix,
              const std::string& path) {
  const bool is_described = !options.name.empty();
  const models::EncoderDefinition& encoder =
      is_described ? described(options.name, path) : recognized(arrays, prefix, path);
  const std::string name = prefix + encoder.first_weight;
  const FileArray* weight = find(arrays, name);
  if (!weight || weight->shape.size() != 3)
    throw Error(fmt::format("{}: holds no {}: '{}' [width, leads, kernel] is missing", path, encoder.name, name));
  check_channels(*weight, name, path);
  options.name = encoder.name;
  options.width = static_cast<int>(weight->shape[0]);
  const bool has_groups = options.name == models::DualStream::kName;  // its weights do not tell the leads of a record
  if (!has_groups) options.leads = static_cast<int>(weight->shape[1]);
}

/// Heads of pre-training that stand among the weights of an encoder: they are no part of it.
bool is_projector(const std::string& name) {
  return name.find("finalLayer.") != std::string::npos;
}

std::string to_text(const Description& d) {
  json text{{"format", 1}, {"signal_length", d.signal_length}, {"run", d.run}};
  text.update(to_json(d.encoder));
  if (d.normalization) text["normalization"] = json::parse(data::to_json(*d.normalization));
  if (!d.classes.empty()) {
    text["classes"] = d.classes;
    text["label_set"] = d.label_set;
  }
  return text.dump(1, ' ', false, json::error_handler_t::replace);  // a path need not be UTF-8
}

json json_of(const std::string& text, const std::string& path) {
  constexpr int kLevels = 32;  // the description of a run has seven
  try {
    return parse_strict_json<json>(text, kLevels);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: its description is refused: {}", path, error.what()));
  }
}

void read_whole_numbers(const json& parsed, Description& d, const std::string& path) {
  try {
    for (const json& group : parsed.value("lead_groups", json::array()))
      d.encoder.lead_groups.push_back(whole_numbers<int>(group));
    d.signal_length = whole_number<int>(parsed.value("signal_length", json(0)));
  } catch (const Error& error) {
    throw Error(fmt::format("{}: its description is not valid: {}", path, error.what()));
  }
}

Description parse_description(const std::string& text, const std::string& path) {
  Description d;
  d.encoder.name.clear();
  if (text.empty()) return d;
  try {
    const json parsed = json_of(text, path);
    d.encoder.name = parsed.value("encoder", "");
    d.encoder.leads = parsed.value("leads", d.encoder.leads);
    read_whole_numbers(parsed, d, path);
    d.run = parsed.value("run", json::object());
    d.label_set = parsed.value("label_set", "");
    d.classes = parsed.value("classes", std::vector<std::string>{});
    if (parsed.contains("normalization"))
      d.normalization = data::normalization_from_json(parsed["normalization"].dump(), path);
  } catch (const json::exception& error) {
    throw Error(fmt::format("{}: its description is not valid: {}", path, error.what()));
  }
  return d;
}

}  // namespace

void write_model(const std::filesystem::path& path, const ParameterStore& store, const std::string& section,
                 const std::string& prefix, const Description& description) {
  write_tensor_file(path, {{{section, store.state(prefix)}}, to_text(description)});
}

void adopt_signals(const Description& description, DataOptions& options) {
  if (!description.normalization) return;
  options.sampling_rate_hz = static_cast<int>(std::lround(description.normalization->sampling_rate_hz));
  options.leads = description.normalization->leads;
}

EncoderFile read_encoder(const std::filesystem::path& path) {
  const TensorFile file = read_tensor_file(path);
  const NamedArrays* section = file.section("encoder");
  const std::string prefix = section ? "" : "encoder.";
  if (!section) section = file.section("model");
  if (!section) throw Error(fmt::format("{}: holds no encoder: expected the key 'encoder' or 'model'", path.string()));
  EncoderFile result;
  for (const auto& [name, array] : *section)
    if (name.rfind(prefix, 0) == 0 && !is_projector(name))
      result.arrays.emplace_back(name.substr(prefix.size()), array);
  result.description = parse_description(file.metadata, path.string());
  complete(result.description.encoder, result.arrays, "", path.string());
  return result;
}

ClassifierFile read_classifier(const std::filesystem::path& path) {
  const TensorFile file = read_tensor_file(path);
  const NamedArrays* model = file.section("model");
  if (!model)
    throw Error(fmt::format("{}: holds no classifier: expected the key 'model', as finetune and supervised write it",
                            path.string()));
  const FileArray* head = find(*model, "head.weight");
  if (!head || head->shape.size() != 2)
    throw Error(fmt::format("{}: holds no classifier: 'head.weight' [classes, features] is missing", path.string()));
  check_channels(*head, "head.weight", path.string());
  ClassifierFile result{*model, static_cast<int>(head->shape[0]), parse_description(file.metadata, path.string())};
  complete(result.description.encoder, *model, "encoder.", path.string());
  return result;
}

}  // namespace systole::tools
