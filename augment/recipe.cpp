// The registry of augmentations, and recipes as JSON.

#include "augment/recipe.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/common/error.h"
#include "kernels/common/strict_json.h"

namespace systole::augment {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kLevels = 8;                 // twice what a recipe has, so that a wrong value can be quoted
constexpr uintmax_t kMostBytes = 1 << 20;  // of a file

#define AT(field) offsetof(Recipe, field)

Parameter probability(size_t offset, const char* name = "p") {
  return {name, Parameter::number, offset, 0, 1};
}
Parameter share(size_t offset) {
  return {"share", Parameter::range, offset, 0, 0.9};
}

/// The value or the two ends of a range in a recipe.
float* values(Recipe& recipe, const Parameter& parameter) {
  return reinterpret_cast<float*>(reinterpret_cast<char*>(&recipe) + parameter.offset);
}
const float* values(const Recipe& recipe, const Parameter& parameter) {
  return values(const_cast<Recipe&>(recipe), parameter);
}
bool is_range(const Parameter& p) {
  return p.kind == Parameter::range || p.kind == Parameter::whole_range;
}
/// As it was written: 0.05 and not 0.05000000074505806, 3 and not 3.0.
Json shortest(float value) {
  if (value == std::floor(value)) return static_cast<int64_t>(value);
  return std::stod(fmt::format("{}", value));
}
/// On one line; text that is not UTF-8 too.
std::string text_of(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string expectation(const Parameter& p) {
  if (p.kind == Parameter::choice) return fmt::format("one of {}", fmt::join(p.choices, ", "));
  const char* what = p.kind == Parameter::number ? "a number"
                     : p.kind == Parameter::range
                         ? "a number or a range [low, high], low first,"
                         : "a whole number or a range [low, high] of whole numbers, low first,";
  return fmt::format("{} between {} and {}", what, p.low, p.high);
}

/// What is wrong is told by `refuse(found)`.
template <class Refuse>
void set(Recipe& recipe, const Parameter& p, const Json& value, const Refuse& refuse) {
  float* to = values(recipe, p);
  if (p.kind == Parameter::choice) {
    for (size_t i = 0; i < p.choices.size(); ++i)
      if (value == p.choices[i]) {
        *to = static_cast<float>(i);
        return;
      }
    refuse(text_of(value));
  }
  const bool pair = is_range(p) && value.is_array() && value.size() == 2;
  const Json& low = pair ? value[0] : value;
  const Json& high = pair ? value[1] : value;
  for (const Json* end : {&low, &high}) {
    const bool valid = end->is_number() && *end >= p.low && *end <= p.high &&
                       (p.kind != Parameter::whole_range || std::floor(end->get<double>()) == end->get<double>());
    if (!valid) refuse(text_of(value));
  }
  if (low > high) refuse(text_of(value));
  to[0] = low.get<float>();
  if (is_range(p)) to[1] = high.get<float>();
}

Json get(const Recipe& recipe, const Parameter& p) {
  const float* from = values(recipe, p);
  if (p.kind == Parameter::choice) return p.choices[static_cast<size_t>(*from)];
  if (is_range(p)) return Json::array({shortest(from[0]), shortest(from[1])});
  return shortest(*from);
}

std::string known_augmentations() {
  std::vector<std::string> names;
  for (const Augmentation& a : augmentations()) names.emplace_back(a.name);
  return fmt::format("{}", fmt::join(names, ", "));
}
const Augmentation* find(const std::string& name) {
  for (const Augmentation& a : augmentations())
    if (a.name == name) return &a;
  return nullptr;
}
const Parameter* find(const Augmentation& augmentation, const std::string& name) {
  for (const Parameter& p : augmentation.parameters)
    if (p.name == name) return &p;
  return nullptr;
}
std::string known_parameters(const Augmentation& augmentation) {
  std::vector<std::string> names;
  for (const Parameter& p : augmentation.parameters) names.emplace_back(p.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// Time must run forwards, whatever is drawn together.
template <class Refuse>
void check_time(const Recipe& r, const Refuse& refuse) {
  double slowest = 1;
  if (r.frequency_warp.p > 0) slowest += r.frequency_warp.factor.low - 1;
  if (r.crop_resize.p > 0) slowest -= r.crop_resize.share.high;
  if (r.time_warp.p > 0) slowest -= r.time_warp.speed.high;
  if (slowest < 0.05)
    refuse(fmt::format(
        "frequency_warp, crop_resize and time_warp together could run time at {:.2f} of its speed; expected at least "
        "0.05",
        slowest));
}

}  // namespace

const std::vector<Augmentation>& augmentations() {
  using P = Parameter;
  static const std::vector<Augmentation> all{
      {"crop",
       "a segment of the record; disjoint: those of its views do not overlap",
       {{"seconds", P::number, AT(crop.seconds), 0, 3600},
        {"disjoint", P::choice, AT(crop.disjoint), 0, 0, {"no", "yes"}}}},
      {"frequency_warp",
       "time runs faster or slower: another heart rate",
       {probability(AT(frequency_warp.p)), {"factor", P::range, AT(frequency_warp.factor), 0.25, 4}}},
      {"time_warp",
       "the speed of time swings smoothly by a share of itself",
       {probability(AT(time_warp.p)),
        {"speed", P::range, AT(time_warp.speed), 0, 0.9},
        {"cycles", P::range, AT(time_warp.cycles), 0.25, 20}}},
      {"crop_resize",
       "a share of the view is cut off, the rest stretched to its length",
       {probability(AT(crop_resize.p)), share(AT(crop_resize.share))}},
      {"time_shift",
       "moved in time by a share of its length, zeros follow",
       {probability(AT(time_shift.p)), {"share", P::range, AT(time_shift.share), -0.9, 0.9}}},
      {"vcg",
       "the heart's vector rotated and scaled per axis",
       {probability(AT(vcg.p)),
        {"angle_deg", P::range, AT(vcg.angle_deg), -180, 180},
        {"scale", P::range, AT(vcg.scale), 0.1, 10},
        probability(AT(vcg.enlarge_p), "enlarge_p"),
        {"inverse", P::choice, AT(vcg.inverse), 0, 0, {"dower", "kors"}},
        {"back", P::choice, AT(vcg.back), 0, 0, {"dower", "pseudo_inverse"}}}},
      {"mixup",
       "a weighted mean with another record, the own weight max(l, 1 - l), l ~ Beta(alpha, alpha)",
       {probability(AT(mixup.p)), {"alpha", P::number, AT(mixup.alpha), 0.01, 100}}},
      {"cutmix", "a segment replaced by that of another record", {probability(AT(cutmix.p)), share(AT(cutmix.share))}},
      {"band_pass",
       "frequencies between two corners, zero phase",
       {probability(AT(band_pass.p)),
        {"low_hz", P::range, AT(band_pass.low_hz), 0.01, 1e4},
        {"high_hz", P::range, AT(band_pass.high_hz), 0.01, 1e4}}},
      {"gain", "all leads times one factor", {probability(AT(gain.p)), {"factor", P::range, AT(gain.factor), -10, 10}}},
      {"amplitude_scale",
       "all leads times one positive factor, uniform in its logarithm",
       {probability(AT(amplitude_scale.p)), {"factor", P::range, AT(amplitude_scale.factor), 0.01, 100}}},
      {"lead_gain",
       "each lead times a factor of its own",
       {probability(AT(lead_gain.p)), {"factor", P::range, AT(lead_gain.factor), -10, 10}}},
      {"lead_offset",
       "each lead plus a constant of its own",
       {probability(AT(lead_offset.p)), {"offset_mv", P::range, AT(lead_offset.offset_mv), -10, 10}}},
      {"baseline_shift",
       "from one moment on each lead plus a constant of its own",
       {probability(AT(baseline_shift.p)), {"step_mv", P::range, AT(baseline_shift.step_mv), -10, 10}}},
      {"motion_artifact",
       "baseline wander: a sine, amplitude and phase per lead",
       {probability(AT(motion_artifact.p)),
        {"amplitude_mv", P::range, AT(motion_artifact.amplitude_mv), 0, 10},
        {"frequency_hz", P::range, AT(motion_artifact.frequency_hz), 0.01, 100}}},
      {"mains",
       "hum of the mains: a sine, amplitude and phase per lead",
       {probability(AT(mains.p)),
        {"amplitude_mv", P::range, AT(mains.amplitude_mv), 0, 10},
        {"frequency_hz", P::number, AT(mains.frequency_hz), 45, 65}}},
      {"muscle_noise",
       "a burst of noise that rises with frequency, swelling and fading",
       {probability(AT(muscle_noise.p)),
        {"std_mv", P::range, AT(muscle_noise.std_mv), 0, 10},
        {"share", P::range, AT(muscle_noise.share), 0, 1}}},
      {"additive_noise",
       "white noise, in standard deviations of the lead over all records",
       {probability(AT(additive_noise.p)), {"sd", P::range, AT(additive_noise.sd), 0, 10}}},
      {"lead_noise",
       "white noise, in standard deviations of the lead in this view",
       {probability(AT(lead_noise.p)), {"fraction", P::range, AT(lead_noise.fraction), 0, 10}}},
      {"temporal_dropout",
       "stretches of all leads replaced by straight lines",
       {probability(AT(temporal_dropout.p)),
        share(AT(temporal_dropout.share)),
        {"segments", P::whole_range, AT(temporal_dropout.segments), 1, 8}}},
      {"time_mask", "one stretch of all leads set to zero", {probability(AT(time_mask.p)), share(AT(time_mask.share))}},
      {"cut_out",
       "one stretch of each lead, at a place of its own, set to zero",
       {probability(AT(cut_out.p)), share(AT(cut_out.share))}},
      {"circular_mask",
       "as cut_out; a stretch that runs over the end goes on at the beginning",
       {probability(AT(circular_mask.p)), share(AT(circular_mask.share))}},
      {"lead_mask",
       "each lead set to zero with probability lead_p, never all",
       {probability(AT(lead_mask.p)), probability(AT(lead_mask.lead_p), "lead_p")}},
      {"lead_dropout",
       "a few leads set to zero",
       {probability(AT(lead_dropout.p)), {"leads", P::whole_range, AT(lead_dropout.leads), 1, 1000}}},
  };
  return all;
}

const NamedRecipe& find_recipe(const std::string& name) {
  std::vector<std::string> known;
  for (const NamedRecipe& r : recipes()) {
    if (r.name == name) return r;
    known.push_back(r.name);
  }
  throw UsageError(fmt::format("unknown augmentation recipe '{}'; expected one of {}", name, fmt::join(known, ", ")));
}

std::string to_json(const NamedRecipe& named) {
  std::vector<std::string> lines;
  for (const Augmentation& a : augmentations()) {
    if (*values(named.recipe, a.parameters.front()) == 0) continue;
    Json parameters;
    for (const Parameter& p : a.parameters) parameters[p.name] = get(named.recipe, p);
    std::string line = fmt::format("    {}: {}", Json(a.name).dump(), parameters.dump());
    for (size_t i = 0; (i = line.find_first_of(":,", i)) != std::string::npos; ++i)
      if (i + 1 < line.size() && line[i + 1] != ' ') line.insert(i + 1, " ");
    lines.push_back(line);
  }
  return fmt::format("{{\n  \"name\": {},\n  \"description\": {},\n  \"augmentations\": {{{}{}\n  }}\n}}\n",
                     Json(named.name).dump(), Json(named.description).dump(), lines.empty() ? "" : "\n",
                     fmt::join(lines, ",\n"));
}

NamedRecipe recipe_from_json(const std::string& text, const std::string& source) {
  const auto refuse = [&](const std::string& reason) {
    throw UsageError(fmt::format("recipe {}: {}", source, reason));
  };
  Json json;
  try {
    json = parse_strict_json<Json>(text, kLevels);
  } catch (const Error& error) {
    refuse(error.what());
  } catch (const Json::exception& error) {
    const std::string reason = error.what();  // begins with the library's number for it, in brackets
    refuse(fmt::format("not JSON: {}", reason.substr(std::min(reason.size(), reason.find("] ") + 2))));
  }
  if (!json.is_object() || !json.contains("augmentations") || !json["augmentations"].is_object())
    refuse("expected {\"augmentations\": {...}}");
  NamedRecipe named{source, "", {}};
  for (const auto& [key, value] : json.items()) {
    if (key == "augmentations") continue;
    if (key != "name" && key != "description")
      refuse(fmt::format("unknown member '{}'; expected name, description, augmentations", key));
    if (!value.is_string()) refuse(fmt::format("{} is {}; a text was expected", key, text_of(value)));
    (key == "name" ? named.name : named.description) = value.get<std::string>();
  }
  for (const auto& [name, parameters] : json["augmentations"].items()) {
    const Augmentation* augmentation = find(name);
    if (!augmentation)
      refuse(fmt::format("unknown augmentation '{}'; expected one of {}", name, known_augmentations()));
    if (!parameters.is_object()) refuse(fmt::format("{} is {}; an object was expected", name, text_of(parameters)));
    const Parameter& first = augmentation->parameters.front();
    if (!parameters.contains(first.name)) refuse(fmt::format("{} lacks {}, {}", name, first.name, expectation(first)));
    for (const auto& [key, value] : parameters.items()) {
      const Parameter* parameter = find(*augmentation, key);
      if (!parameter)
        refuse(fmt::format("{} has no '{}'; expected one of {}", name, key, known_parameters(*augmentation)));
      const std::string place = fmt::format("{}.{}", name, key);
      set(named.recipe, *parameter, value, [&](const std::string& found) {
        refuse(fmt::format("{} is {}; expected {}", place, found, expectation(*parameter)));
      });
    }
  }
  check_time(named.recipe, refuse);
  return named;
}

NamedRecipe read_recipe(const std::string& path) {
  std::error_code error;  // of what is no file, which cannot be read either
  if (const auto size = std::filesystem::file_size(path, error); !error && size > kMostBytes)
    throw UsageError(
        fmt::format("{}: the file has {} bytes; a recipe of at most {} was expected", path, size, kMostBytes));
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().empty()) throw UsageError(fmt::format("{}: there is no recipe to read", path));
  return recipe_from_json(text.str(), path);
}

void change(NamedRecipe& named, const std::string& text) {
  const auto refuse = [&](const std::string& reason) {
    throw UsageError(fmt::format("--augment {}: {}", text, reason));
  };
  const auto require = [&](const std::string& name) -> const Augmentation& {
    const Augmentation* augmentation = find(name);
    if (!augmentation)
      refuse(fmt::format("unknown augmentation '{}'; expected one of {}", name, known_augmentations()));
    return *augmentation;
  };
  if (text.starts_with("no-")) {
    *values(named.recipe, require(text.substr(3)).parameters.front()) = 0;
  } else {
    const size_t dot = text.find('.'), equals = text.find('=');
    if (dot == std::string::npos || equals == std::string::npos || equals < dot)
      refuse(
          "expected the name of a recipe, no-NAME, or NAME.PARAMETER=VALUE as in mixup.p=0.3 or gain.factor=0.8:1.2");
    const Augmentation& augmentation = require(text.substr(0, dot));
    const std::string name = text.substr(dot + 1, equals - dot - 1), value = text.substr(equals + 1);
    const Parameter* parameter = find(augmentation, name);
    if (!parameter)
      refuse(
          fmt::format("{} has no '{}'; expected one of {}", augmentation.name, name, known_parameters(augmentation)));
    Json json = value;  // a choice is text; everything else numbers
    if (parameter->kind != Parameter::choice) {
      const size_t colon = value.find(':');
      json = Json::parse(
          colon == std::string::npos ? value : fmt::format("[{},{}]", value.substr(0, colon), value.substr(colon + 1)),
          nullptr, false);
    }
    set(named.recipe, *parameter, json, [&](const std::string&) {
      refuse(fmt::format("expected {}{}", expectation(*parameter), is_range(*parameter) ? ", written low:high" : ""));
    });
  }
  check_time(named.recipe, refuse);
  if (!named.name.ends_with("+")) named.name += "+";
}

Recipe only(const Augmentation& augmentation) {
  Recipe recipe;
  const Parameter& first = augmentation.parameters.front();
  *values(recipe, first) = std::strcmp(first.name, "p") == 0 ? 1.0f : 0.0f;
  return recipe;
}

}  // namespace systole::augment
