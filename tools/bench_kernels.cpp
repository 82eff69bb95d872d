// systole bench kernels: every kernel on every shape of its family, checked against the cpu, timed beside its peers,
// and held against what the device can do. benchmarks/README.md says how to read the numbers.

#include "tools/bench_kernels.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "benchmarks/agreement.h"
#include "benchmarks/device_memory.h"
#include "benchmarks/kernel_cases.h"
#include "benchmarks/origin.h"
#include "benchmarks/timing.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "tools/bench.h"
#include "tools/command.h"

namespace systole::tools {
namespace {

using benchmarks::DeviceMemory;
using benchmarks::KernelCase;
using benchmarks::Problem;
using benchmarks::Stopwatch;
using benchmarks::Variant;
using nlohmann::ordered_json;

struct KernelBenchOptions {
  CommonOptions common;
  std::string filter, by, commit = benchmarks::commit();
  int repeats = 0;
  double most_mflop = 0;
  bool check_only = false;
  std::filesystem::path json, markdown, plot;
};

constexpr double kSampleSeconds = 1e-3;  // so that neither the clock nor a launch counts

void check(KernelBenchOptions& o, Device device) {
  const std::vector<std::string> known{"systole", "openblas", "onednn", "cublas", "cudnn"};
  require_option(o.by.empty() || std::count(known.begin(), known.end(), o.by) > 0, "--by",
                 fmt::format("one of {}", fmt::join(known, ", ")), o.by);
  require_option(o.repeats >= 0 && o.repeats <= 1000, "--repeats", "between 0 and 1000", std::to_string(o.repeats));
  require_option(o.most_mflop >= 0, "--most-mflop", "at least 0", fmt::to_string(o.most_mflop));
  const bool has_roofline = device != Device::simt && !o.check_only;
  require_option(o.plot.empty() || (o.plot.extension() == ".svg" && has_roofline), "--plot",
                 "a file with the extension .svg, of measured times on cpu or cuda", o.plot.string());
  require_option(o.markdown.empty() || !o.check_only, "--markdown", "used without --check-only", o.markdown.string());
  for (const auto& file : {o.json, o.markdown, o.plot})
    if (!file.empty()) check_file_writable(file);
  if (o.repeats == 0) o.repeats = device == Device::cuda ? 20 : device == Device::cpu ? 15 : 1;
  if (o.most_mflop == 0) o.most_mflop = device == Device::simt ? 1 : INFINITY;
}

// ---- measuring

/// Of the worst result.
double worst_error(const std::vector<std::vector<float>>& found, const std::vector<std::vector<float>>& expected) {
  double worst = 0;
  for (size_t r = 0; r < found.size(); ++r) worst = std::max(worst, benchmarks::relative_error(found[r], expected[r]));
  return worst;
}

/// The results of one call on fresh memory.
std::vector<std::vector<float>> results_of(Queue& queue, const Problem& problem, const Variant& variant) {
  const DeviceMemory memory(queue, problem, false, variant.series);
  variant.run(queue, memory.copy(0));
  return memory.results(queue, problem);
}

/// All implementations of one case. They take turns, and who begins a round alternates.
class Contest {
 public:
  Contest(const KernelCase& c, Device device, const std::string& by) : problem_(c.make(device)), queue_(device) {
    for (const Variant& variant : problem_.variants)
      if (by.empty() || by == variant.name)
        entries_.push_back({{c.kernel,
                             c.shape,
                             variant.name,
                             c.flop,
                             variant.bytes > 0 ? variant.bytes : c.bytes,
                             {},
                             0,
                             false,
                             0,
                             0,
                             0,
                             0,
                             0,
                             0,
                             1},
                            &variant,
                            nullptr,
                            {}});
  }

  void compare() {
    Queue cpu(Device::cpu, Precision::f32);
    const auto expected = results_of(cpu, problem_, problem_.variants[0]);
    for (Entry& entry : entries_) {
      try {
        entry.result.error = worst_error(results_of(queue_, problem_, *entry.variant), expected);
        entry.result.agrees = entry.result.error <= benchmarks::allowed_error(queue_.precision());
      } catch (const Error& error) {
        entry.result.failure = error.what();
      }
    }
  }

  /// Those that agree with the cpu.
  void measure(int repeats, double sample_seconds) {
    std::map<kernels::Storage, DeviceMemory> memories;
    for (Entry& entry : entries_) {
      if (!entry.result.agrees) continue;
      const DeviceMemory& memory =
          memories.try_emplace(entry.variant->series, queue_, problem_, true, entry.variant->series).first->second;
      entry.result.footprint = memory.bytes();
      const auto call = [&memory, &entry, this](int64_t turn) { entry.variant->run(queue_, memory.copy(turn)); };
      entry.watch = std::make_unique<Stopwatch>(queue_, call, sample_seconds);
    }
    const auto sample = [](Entry& entry) {
      if (entry.watch) entry.seconds.push_back(entry.watch->sample());
    };
    for (int round = 0; round < repeats; ++round) {
      if (round % 2 == 0)
        std::for_each(entries_.begin(), entries_.end(), sample);
      else
        std::for_each(entries_.rbegin(), entries_.rend(), sample);
    }
    for (Entry& entry : entries_)
      if (entry.watch) evaluate(entry);
  }

