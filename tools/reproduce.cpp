// systole reproduce: makes a finished run again in a folder of its own, and compares the bits of what comes out.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <optional>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/checkpoint/tensor_file.h"
#include "tools/command.h"
#include "tools/label_curve_record.h"
#include "tools/run_log.h"
#include "tools/run_record.h"
#include "tools/temporary_folder.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;
namespace fs = std::filesystem;

/// The words of a run's command line, with what it writes led to another folder: its result to `out`.
std::vector<std::string> led_to(const std::vector<std::string>& words, const fs::path& folder, const fs::path& out) {
  std::vector<std::string> result;
  const auto elsewhere = [&](const std::string& option, const std::string& file) {
    return (option == "--out" ? out : folder / fs::path(file).filename()).string();
  };
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.starts_with("--resume")) continue;
    result.push_back(word);
    for (const std::string option : {"--out", "--save-init"}) {
      if (word == option && i + 1 < words.size()) result.push_back(elsewhere(option, words[++i]));
      if (word.starts_with(option + "="))
        result.back() = option + "=" + elsewhere(option, word.substr(option.size() + 1));
    }
  }
  return result;
}

/// The command line of a record. Throws Error for any other command than those that leave records: what a file says is
/// run, and the others write in other places.
std::vector<std::string> command_of(const FoundRun& run) {
  auto words = run.record["command"].get<std::vector<std::string>>();
  constexpr std::string_view kRecorded[] = {"pretrain", "finetune", "supervised", "label-curve"};
  if (words.size() < 2 || std::ranges::find(kRecorded, words[1]) == std::end(kRecorded))
    throw Error(
        fmt::format("{}: its record names the command '{}'; pretrain, finetune, supervised or label-curve was expected",
                    run.out.string(), printable(words.size() < 2 ? "" : words[1])));
  return words;
}

/// Runs this program with these words, the first of which stands for it. Throws Error unless it succeeds.
void run_program(const std::vector<std::string>& words) {
  std::vector<std::string> owned = words;
  std::vector<char*> arguments;
  for (std::string& word : owned) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t process = -1;
  if (const int error = posix_spawn(&process, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ))
    throw Error(fmt::format("the run cannot be started: {}", std::strerror(error)));
  int status = 0;
  while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) return;
  throw Error(WIFEXITED(status)
                  ? fmt::format("the run could not be repeated: it ended with exit code {}", WEXITSTATUS(status))
                  : fmt::format("the run could not be repeated: signal {} ended it", WTERMSIG(status)));
}

std::string difference_of(const FileArray& a, const FileArray& b) {
  if (a.type != b.type || a.shape != b.shape) return "another type or shape";
  const auto at = std::ranges::mismatch(a.bytes, b.bytes).in1 - a.bytes.begin();
  const size_t element = static_cast<size_t>(at) / byte_size(a.type);
  return fmt::format("element {} was {} and is {}", element, a.to_float()[element], b.to_float()[element]);
}

/// The first difference of two model files, or nothing.
std::string model_difference(const fs::path& there, const fs::path& here) {
  if (file_checksum(there) == file_checksum(here)) return {};
  const TensorFile a = read_tensor_file(there), b = read_tensor_file(here);
  for (const auto& [section, arrays] : a.sections) {
    const NamedArrays* others = b.section(section);
    for (const auto& [name, array] : arrays) {
      if (!others) return fmt::format("{}: is missing", section);
      const auto other = std::ranges::find(*others, name, [](const auto& named) { return named.first; });
      if (other == others->end()) return fmt::format("{}.{}: is missing", section, name);
      if (other->second.type != array.type || other->second.shape != array.shape || other->second.bytes != array.bytes)
        return fmt::format("{}.{}: {}", section, name, difference_of(array, other->second));
    }
  }
  return a.metadata != b.metadata ? "the description beside the tensors" : "the form of the file";
}

/// The first difference of two metrics files, in which what the clock says does not count, or nothing.
std::string metrics_difference(const fs::path& there, const fs::path& here) {
  std::ifstream a(there), b(here);
  const auto next = [](std::ifstream& file) {
    std::string line;
    return std::getline(file, line) ? without_times(ordered_json::parse(line, nullptr, false)) : ordered_json();
  };
  for (int number = 1;; ++number) {
    const ordered_json x = next(a), y = next(b);
    if (x != y) return fmt::format("line {} was {} and is {}", number, x.dump(), y.dump());
    if (x.is_null()) return {};
  }
}

void say_what_is_other(const ordered_json& before, const ordered_json& now) {
  for (const char* key : {"program", "device"})
    if (before.value(key, "") != now.value(key, ""))
      fmt::print(stderr, "the {} was {}, and is {} now\n", key, before.value(key, ""), now.value(key, ""));
}

/// Throws Error with the first difference of two trainings, and says where there is none.
void compare_trainings(const fs::path& there, const fs::path& here) {
  const std::string model = model_difference(there, here);
  if (!model.empty()) throw Error(fmt::format("{} is not reproduced: {}", there.string(), model));
  const fs::path metrics = beside(there, "metrics.jsonl");
  const std::string logged = metrics_difference(metrics, beside(here, "metrics.jsonl"));
  if (!logged.empty()) throw Error(fmt::format("{} is not reproduced: {}", metrics.string(), logged));
  fmt::print("reproduced, bit for bit: {} and {}\n", there.string(), metrics.string());
}
void compare_curves(const fs::path& there, const fs::path& here) {
  const std::string what = curve_difference(there, here);
  if (!what.empty()) throw Error(fmt::format("{} is not reproduced: {}", there.parent_path().string(), what));
  fmt::print("reproduced, bit for bit: {}, its table, its picture and all its runs\n", there.string());
}

void reproduce(const fs::path& path) {
  const FoundRun run = find_run(fs::absolute(path));
  const std::string name = run.out.string();
  const std::vector<std::string> command = command_of(run);
  const bool is_curve = command[1] == "label-curve";
  if (!run.record.contains("results"))
    throw Error(
        fmt::format("{}: the run was stopped; a finished one can be repeated (the same command with --resume "
                    "goes on)",
                    name));
  if (run.record["results"] != (is_curve ? curve_results_of(run.out) : results_of(run.out)))
    throw Error(fmt::format("{}: it or {} are not as the run left them", name, is_curve ? "its runs" : "its metrics"));
  const fs::path folder = run.record["folder"].get<std::string>();
  std::error_code error;
  fs::current_path(folder, error);
  if (error) throw Error(fmt::format("{}: the folder {} of its command: {}", name, folder.string(), error.message()));
  const TemporaryFolder again;
  const fs::path out = again.path() / run.out.filename();
  run_program(led_to(command, again.path(), is_curve ? out.parent_path() : out));
  say_what_is_other(run.record, read_record(beside(out, "run.json")));
  is_curve ? compare_curves(run.out, out) : compare_trainings(run.out, out);
}

}  // namespace

void add_reproduce(CLI::App& app) {
  CLI::App& command = *app.add_subcommand(
      "reproduce",
      "Make a finished run of pretrain, finetune, supervised or label-curve again elsewhere, and compare the bits");
  const auto path = std::make_shared<fs::path>();
  command
      .add_option("path", *path, "The run's result, its .run.json, or the folder of a single run or of a label curve")
      ->required();
  command.callback([path] { reproduce(*path); });
}

}  // namespace systole::tools
