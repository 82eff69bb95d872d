// A run that may be stopped at any moment, by kill -9 too, and goes on with the same bits: its lock, its state, its
// metrics, signals, and what becomes of a step whose loss is not finite. docs/runs.md says what is promised.
//
// Beside the result encoder.pt lie encoder.metrics.jsonl, while it runs encoder.lock and encoder.state with the state
// before it, encoder.state.previous, and when it is complete encoder.run.json, its record (tools/run_record.h).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

#include "data/dataset.h"
#include "engine/checkpoint/run_state.h"
#include "tools/interruption.h"
#include "tools/run_log.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct RunOptions {
  bool resume = false;
  double save_every = 60;             // seconds
  std::string on_nonfinite = "stop";  // or skip
};

/// Adds --resume, --save-every and --on-nonfinite.
void add_run_options(CLI::App& command, RunOptions& options);
/// Throws unless the options are in range, and state and metrics beside `out` can be written.
void check(const RunOptions& options, const std::filesystem::path& out);

class ResumableRun {
 public:
  /// The run of a record (tools/run_record.h) whose result is to be `out`; its lock is held. Reads the state where the
  /// run is to go on. Throws Error when there is an unfinished run and it is not to go on, and UsageError that names
  /// the difference when what is there is another run.
  ResumableRun(std::filesystem::path out, const RunOptions& options, nlohmann::ordered_json record);

  /// Whether the run was to go on and is complete already, which it has said then.
  bool is_complete() const { return complete_; }
  /// Restores the parts where the run goes on, and opens the metrics.
  void begin(const StateParts& parts);
  RunLog& log() { return *log_; }
  /// That the run has taken so far, with all its parts.
  double seconds() const;

  /// Makes a step. Where it throws NonFinite (tools/training.h): throws Error that names the records of its batch() and
  /// the last good state; or with --on-nonfinite skip undoes all that the step has done, and returns false.
  bool attempt(const StateParts& parts, const data::Dataset& dataset,
               const std::function<std::span<const size_t>()>& batch, const std::function<void()>& step);
  bool skips_nonfinite() const { return options_.on_nonfinite == "skip"; }
  int64_t skipped_steps() const { return skipped_; }
  /// After each step: saves the state when it is time, or when a signal asks for an end, and then throws Interrupted.
  void after_step(int64_t step, const StateParts& parts);
  /// The result is written: writes the record and removes the state.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  void require_none() const;
  void find_state_or_result();
  void check_state();
  void find_result();
  void own_parts(RunState& state, double& seconds, int64_t& metrics_bytes);
  void save(const StateParts& parts);
  std::string last_state() const;

  std::filesystem::path out_, state_path_;
  RunOptions options_;
  nlohmann::ordered_json record_;
  bool complete_ = false;
  std::optional<StateFile> found_;
  std::optional<RunLog> log_;
  std::optional<SignalWatch> signals_;
  Clock::time_point start_, saved_;
  double seconds_before_ = 0;
  int64_t skipped_ = 0;
  int64_t saved_step_ = 0;  // 0: none
};

}  // namespace systole::tools
