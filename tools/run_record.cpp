#include "tools/run_record.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fstream>
#include <set>
#include <zlib.h>

#include "benchmarks/origin.h"
#include "engine/checkpoint/run_state.h"
#include "kernels/common/parallel.h"
#include "tools/progress.h"
#include "tools/run_lock.h"
#include "tools/run_log.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

/// Options on which no bit of a result depends, and those whose meaning stands among the other settings.
constexpr const char* kFree[] = {"--help",           "--out",    "--resume",    "--save-every",    "--on-nonfinite",
                                 "--threads",        "--device", "--data-root", "--label-table",   "--save-init",
                                 "--ssl-checkpoint", "--recipe", "--jobs",      "--worker-threads"};

class Checksum {
 public:
  template <class T>
  void add(const std::vector<T>& values) {
    add(values.data(), values.size() * sizeof(T));
  }
  void add(const std::vector<std::string>& texts) {
    for (const std::string& text : texts) add(text);
  }
  void add(const std::string& text) { add(text.c_str(), text.size() + 1); }
  void add(const void* bytes, size_t count) {
    if (count == 0) return;  // of no bytes crc32_z may be given no address, which sets it back
    crc_ = static_cast<uint32_t>(crc32_z(crc_, static_cast<const Bytef*>(bytes), count));
  }
  std::string text() const { return fmt::format("{:08x}", crc_); }

 private:
  uint32_t crc_ = 0;
};

std::string checksum_of(const data::Dataset& d) {
  Checksum sum;
  sum.add(fmt::format("{} {} {} {}", d.length, d.sampling_rate_hz, d.unit, d.label_set));
  sum.add(d.leads);
  sum.add(d.classes);
  sum.add(d.samples);
  sum.add(d.scale);
  sum.add(d.offset);
  sum.add(d.record_id);
  sum.add(d.patient_id);
  sum.add(d.fold);
  sum.add(d.labels);
  return sum.text();
}

std::string metrics_checksum(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  Checksum sum;
  for (std::string line; std::getline(file, line);) {
    const ordered_json parsed = ordered_json::parse(line, nullptr, false);
    sum.add(parsed.is_object() ? without_times(parsed).dump() : line);
  }
  return sum.text();
}

std::string value_of(const CLI::Option& option) {
  return option.count() > 0 ? fmt::format("{}", fmt::join(option.results(), " ")) : option.get_default_str();
}

bool same_value(const ordered_json& a, const ordered_json& b) {
  if (a == b) return true;
  if (!a.is_string() || !b.is_string()) return false;
  const auto number = [](const std::string& text) -> std::optional<double> {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return {};
    return value;
  };
  const auto x = number(a.get<std::string>()), y = number(b.get<std::string>());
  return x && y && *x == *y;
}

std::string shown(const ordered_json& value) {
  if (value.is_null() || value == "") return "not given";  // NOLINT(readability-container-size-empty): JSON
  return value.is_string() ? value.get<std::string>() : value.dump();
}

constexpr const char* kRecord = ".run.json";
constexpr const char* kState = ".state";

/// The result of a run whose record or state has this name, by the command line of the record.
fs::path result_of(const fs::path& file, const ordered_json& record) {
  return file.parent_path() / record.value("out", "");
}

/// Of a run that is made anew the state is newer than the record.
bool is_made_anew(const fs::path& file) {
  std::string text = file.string();
  if (!text.ends_with(kRecord)) return false;
  text.resize(text.size() - std::string_view(kRecord).size());
  return fs::exists(text + kState);
}

FoundRun read_run(const fs::path& file) {
  if (file.string().ends_with(kRecord)) {
    ordered_json record = read_record(file);
    return {result_of(file, record), std::move(record)};
  }
  const std::optional<StateFile> state = read_state(file);
  ordered_json record = ordered_json::parse(state ? state->description : "", nullptr, false);
  if (!record.is_object()) throw Error(fmt::format("{}: holds no run", file.string()));
  return {result_of(file, record), std::move(record)};
}

}  // namespace

ordered_json begin_record(const CLI::App& command, const CommonOptions& common, Device device,
                          const data::Dataset& dataset, const ordered_json& more) {
  ordered_json settings{{"command", command.get_name()}};
  for (const CLI::Option* option : command.get_options())
    if (std::ranges::find(kFree, option->get_name()) == std::end(kFree))
      settings[option->get_name()] = value_of(*option);
  settings["device"] = name(device);
  settings.update(more);
  settings["number of records"] = dataset.records();
  settings["checksum of the records"] = checksum_of(dataset);
  return {{"command", command_line()},
          {"folder", fs::current_path().string()},
          {"out", fs::path(command.get_option("--out")->as<std::string>()).filename().string()},
          {"program", fmt::format("systole {}, commit {} ({})", SYSTOLE_VERSION, benchmarks::commit(), SYSTOLE_BUILD)},
          {"device", fmt::format("{} ({})", name(device), describe(device))},
          {"precision", common.precision},
          {"convolution", common.convolution},
          {"threads", threads()},
          {"host", host_name()},
          {"seed", common.seed},
          {"settings", settings},
          {"started", time_text()}};
}

