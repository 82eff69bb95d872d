#include "tools/label_curve_record.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fstream>

#include "engine/checkpoint/atomic_file.h"
#include "engine/checkpoint/run_state.h"
#include "kernels/common/strict_json.h"
#include "tools/label_curve_settings.h"
#include "tools/run_log.h"
#include "tools/run_record.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr const char* kResult = "label_curve.json";

std::string dump(const ordered_json& json, int indent = -1) {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace);  // a path need not be UTF-8
}

/// Null for what is no JSON.
ordered_json read_json(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  ordered_json json = ordered_json::parse(file, nullptr, false);
  return json.is_discarded() ? ordered_json() : json;
}

/// label_curve.json without the settings that tell when, where and by what it was made. Null for another file.
ordered_json comparable_summary(const fs::path& result) {
  ordered_json summary = read_json(result);
  try {
    for (const char* key : {"command", "date", "version"}) summary.at("settings").erase(key);
    for (ordered_json& run : summary.at("runs")) run = without_times(run);
  } catch (const nlohmann::json::exception&) {
    return nullptr;
  }
  return summary;
}

/// label_curve.csv without its last column, the seconds.
std::string comparable_table(const fs::path& result) {
  std::ifstream file(fs::path(result).replace_extension("csv"), std::ios::binary);
  std::string text;
  for (std::string line; std::getline(file, line);) text += line.substr(0, line.rfind(',')) + "\n";
  return text;
}

/// In the order of the summary, the files of its runs, "runs/scratch_1_42.json". Throws Error for another summary.
std::vector<std::string> run_files(const ordered_json& summary) {
  std::vector<std::string> files;
  try {
    for (const ordered_json& run : summary.at("runs"))
      files.push_back("runs/" +
                      run_file_name(run.at("arm"), run.at("fraction"), whole_number<uint64_t>(run.at("seed"))));
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("{} is not as label-curve writes it: {}", kResult, error.what()));
  }
  return files;
}

ordered_json comparable_run(const fs::path& result, const std::string& file) {
  ordered_json run = read_json(result.parent_path() / file);
  return run.is_object() ? without_times(std::move(run)) : ordered_json();
}

std::string json_difference(const ordered_json& there, const ordered_json& here) {
  const ordered_json steps = ordered_json::diff(there, here);
  if (steps.empty()) return {};
  const std::string at = steps.front()["path"];
  const auto value = [&](const ordered_json& json) {
    const ordered_json::json_pointer place(at);
    return json.contains(place) ? dump(json.at(place)) : std::string("missing");
  };
  return fmt::format("{} was {} and is {}", at, value(there), value(here));
}

/// When a curve with these settings was begun: its state or record says so, where it is whole.
std::string begun(const fs::path& result, const ordered_json& settings) {
  for (const char* file : {"state", "run.json"}) {
    try {
      const ordered_json record = find_run(beside(result, file)).record;
      if (difference(record.value("settings", ordered_json()), settings).empty())
        return record.value("started", time_text());
    } catch (const Error&) {  // nothing is lost but the date
    }
  }
  return time_text();
}

}  // namespace

LabelCurveRecord::LabelCurveRecord(const CLI::App& command, const LabelCurve& curve)
    : result_(curve.options.out / kResult) {
  ordered_json more = settings_of(curve);
  more.erase("--device");  // a record has it
  record_ = begin_record(command, curve.options.common, curve.device, curve.dataset, more);
  record_["out"] = kResult;
  record_.erase("seed");  // --seeds
  record_["started"] = begun(result_, record_["settings"]);
}

void LabelCurveRecord::begin(size_t runs) const {
  RunState state;
  auto count = static_cast<int64_t>(runs);
  state.number("label_curve.runs_to_make", count);
  write_state(beside(result_, "state"), state, dump(record_));
}

void LabelCurveRecord::finish(double seconds) {
  record_["finished"] = time_text();
  record_["seconds"] = seconds;
  record_["results"] = curve_results_of(result_);
  write_file_atomically(beside(result_, "run.json"), dump(record_, 1) + "\n");
  std::error_code ignored;
  const fs::path state = beside(result_, "state");
  for (const fs::path& file : {previous_state(state), state}) fs::remove(file, ignored);
}

ordered_json curve_results_of(const fs::path& result) {
  ordered_json results{
      {"label_curve.json", nullptr}, {"label_curve.csv", nullptr}, {"label_curve.svg", nullptr}, {"runs", nullptr}};
  const ordered_json summary = comparable_summary(result);
  if (summary.is_null()) return results;
  results["label_curve.json"] = text_checksum(dump(summary));
  results["label_curve.csv"] = text_checksum(comparable_table(result));
  results["label_curve.svg"] = file_checksum(fs::path(result).replace_extension("svg"));
  std::string runs;
  for (const std::string& file : run_files(summary)) runs += dump(comparable_run(result, file)) + "\n";
  results["runs"] = text_checksum(runs);
  return results;
}

std::string curve_difference(const fs::path& there, const fs::path& here) {
  const ordered_json a = comparable_summary(there), b = comparable_summary(here);
  for (const std::string& file : run_files(a))
    if (const std::string what = json_difference(comparable_run(there, file), comparable_run(here, file));
        !what.empty())
      return fmt::format("{}: {}", file, what);
  if (const std::string what = json_difference(a, b); !what.empty()) return "label_curve.json: " + what;
  const ordered_json were = curve_results_of(there), are = curve_results_of(here);
  for (const auto& [file, checksum] : were.items())
    if (checksum != are[file]) return fmt::format("{} has other bytes", file);
  return {};
}

}  // namespace systole::tools
