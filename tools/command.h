// What the subcommands share: common options, the device they choose, and where a run's files go.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/common/device.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct CommonOptions {
  std::string device = "auto", precision = "f32", convolution = "systole";
  int threads = 0;
  uint64_t seed = 42;
};

/// Each adds what it is named after; add_device_options --device and --precision.
void add_device_options(CLI::App& command, CommonOptions& options);
void add_convolution_option(CLI::App& command, CommonOptions& options);
void add_threads_option(CLI::App& command, CommonOptions& options);
void add_seed_option(CLI::App& command, CommonOptions& options);
/// Adds --threads and --seed.
void add_host_options(CLI::App& command, CommonOptions& options);
/// Adds --device, --precision, --conv and --threads.
void add_machine_options(CLI::App& command, CommonOptions& options);
/// Adds all of them.
void add_common_options(CLI::App& command, CommonOptions& options);

/// Sets the threads.
void prepare_host(const CommonOptions& options);
/// Sets threads, precision and convolution, says on standard error what runs where, and returns the device. Throws
/// UsageError for what does not exist or does not go together.
Device prepare(const CommonOptions& options);
/// The same for what is timed: a precision that the cpu only emulates is refused with a UsageError.
Device prepare_to_measure(const CommonOptions& options);
/// What prepare chose, for the description of a model file: {"device", "precision", "conv", "seed"}.
nlohmann::json to_json(const CommonOptions& options);

/// One subcommand: its options are declared by `add`, and it runs when it was chosen.
void add_generate(CLI::App& app);
void add_pack(CLI::App& app);
void add_check_data(CLI::App& app);
void add_pretrain(CLI::App& app);
void add_finetune(CLI::App& app);
void add_supervised(CLI::App& app);
void add_evaluate(CLI::App& app);
void add_label_curve(CLI::App& app);
void add_embed(CLI::App& app);
void add_views(CLI::App& app);
void add_bench(CLI::App& app);
void add_info(CLI::App& app);
void add_reproduce(CLI::App& app);

/// A text that quotes a file, without the characters that would command a terminal: a name is no escape sequence.
std::string printable(std::string text);

/// Parses and runs a command line; returns the exit code: 0, 1 for a failure, 2 for wrong usage, 130 or 143 where
/// Ctrl-C or SIGTERM stopped a run that can go on.
int run_command_line(int argc, const char* const* argv);

/// The words that this process was started with, the program first.
std::vector<std::string> command_line();

/// Throws UsageError unless low ≤ value ≤ high (or the open bounds that `allowed` says in words).
void require_option(bool valid, const std::string& option, const std::string& allowed, const std::string& found);

/// A file that belongs to the run whose result is `out`: encoder.pt and "metrics.jsonl" give encoder.metrics.jsonl.
std::filesystem::path beside(const std::filesystem::path& out, const std::string& suffix);

}  // namespace systole::tools