  /// Ours first.
  std::vector<KernelResult> results() {
    std::vector<KernelResult> results;
    for (Entry& entry : entries_) results.push_back(std::move(entry.result));
    std::stable_partition(results.begin(), results.end(), [](const auto& r) { return r.by == "systole"; });
    return results;
  }

 private:
  struct Entry {
    KernelResult result;
    const Variant* variant;
    std::unique_ptr<Stopwatch> watch;  // null: it is not timed
    std::vector<double> seconds;
  };

  void evaluate(Entry& entry) {
    KernelResult& r = entry.result;
    r.seconds = benchmarks::median(entry.seconds);
    r.fastest = *std::min_element(entry.seconds.begin(), entry.seconds.end());
    r.slowest = *std::max_element(entry.seconds.begin(), entry.seconds.end());
    r.samples = static_cast<int>(entry.seconds.size());
    r.calls = entry.watch->calls();
    for (const Entry& ours : entries_) {
      if (ours.result.by != "systole" || ours.seconds.empty()) continue;
      std::vector<double> ratios;
      for (size_t i = 0; i < entry.seconds.size(); ++i) ratios.push_back(entry.seconds[i] / ours.seconds[i]);
      r.times_ours = benchmarks::median(ratios);
    }
  }

  Problem problem_;
  Queue queue_;
  std::vector<Entry> entries_;
};

// ---- what is said of it

void print_ceilings(const benchmarks::Ceilings& c, Precision precision) {
  if (c.fma_flop_per_second == 0) return;
  const auto gflop = [](double rate) { return rate > 0 ? fmt::format("{:.0f} GFLOP/s", rate / 1e9) : "none"; };
  fmt::print("ceilings: FMA {}, {} {}\n", gflop(c.fma_flop_per_second), c.unit(Precision::bf16),
             gflop(c.bf16_flop_per_second));
  for (const benchmarks::MemoryLevel& level : c.levels)
    fmt::print("  reading {}: {:.1f} GB/s{}\n", level.name, level.bytes_per_second / 1e9,
               std::isinf(level.bytes) ? "" : fmt::format(", {:.3g} MB", level.bytes / 1e6));
  fmt::print("  copying in memory, read and write: {:.1f} GB/s\n", c.copy_bytes_per_second / 1e9);
  if (c.flop_per_second(precision) == 0) fmt::print("  none for {}, so none is compared with\n", name(precision));
}

void print_head(const KernelMeasurement& m) {
  fmt::print("{}, {}, commit {}\n", benchmarks::machine(m.device), name(m.precision), m.commit);
  print_ceilings(m.ceilings, m.precision);
  fmt::print("{:<40} {:<34} {:<8} {:>10} {:>7} {:>9} {:>8} {:>9} {:>7} {:>8}\n", "kernel", "shape", "by", "median us",
             "spread", "GFLOP/s", "GB/s", "of floor", "x ours", "error");
}

void print(const KernelMeasurement& m, const KernelResult& r) {
  fmt::print("{:<40} {:<34} {:<8} ", r.kernel, r.shape, r.by);
  if (!r.failure.empty()) {
    fmt::print("FAILED: {}\n", r.failure);
    return;
  }
  if (r.measured())
    fmt::print("{:>10.2f} {:>6.0f}% {:>9.1f} {:>8.1f} {:>9} {:>7} ", r.seconds * 1e6, 100 * r.spread(),
               r.flop / r.seconds / 1e9, r.bytes / r.seconds / 1e9, m.share_of_floor(r),
               r.by == "systole" ? "" : fmt::format("{:.2f}", r.times_ours));
  fmt::print("{:>8.1e}{}\n", r.error, r.agrees ? "" : "  DISAGREES with the cpu");
  std::fflush(stdout);
}

ordered_json to_json(const benchmarks::Ceilings& c) {
  ordered_json levels = ordered_json::array();
  for (const benchmarks::MemoryLevel& level : c.levels) {
    levels.push_back({{"name", level.name}, {"bytes_per_second", level.bytes_per_second}});
    if (!std::isinf(level.bytes)) levels.back()["bytes"] = level.bytes;
  }
  return {{"fma_flop_per_second", c.fma_flop_per_second},
          {"bf16_flop_per_second", c.bf16_flop_per_second},
          {"copy_bytes_per_second", c.copy_bytes_per_second},
          {"reading", levels}};
}

ordered_json to_json(const KernelMeasurement& m, const KernelResult& r) {
  ordered_json row{{"kernel", r.kernel}, {"shape", r.shape}, {"by", r.by}};
  if (!r.failure.empty()) {
    row["failure"] = r.failure;
    return row;
  }
  if (r.measured()) {
    row.update({{"seconds", r.seconds},
                {"fastest", r.fastest},
                {"slowest", r.slowest},
                {"samples", r.samples},
                {"calls_per_sample", r.calls},
                {"flop", r.flop},
                {"bytes", r.bytes},
                {"times_ours", r.times_ours}});
    if (const auto floor = m.floor(r)) row.update({{"of_floor", floor->seconds / r.seconds}, {"bound_by", floor->by}});
  }
  row.update({{"error", r.error}, {"agrees", r.agrees}});
  return row;
}

ordered_json report(const KernelMeasurement& m, size_t left_out, size_t failed) {
  ordered_json rows = ordered_json::array();
  for (const KernelResult& r : m.results) rows.push_back(to_json(m, r));
  return {{"benchmark", "kernels"},         {"date", m.date},           {"commit", m.commit},
          {"command", m.command},           {"device", name(m.device)}, {"device_text", benchmarks::machine(m.device)},
          {"precision", name(m.precision)}, {"threads", threads()},     {"ceilings", to_json(m.ceilings)},
          {"left_out", left_out},           {"failed", failed},         {"rows", rows}};
}

/// The words that this run was started with, the program by its name alone.
std::string command_text() {
  std::vector<std::string> words = command_line();
  words[0] = "systole";
  return fmt::format("{}", fmt::join(words, " "));
}

void bench_kernels(KernelBenchOptions o) {
  const Device device = prepare_to_measure(o.common);
  check(o, device);
  KernelMeasurement m{command_text(),     o.commit, benchmarks::now(), device, parse_precision(o.common.precision),
                      {.device = device}, {}};
  if (!o.check_only) m.ceilings = benchmarks::measure_ceilings(device);
  print_head(m);
  size_t left_out = 0, failed = 0;
  for (const KernelCase& c : benchmarks::kernel_cases()) {
    if ((c.kernel + " " + c.shape).find(o.filter) == std::string::npos) continue;
    if (std::max(c.flop, c.bytes / 4) > o.most_mflop * 1e6) {
      ++left_out;
      continue;
    }
    if (!o.check_only && !m.results.empty() && !c.kernel.starts_with(m.results.back().family() + "."))
      m.ceilings.raise(benchmarks::measure_ceilings(device));
    Contest contest(c, device, o.by);
    contest.compare();
    if (!o.check_only) contest.measure(o.repeats, device == Device::simt ? 0 : kSampleSeconds);
    for (KernelResult& result : contest.results()) {
      print(m, result);
      failed += !result.agrees;
      m.results.push_back(std::move(result));
    }
  }
  if (!o.check_only) {
    m.ceilings.raise(benchmarks::measure_ceilings(device));
    print_ceilings(m.ceilings, m.precision);
  }
  if (left_out > 0) fmt::print("{} cases above --most-mflop {} were left out\n", left_out, o.most_mflop);
  if (m.results.empty())
    throw UsageError(fmt::format("no case that may run contains --filter '{}'{}", o.filter,
                                 o.by.empty() ? "" : fmt::format(" and is computed by {} here", o.by)));
  if (!o.json.empty()) write_file_atomically(o.json, report(m, left_out, failed).dump(1) + "\n");
  if (!o.markdown.empty()) write_file_atomically(o.markdown, kernel_page(m));
  if (!o.plot.empty()) plot_roofline(o.plot, m);
  if (failed > 0)
    throw Error(fmt::format("{} of {} results disagree with the cpu or failed", failed, m.results.size()));
  fmt::print("{} of {} results agree with the cpu\n", m.results.size(), m.results.size());
}

}  // namespace

std::string KernelMeasurement::share_of_floor(const KernelResult& r) const {
  const auto bound = floor(r);
  return bound ? fmt::format("{:.0f}% {}", 100 * bound->seconds / r.seconds, bound->by) : "";
}

void add_bench_kernels(CLI::App& bench) {
  auto options = std::make_shared<KernelBenchOptions>();
  KernelBenchOptions& o = *options;
  CLI::App& command = *bench.add_subcommand(
      "kernels", "Every kernel on every shape of its family: checked, timed beside its peers, held against ceilings");
  command.add_option("--filter", o.filter, "Only cases whose kernel and shape contain this text, such as encoder/");
  command.add_option("--by", o.by, "Only this implementation: systole, openblas, onednn, cublas or cudnn");
  command.add_option("--repeats", o.repeats, "Samples of each time; 0: 20 on cuda, 15 on cpu, 1 on simt")
      ->capture_default_str();
  command.add_option("--most-mflop", o.most_mflop, "Leave cases of more MFLOP out; 0: none, and on simt those above 1")
      ->capture_default_str();
  command.add_flag("--check-only", o.check_only, "One call of each kernel, compared with the cpu; no times");
  command.add_option("--json", o.json, "Also write the results to this file");
  command.add_option("--markdown", o.markdown, "Also write them to this file as tables, without the odd shapes");
  command.add_option("--plot", o.plot, "Also draw the roofline: a file .svg");
  command.add_option("--commit", o.commit, "What to name as the measured version")->capture_default_str();
  add_device_options(command, o.common);
  add_threads_option(command, o.common);
  command.callback([options] { bench_kernels(*options); });
}

}  // namespace systole::tools
