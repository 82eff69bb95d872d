#include "tools/resumable_run.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <csignal>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/checkpoint/atomic_file.h"
#include "tools/command.h"
#include "tools/run_record.h"
#include "tools/training.h"

namespace systole::tools {

namespace fs = std::filesystem;

void add_run_options(CLI::App& command, RunOptions& o) {
  command.add_flag("--resume", o.resume,
                   "Go on with the run that was stopped, from the state beside --out; a new run where there is none");
  command
      .add_option("--save-every", o.save_every,
                  "Seconds between two saves of that state; 0: after every step. The end result is the same")
      ->capture_default_str();
  command
      .add_option(
          "--on-nonfinite", o.on_nonfinite,
          "When a loss or gradient is not finite: stop, or skip the step as if it had not been (takes a copy of "
          "all weights and moments before each step)")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
}

void check(const RunOptions& o, const fs::path& out) {
  require_option(o.save_every >= 0 && std::isfinite(o.save_every), "--save-every", "0 or more",
                 fmt::to_string(o.save_every));
  for (const char* file : {"metrics.jsonl", "state", "run.json"}) check_file_writable(beside(out, file));
}

ResumableRun::ResumableRun(fs::path out, const RunOptions& options, nlohmann::ordered_json record)
    : out_(std::move(out)), state_path_(beside(out_, "state")), options_(options), record_(std::move(record)) {
  for (const fs::path& file : {out_, state_path_, beside(out_, "run.json")}) remove_temporaries(file);
  if (options_.resume)
    find_state_or_result();
  else
    require_none();
}

void ResumableRun::require_none() const {
  for (const fs::path& file : {state_path_, previous_state(state_path_)})
    if (fs::exists(file))
      throw Error(
          fmt::format("{} is the state of a run that was stopped: --resume goes on with it; delete it to start "
                      "anew",
                      file.string()));
}

void ResumableRun::find_state_or_result() {
  found_ = read_state(state_path_);
  found_ ? check_state() : find_result();
}

void ResumableRun::check_state() {
  if (!found_->damage.empty()) fmt::print(stderr, "{}; going on from the state before it\n", found_->damage);
  const auto there = nlohmann::ordered_json::parse(found_->description, nullptr, false);
  if (const std::string what = difference(there.value("settings", nlohmann::ordered_json()), record_["settings"]);
      !what.empty())
    throw UsageError(
        fmt::format("{} is of another run: {}; --resume needs the same options and records, or delete it "
                    "to start anew",
                    state_path_.string(), what));
  if (const std::string build = there.value("program", ""), here = record_["program"]; build != here)
    fmt::print(stderr, "the run was begun by {}, this is {}: its bits may differ from those of an unbroken run\n",
               build, here);
  record_["started"] = there.value("started", "");
}

void ResumableRun::find_result() {
  const fs::path path = beside(out_, "run.json");
  if (!fs::exists(path)) return;
  const nlohmann::ordered_json finished = read_record(path);
  if (const std::string what = difference(finished["settings"], record_["settings"]); !what.empty())
    throw UsageError(
        fmt::format("{} is the result of another run: {}; without --resume it is made anew", out_.string(), what));
  complete_ = finished["results"] == results_of(out_);
  if (complete_)
    fmt::print("{} is complete: nothing is left to do\n", out_.string());
  else
    fmt::print(stderr, "{} is not as its run left it: the run starts anew\n", out_.string());
}

void ResumableRun::own_parts(RunState& state, double& seconds, int64_t& metrics_bytes) {
  state.number("run.seconds", seconds);
  state.number("run.metrics_bytes", metrics_bytes);
  state.number("run.skipped", skipped_);
  state.number("run.step", saved_step_);
}

void ResumableRun::begin(const StateParts& parts) {
  start_ = saved_ = Clock::now();
  int64_t metrics_bytes = 0;
  if (found_) {
    RunState state(std::move(found_->parts), state_path_.string());
    own_parts(state, seconds_before_, metrics_bytes);
    parts(state);
    if (found_->path != state_path_) fs::rename(found_->path, state_path_);  // or the next save would drop it
    found_.reset();
    fmt::print(stderr, "going on after step {} from {}\n", saved_step_, state_path_.string());
  }
  log_.emplace(beside(out_, "metrics.jsonl"), metrics_bytes);
  signals_.emplace();
}

double ResumableRun::seconds() const {
  return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
}

std::string ResumableRun::last_state() const {
  if (saved_step_ == 0) return "no state was saved before it";
  return fmt::format("the last good state is {}, after step {}", state_path_.string(), saved_step_);
}

bool ResumableRun::attempt(const StateParts& parts, const data::Dataset& dataset, const std::span<const size_t>& batch,
                           const std::function<void()>& step) {
  std::optional<RunState> before;
  if (skips()) parts(before.emplace());
  try {
    step();
    return true;
  } catch (const NonFinite& error) {
    std::vector<int64_t> ids;
    for (const size_t record : batch) ids.push_back(dataset.record_id[record]);
    if (!before)
      throw Error(fmt::format("{}; {}; try a lower learning rate, or --on-nonfinite skip; the records of its batch: {}",
                              error.what(), last_state(), fmt::join(ids, ", ")));
    restore(*before, parts);
    if (++skipped_ == 1)
      fmt::print(stderr, "{}: the step is skipped, as all such steps will be; the records of its batch: {}\n",
                 error.what(), fmt::join(ids, ", "));
    return false;
  }
}

void ResumableRun::save(const StateParts& parts) {
  double passed = seconds();
  int64_t metrics_bytes = log_->sync();
  RunState state;
  own_parts(state, passed, metrics_bytes);
  parts(state);
  write_state(state_path_, state, record_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void ResumableRun::after_step(int64_t step, const StateParts& parts) {
  const int signal = SignalWatch::signal();
  const double since = std::chrono::duration<double>(Clock::now() - saved_).count();
  if (signal == 0 && since < options_.save_every) return;
  const int64_t before = saved_step_;
  try {
    saved_step_ = step;
    save(parts);
  } catch (const Error& error) {
    saved_step_ = before;
    throw Error(fmt::format("after step {}: {}; {}", step, error.what(), last_state()));
  }
  saved_ = Clock::now();
  if (signal != 0)
    throw Interrupted(signal, fmt::format("stopped by {} after step {}, which {} holds: the same command with --resume "
                                          "goes on",
                                          signal == SIGINT ? "Ctrl-C" : "SIGTERM", step, state_path_.string()));
}

void ResumableRun::finish() {
  log_->sync();
  if (skipped_ > 0) fmt::print(stderr, "{} steps were skipped, since they were not finite\n", skipped_);
  record_["finished"] = time_text();
  record_["seconds"] = seconds();
  record_["skipped_steps"] = skipped_;
  record_["results"] = results_of(out_);
  write_file_atomically(beside(out_, "run.json"),
                        record_.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  std::error_code ignored;
  for (const fs::path& file : {previous_state(state_path_), state_path_}) fs::remove(file, ignored);
}

}  // namespace systole::tools
