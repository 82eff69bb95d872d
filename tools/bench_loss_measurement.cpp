// How systole bench loss measures: one process for each implementation, with its own memory and threads, which answer
// questions in turn. Other load on the machine, or its getting warm, then meets all of them.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "benchmarks/agreement.h"
#include "benchmarks/loss_work.h"
#include "benchmarks/materialised_losses.h"
#include "benchmarks/timing.h"
#include "kernels/common/parallel.h"
#include "tools/bench_loss.h"
#include "tools/bench_peer.h"
#include "tools/worker_process.h"

namespace systole::tools {
namespace {

constexpr double kSampleSeconds = 0.05;                   // at least; on simt a single call
constexpr const char* kWorkerProgram = "/proc/self/exe";  // this one

/// One implementation at work on a batch.
class Contestant {
 public:
  Contestant(const std::string& by, std::vector<std::string> command, std::filesystem::path gradient)
      : process_(by, std::move(command)),
        gradient_(std::move(gradient)),
        ready_(nlohmann::json::parse(process_.line())) {}

  void take_sample() {
    process_.send("sample");
    seconds_.push_back(std::stod(process_.line()));
  }
  const nlohmann::json& ready() const { return ready_; }
  const std::vector<double>& seconds() const { return seconds_; }
  /// What it wrote; empty when that is nothing.
  std::vector<float> gradient() const {
    std::error_code missing;
    const auto bytes = std::filesystem::file_size(gradient_, missing);
    std::vector<float> values(missing ? 0 : bytes / sizeof(float));
    std::ifstream(gradient_, std::ios::binary)
        .read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
    return values;
  }

 private:
  WorkerProcess process_;
  std::filesystem::path gradient_;
  nlohmann::json ready_;
  std::vector<double> seconds_;
};

/// A result and who computes it; nobody where it failed or was left out.
struct Entry {
  LossResult result;
  std::unique_ptr<Contestant> contestant;

  void fail(const std::string& why) {
    result.failure = why;
    result.agrees = false;
    contestant.reset();
  }
};

/// All of them on one batch.
class Contest {
 public:
  Contest(const LossMeasurement& how, const models::LossDefinition& loss, int M, int D)
      : how_(how),
        loss_(loss),
        work_(benchmarks::loss_work(loss.name)),
        batch_(write_batch(how.folder, loss, benchmarks::slots_of(loss), M, D, how.common.seed)) {
    const std::vector<std::string> device{"--device",           how.common.device, "--precision",
                                          how.common.precision, "--threads",       std::to_string(threads())};
    const auto own = [&](const char* by) {
      return joined(joined({kWorkerProgram, "bench", "loss-worker", "--by", by}, device), batch_arguments(by));
    };
    start("systole", work_.our_products, own("systole"));
    if (!entries_.front().contestant) return;
    if (benchmarks::materialised_loss(loss.name)) start("materialised", work_.plain_products, own("materialised"));
    if (how.peer)
      start("pytorch", work_.plain_products,
            joined(joined({how.peer->python, peer_script("losses.py").string(), "--temperature",
                           fmt::to_string(loss.temperature)},
                          peer_device_arguments(how.common)),
                   batch_arguments("pytorch")));
  }

  std::vector<LossResult> results() {
    for (int sample = 0; sample < how_.samples; ++sample) take_samples(sample % 2 == 1);
    for (Entry& entry : entries_) evaluate(entry);
    std::vector<LossResult> results;
    for (Entry& entry : entries_) results.push_back(std::move(entry.result));
    return results;
  }

 private:
  std::filesystem::path gradient_file(const std::string& by) const { return how_.folder / (by + ".gradient"); }

  std::vector<std::string> batch_arguments(const std::string& by) const {
    const bool is_timed = parse_device(how_.common.device) != Device::simt;
    return {"--loss",           loss_.name,
            "--rows",           std::to_string(batch_.M),
            "--dims",           std::to_string(batch_.D),
            "--slots",          std::to_string(batch_.slots),
            "--rows-file",      batch_.rows.string(),
            "--ids-file",       batch_.ids.string(),
            "--gradient-file",  gradient_file(by).string(),
            "--sample-seconds", is_timed ? fmt::to_string(kSampleSeconds) : "0"};
  }

  /// Waits until it is ready: while its memory is measured, nothing else runs.
  void start(const std::string& by, double products, std::vector<std::string> command) {
    Entry entry{{loss_.name, by, batch_.M, batch_.D, work_.flop(products, batch_.M, batch_.D), {}}, nullptr};
    const double size = work_.matrix_size(batch_.M, batch_.D);
    if (by != "systole" && size > how_.largest_matrix) {
      entry.result.failure = fmt::format("its matrix has {:.0f} MB", size * sizeof(float) / 1e6);
    } else {
      try {
        std::filesystem::remove(gradient_file(by));  // that of the last batch
        entry.contestant = std::make_unique<Contestant>(by, std::move(command), gradient_file(by));
      } catch (const std::exception& error) {  // what a peer prints may be no answer
        entry.fail(error.what());
      }
    }
    entries_.push_back(std::move(entry));
  }

  void take_samples(bool backwards) {
    const auto sample = [](Entry& entry) {
      if (!entry.contestant) return;
      std::this_thread::sleep_for(kPauseOfTurn);
      try {
        entry.contestant->take_sample();
      } catch (const std::exception& error) {
        entry.fail(error.what());
      }
    };
    if (backwards)
      std::for_each(entries_.rbegin(), entries_.rend(), sample);
    else
      std::for_each(entries_.begin(), entries_.end(), sample);
  }

  void evaluate(Entry& entry) const {
    if (!entry.contestant) return;
    if (!entries_.front().contestant) return entry.fail("there is nothing to compare with");
    LossResult& r = entry.result;
    const Contestant& ours = *entries_.front().contestant;
    const std::vector<double>& seconds = entry.contestant->seconds();
    std::vector<double> ratios;
    for (size_t i = 0; i < seconds.size(); ++i) ratios.push_back(seconds[i] / ours.seconds()[i]);
    r.seconds = benchmarks::median(seconds);
    r.fastest = *std::min_element(seconds.begin(), seconds.end());
    r.slowest = *std::max_element(seconds.begin(), seconds.end());
    r.samples = static_cast<int>(seconds.size());
    r.calls = entry.contestant->ready()["calls"];
    r.captured = entry.contestant->ready().value("captured", false);
    r.times_ours = benchmarks::median(ratios);
    r.peak_bytes = entry.contestant->ready()["peak_bytes"];
    r.loss_value = number(entry.contestant->ready()["loss"]);
    const double expected = number(ours.ready()["loss"]);
    r.loss_error = std::abs(r.loss_value - expected) / std::max(std::abs(expected), 1e-30);
    r.gradient_error = benchmarks::relative_error(entry.contestant->gradient(), ours.gradient());
    const double allowed = benchmarks::allowed_error(parse_precision(how_.common.precision));
    r.agrees = r.loss_error <= allowed && r.gradient_error <= allowed;
  }

  /// JSON has no NaN: what is none is null.
  static double number(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : NAN; }

  const LossMeasurement& how_;
  const models::LossDefinition& loss_;
  const benchmarks::LossWork& work_;
  LossBatch batch_;
  std::vector<Entry> entries_;
};

}  // namespace

std::vector<LossResult> measure_loss(const LossMeasurement& how, const models::LossDefinition& loss, int M, int D) {
  return Contest(how, loss, M, D).results();
}

}  // namespace systole::tools