std::string difference(const ordered_json& there, const ordered_json& here) {
  std::vector<std::string> keys;
  for (const ordered_json& settings : {here, there})
    for (const auto& [key, value] : settings.items())
      if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
  const auto value = [](const ordered_json& settings, const std::string& key) {
    return settings.contains(key) ? settings[key] : ordered_json();
  };
  for (const std::string& key : keys) {
    const ordered_json a = value(there, key), b = value(here, key);
    if (same_value(a, b)) continue;
    if (a.is_object() && b.is_object()) return key + ": " + difference(a, b);
    return fmt::format("{} is {} there and {} here", key, shown(a), shown(b));
  }
  return {};
}

ordered_json results_of(const fs::path& out) {
  const fs::path metrics = beside(out, "metrics.jsonl");
  const auto of = [](const fs::path& path, std::string (*checksum)(const fs::path&)) {
    return fs::is_regular_file(path) ? ordered_json(checksum(path)) : ordered_json();
  };
  return {{out.filename().string(), of(out, file_checksum)},
          {metrics.filename().string(), of(metrics, metrics_checksum)}};
}

ordered_json read_record(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  ordered_json record = ordered_json::parse(file, nullptr, false);
  if (!record.is_object() || !record["settings"].is_object() || !record["command"].is_array())
    throw Error(fmt::format("{}: is not the record of a run", path.string()));
  return record;
}

std::string file_checksum(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  Checksum sum;
  for (std::array<char, 1 << 16> buffer; file;) {
    file.read(buffer.data(), buffer.size());
    sum.add(buffer.data(), static_cast<size_t>(file.gcount()));
  }
  return sum.text();
}

std::string text_checksum(const std::string& text) {
  Checksum sum;
  sum.add(text.data(), text.size());
  return sum.text();
}

std::string time_text() {
  return benchmarks::now();
}

FoundRun find_run(const fs::path& path) {
  const auto files_of = [](const fs::path& out) {
    std::vector<fs::path> files;
    for (const char* suffix : {"run.json", "state"})
      if (const fs::path file = beside(out, suffix); fs::exists(file)) files.push_back(file);
    return files;
  };
  std::vector<fs::path> files;
  if (fs::is_directory(path)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path))
      for (const char* suffix : {kRecord, kState})
        if (entry.path().string().ends_with(suffix)) files.push_back(entry.path());
    std::ranges::sort(files);
    std::erase_if(files, is_made_anew);
  } else if (path.string().ends_with(kRecord) || path.string().ends_with(kState)) {
    if (fs::exists(path)) files = {path};
  } else if (files = files_of(path); files.size() > 1) {
    files = {files.back()};  // made anew
  }
  if (files.empty())
    throw Error(
        fmt::format("{}: no run lies there: the result of pretrain, finetune or supervised was expected, its "
                    ".run.json or .state, or a folder with one of them, as that of label-curve",
                    path.string()));
  if (files.size() > 1) {
    std::vector<std::string> names;
    for (const fs::path& file : files) names.push_back(file.filename().string());
    throw Error(fmt::format("{}: holds several runs: {}; name one of them", path.string(), fmt::join(names, ", ")));
  }
  return read_run(files.front());
}

std::string run_text(const FoundRun& run) {
  const ordered_json& r = run.record;
  const auto text = [&](const char* key) { return shown(r.value(key, ordered_json())); };
  std::string out;
  const auto line = [&](const std::string& name, const std::string& value) {
    out += fmt::format("{:<14}{}\n", name, value);
  };
  const bool finished = r.contains("results");
  line("result", run.out.string());
  line("state", finished ? fmt::format("complete, {} after {} of training", text("finished"),
                                       clock_text(r.value("seconds", 0.0)))
                         : std::string("stopped; the same command with --resume goes on"));
  line("started", text("started"));
  line("command", fmt::format("{}", fmt::join(r["command"].get<std::vector<std::string>>(), " ")));
  line("in folder", text("folder"));
  for (const char* key : {"program", "device", "precision", "convolution", "threads", "host", "seed"})
    if (r.contains(key)) line(key, text(key));
  if (const ordered_json skipped = r.value("skipped_steps", ordered_json(0)); skipped != 0)
    line("skipped steps", shown(skipped));
  for (const auto& [key, value] : r["settings"].items())
    if (key != "command" && key != "device" && key != "--seed") line("", fmt::format("{}: {}", key, shown(value)));
  if (finished) {
    for (const auto& [file, checksum] : r["results"].items())
      line("crc32", fmt::format("{}  {}", shown(checksum), file));
    line("repeat", fmt::format("systole reproduce {}", run.out.string()));
  }
  return out;
}

}  // namespace systole::tools
