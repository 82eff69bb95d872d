#include "tools/model_file.h"

#include <cmath>
#include <fmt/format.h>

#include "kernels/common/error.h"

namespace systole::tools {
namespace {

using nlohmann::json;

const FileArray* find(const NamedArrays& arrays, const std::string& name) {
  for (const auto& [key, array] : arrays)
    if (key == name) return &array;
  return nullptr;
}

/// The encoder's size, from the shape of its first weight: [width, leads, 11].
models::EncoderOptions encoder_options(const NamedArrays& arrays, const std::string& prefix, const std::string& path) {
  const std::string name = prefix + "features.0.block.0.weight";
  const FileArray* weight = find(arrays, name);
  if (!weight || weight->shape.size() != 3)
    throw Error(
        fmt::format("{}: holds no {}: '{}' [width, leads, 11] is missing", path, models::ECGEncoder1DCNN::kName, name));
  return {.leads = static_cast<int>(weight->shape[1]), .width = static_cast<int>(weight->shape[0])};
}

std::string to_text(const Description& d) {
  json text{
      {"format", 1}, {"encoder", models::ECGEncoder1DCNN::kName}, {"signal_length", d.signal_length}, {"run", d.run}};
  if (d.normalization) text["normalization"] = json::parse(data::to_json(*d.normalization));
  if (!d.classes.empty()) {
    text["classes"] = d.classes;
    text["label_set"] = d.label_set;
  }
  return text.dump(1, ' ', false, json::error_handler_t::replace);  // a path need not be UTF-8
}

Description parse_description(const std::string& text, const std::string& path) {
  Description d;
  if (text.empty()) return d;
  try {
    const json parsed = json::parse(text);
    d.signal_length = parsed.value("signal_length", 0);
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

void adopt_sampling_rate(const Description& description, DataOptions& options) {
  if (description.normalization)
    options.sampling_rate_hz = static_cast<int>(std::lround(description.normalization->sampling_rate_hz));
}

EncoderFile read_encoder(const std::filesystem::path& path) {
  const TensorFile file = read_tensor_file(path);
  EncoderFile result;
  if (const NamedArrays* encoder = file.section("encoder")) {
    result.arrays = *encoder;
  } else if (const NamedArrays* model = file.section("model")) {
    const std::string prefix = "encoder.";
    for (const auto& [name, array] : *model)
      if (name.rfind(prefix, 0) == 0) result.arrays.emplace_back(name.substr(prefix.size()), array);
  } else {
    throw Error(fmt::format("{}: holds no encoder: expected the key 'encoder' or 'model'", path.string()));
  }
  result.options = encoder_options(result.arrays, "", path.string());
  result.description = parse_description(file.metadata, path.string());
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
  return {*model, encoder_options(*model, "encoder.", path.string()), static_cast<int>(head->shape[0]),
          parse_description(file.metadata, path.string())};
}

}  // namespace systole::tools
