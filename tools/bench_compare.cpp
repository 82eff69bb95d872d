#include "tools/bench_compare.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmarks/timing.h"
#include "kernels/common/error.h"

namespace systole::tools {
namespace {

using nlohmann::json;

/// What a row is of, by benchmark.
const std::map<std::string, std::vector<std::string>> kKeys{{"kernels", {"kernel", "shape", "by"}},
                                                            {"step", {"batch_size", "length", "threads", "by"}},
                                                            {"loss", {"loss", "rows", "dims", "by"}},
                                                            {"augment", {"augmentation"}},
                                                            {"data", {"records", "by", "cache", "threads"}}};

/// Under which conditions the whole file is measured.
constexpr const char* kSettings[] = {"run",   "precision",  "threads", "encoder", "augment",
                                     "views", "batch_size", "length",  "leads",   "sampling_rate_hz"};

struct Times {
  double seconds, fastest, slowest;  // median, and the range
  bool includes(double value) const { return fastest <= value && value <= slowest; }
};

struct ResultFile {
  std::filesystem::path path;
  json content;
  std::vector<std::string> names;  // of rows that have a time, in order
  std::map<std::string, Times> times;

  std::string text(const char* field) const {
    return content.contains(field) && content[field].is_string() ? content[field].get<std::string>() : "unknown";
  }
  bool has(const std::string& row) const { return times.contains(row); }
};

std::string name_of(const json& row, const std::vector<std::string>& keys) {
  std::string name;
  for (const std::string& key : keys) {
    const json& value = row.at(key);
    name += fmt::format("{}{}", name.empty() ? "" : ", ",
                        value.is_string() ? value.get<std::string>() : key + " " + value.dump());
  }
  return name;
}

ResultFile read_results(const std::filesystem::path& path) {
  ResultFile file{path, {}, {}, {}};
  std::ifstream stream(path);
  if (!stream) throw Error(fmt::format("{} cannot be read", path.string()));
  try {
    file.content = json::parse(stream);
  } catch (const json::parse_error& error) {
    throw Error(fmt::format("{} is not JSON, at byte {}", path.string(), error.byte));
  }
  const std::string expected = "a result of systole bench kernels, step, loss, augment or data";
  const auto keys = kKeys.find(file.content.is_object() ? file.text("benchmark") : "");
  if (keys == kKeys.end() || !file.content.contains("rows") || !file.content["rows"].is_array())
    throw Error(fmt::format("{} is not {}", path.string(), expected));
  for (size_t i = 0; i < file.content["rows"].size(); ++i) {
    const json& row = file.content["rows"][i];
    try {
      const std::string name = name_of(row, keys->second);
      if (!row.contains("seconds")) continue;  // it failed, was left out or only checked
      file.names.push_back(name);
      file.times[name] = {row["seconds"], row.at("fastest"), row.at("slowest")};
    } catch (const json::exception&) {
      throw Error(fmt::format("row {} of {} is not one of {}: {}", i + 1, path.string(), expected, row.dump()));
    }
  }
  return file;
}

void print_conditions(const ResultFile& before, const ResultFile& after) {
  for (const ResultFile* file : {&before, &after})
    fmt::print("{}: {}, commit {}, {}\n", file->path.string(), file->text("device_text"), file->text("commit"),
               file->text("date"));
  if (before.text("device_text") != after.text("device_text"))
    fmt::print("warning: the files are of different devices, so their times say nothing about the code alone\n");
  for (const char* setting : kSettings) {
    const json a = before.content.value(setting, json()), b = after.content.value(setting, json());
    if (a != b) fmt::print("note: {} differs: {} and {}\n", setting, a.dump(), b.dump());
  }
}

/// Each median lies outside of the other's range.
bool moved(const Times& before, const Times& after) {
  return !before.includes(after.seconds) && !after.includes(before.seconds);
}

void print_moved(const ResultFile& before, std::vector<std::string> rows, const ResultFile& after) {
  const auto ratio = [&](const std::string& row) { return after.times.at(row).seconds / before.times.at(row).seconds; };
  std::sort(rows.begin(), rows.end(), [&](const auto& a, const auto& b) { return ratio(a) < ratio(b); });
  if (!rows.empty())
    fmt::print("{:<80} {:>12} {:>12} {:>8}\n", "moved beyond the noise", "before, us", "after, us", "ratio");
  for (const std::string& row : rows)
    fmt::print("{:<80} {:>12.2f} {:>12.2f} {:>8.3f}\n", row, 1e6 * before.times.at(row).seconds,
               1e6 * after.times.at(row).seconds, ratio(row));
}

/// What `file` has and `other` has not.
void print_unmatched(const ResultFile& file, const ResultFile& other) {
  for (const std::string& row : file.names)
    if (!other.has(row)) fmt::print("only in {}: {}\n", file.path.string(), row);
}

}  // namespace

void compare_results(const std::filesystem::path& before_path, const std::filesystem::path& after_path) {
  const ResultFile before = read_results(before_path), after = read_results(after_path);
  if (before.text("benchmark") != after.text("benchmark"))
    throw UsageError(fmt::format("--compare takes two results of one benchmark; {} is of bench {}, {} of bench {}",
                                 before_path.string(), before.text("benchmark"), after_path.string(),
                                 after.text("benchmark")));
  print_conditions(before, after);
  std::vector<std::string> rows;
  std::vector<double> ratios;
  size_t faster = 0;
  for (const std::string& row : before.names) {
    if (!after.has(row)) continue;
    const Times &a = before.times.at(row), &b = after.times.at(row);
    ratios.push_back(b.seconds / a.seconds);
    if (!moved(a, b)) continue;
    rows.push_back(row);
    faster += b.seconds < a.seconds;
  }
  print_moved(before, rows, after);
  print_unmatched(before, after);
  print_unmatched(after, before);
  if (ratios.empty()) throw Error("the files have no measured row in common");
  fmt::print("{} of {} moved beyond the noise: {} faster, {} slower; the median ratio of all is {:.3f}\n", rows.size(),
             ratios.size(), faster, rows.size() - faster, benchmarks::median(ratios));
}

}  // namespace systole::tools
