// systole bench loss: time and peak memory of a step of every contrastive loss, forward and backward, beside the same
// loss written the plain way, by ourselves and in PyTorch. benchmarks/README.md says how to read the numbers.

#include "tools/bench_loss.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "benchmarks/agreement.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/loss_work.h"
#include "benchmarks/origin.h"
#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/parallel.h"
#include "tools/bench.h"
#include "tools/temporary_folder.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;

struct LossBenchOptions {
  CommonOptions common;
  std::vector<std::string> losses;
  std::vector<int> rows{512, 2048, 8192}, dims{128};
  int samples = 7, largest_matrix_mb = 512;
  std::string peer = "auto", commit = benchmarks::commit();
  std::filesystem::path json, plot;
};

constexpr int kMostRows = 1 << 22, kMostDims = 1 << 14;
constexpr int64_t kMostNumbers = int64_t{1} << 30;  // of a batch

std::vector<models::LossDefinition> chosen_losses(const LossBenchOptions& o) {
  if (o.losses.empty()) return models::loss_definitions();
  std::vector<models::LossDefinition> chosen;
  for (const std::string& name : o.losses) chosen.push_back(models::loss_definition(name));
  return chosen;
}

void check(const LossBenchOptions& o) {
  const auto between = [](const char* option, int value, int low, int high) {
    require_option(value >= low && value <= high, option, fmt::format("between {} and {}", low, high),
                   std::to_string(value));
  };
  between("--samples", o.samples, 1, 1000);
  between("--largest-matrix-mb", o.largest_matrix_mb, 0, 1 << 20);
  for (const int D : o.dims) between("--dims", D, 1, kMostDims);
  for (const int M : o.rows) {
    between("--rows", M, 4, kMostRows);
    for (const int D : o.dims)
      require_option(int64_t{M} * D <= kMostNumbers, "--rows",
                     fmt::format("at most {} for D = {}", kMostNumbers / D, D), std::to_string(M));
    for (const models::LossDefinition& loss : chosen_losses(o)) {
      const int slots = benchmarks::slots_of(loss);
      require_option(M % slots == 0 && M / slots >= 2, "--rows",
                     fmt::format("a multiple of {}, and at least {}, for {}", slots, 2 * slots, loss.name),
                     std::to_string(M));
    }
  }
  if (!o.json.empty()) check_file_writable(o.json);
  if (o.plot.empty()) return;
  require_option(o.plot.extension() == ".svg", "--plot", "a file with the extension .svg", o.plot.string());
  require_option(o.rows.size() >= 2, "--plot", "used with at least two numbers of --rows",
                 fmt::format("with {}", o.rows.size()));
  check_file_writable(o.plot);
}

/// Where and beside whom it is measured.
struct Conditions {
  Device device;
  Precision precision;
  std::optional<Peer> peer;
  std::string why_no_peer;
  std::string unit;  // whose rate the products are held against
  double ceiling;    // FLOP/s; 0: none

  /// Other load on the machine lowers a CPU's ceiling too: the highest of the run counts.
  void raise_ceiling() {
    if (device == Device::cpu)
      ceiling = std::max(ceiling, benchmarks::measure_arithmetic(device).flop_per_second(precision));
  }
};

Conditions prepare_conditions(const LossBenchOptions& o) {
  Conditions c{
      .device = prepare_to_measure(o.common), .precision = {}, .peer = {}, .why_no_peer = {}, .unit = {}, .ceiling = 0};
  c.precision = parse_precision(o.common.precision);
  prepare_environment_of_workers();
  c.peer = find_peer(o.peer, o.common, c.why_no_peer);
  const benchmarks::Ceilings ceilings = benchmarks::measure_arithmetic(c.device);
  c.unit = ceilings.unit(c.precision);
  c.ceiling = ceilings.flop_per_second(c.precision);
  return c;
}

void print_head(const LossBenchOptions& o, const Conditions& c) {
  fmt::print("{}, {}, commit {}\n", benchmarks::machine(c.device), name(c.precision), o.commit);
  if (c.ceiling > 0) fmt::print("ceiling: {} {:.1f} GFLOP/s\n", c.unit, c.ceiling / 1e9);
  print_peer(c.peer, c.why_no_peer, c.device, c.ceiling);
  fmt::print("{:<13} {:>8} {:>5} {:<13} {:>11} {:>7} {:>8} {:>9} {:>8} {:>8} {:>8} {:>9}\n", "loss", "M", "D", "by",
             "ms a step", "spread", "x ours", "GFLOP/s", "ceiling", "peak MB", "loss", "gradient");
}

void print(const LossResult& r, double ceiling) {
  fmt::print("{:<13} {:>8} {:>5} {:<13} ", r.loss, r.M, r.D, r.by);
  if (!r.measured()) {
    fmt::print("{}{}\n", r.agrees ? "left out: " : "FAILED: ", r.failure);
    return;
  }
  const bool ours = r.by == "systole";
  fmt::print("{:>11.3f} {:>6.0f}% {:>8} {:>9.1f} {:>8} {:>8.1f} {:>8} {:>9}{}\n", 1e3 * r.seconds,
             100 * (r.slowest - r.fastest) / r.seconds, ours ? "" : fmt::format("{:.2f}", r.times_ours),
             r.flop / r.seconds / 1e9, ceiling > 0 ? fmt::format("{:.0f}%", 100 * r.flop / r.seconds / ceiling) : "",
             static_cast<double>(r.peak_bytes) / 1e6, ours ? "" : fmt::format("{:.1e}", r.loss_error),
             ours ? "" : fmt::format("{:.1e}", r.gradient_error), r.agrees ? "" : "  DISAGREES with systole");
  std::fflush(stdout);
}

ordered_json to_json(const LossResult& r, double ceiling) {
  ordered_json row{{"loss", r.loss}, {"rows", r.M}, {"dims", r.D}, {"by", r.by}};
  if (!r.measured()) {
    row[r.agrees ? "left_out" : "failure"] = r.failure;
    return row;
  }
  row.update({{"seconds", r.seconds},
              {"fastest", r.fastest},
              {"slowest", r.slowest},
              {"samples", r.samples},
              {"calls_per_sample", r.calls},
              {"captured", r.captured},
              {"times_ours", r.times_ours},
              {"flop", r.flop}});
  if (ceiling > 0) row["of_ceiling"] = r.flop / r.seconds / ceiling;
  row.update({{"peak_bytes", r.peak_bytes},
              {"value", r.loss_value},
              {"value_error", r.loss_error},
              {"gradient_error", r.gradient_error},
              {"agrees", r.agrees}});
  return row;
}

ordered_json report(const LossBenchOptions& o, const Conditions& c, const std::vector<LossResult>& results) {
  ordered_json rows = ordered_json::array(), peer{{"missing", c.why_no_peer}};
  for (const LossResult& r : results) rows.push_back(to_json(r, c.ceiling));
  if (c.peer) peer = {{"name", c.peer->name}, {"product_flop_per_second", c.peer->product_flop_per_second}};
  return {{"benchmark", "loss"},
          {"date", benchmarks::now()},
          {"commit", o.commit},
          {"run", to_json(o.common)},
          {"device_text", benchmarks::machine(c.device)},
          {"threads", threads()},
          {"ceiling", {{"unit", c.unit}, {"flop_per_second", c.ceiling}}},
          {"peer", peer},
          {"allowed_error", benchmarks::allowed_error(c.precision)},
          {"rows", rows}};
}

void require_agreement(const std::vector<LossResult>& results, double allowed) {
  size_t compared = 0, failed = 0;
  for (const LossResult& r : results) {
    compared += r.measured() && r.by != "systole";
    failed += !r.agrees;
  }
  if (failed > 0)
    throw Error(fmt::format("{} results failed or differ from Systole's by more than {:g}", failed, allowed));
  if (compared == 0)
    fmt::print("there was nothing to compare the results with\n");
  else
    fmt::print("{} of {} losses and gradients agree with systole's within {:g}\n", compared, compared, allowed);
}

void bench_loss(const LossBenchOptions& o) {
  check(o);
  Conditions c = prepare_conditions(o);
  print_head(o, c);
  const TemporaryFolder folder;
  const LossMeasurement how{o.common, c.peer, o.samples, o.largest_matrix_mb * 1e6 / sizeof(float), folder.path()};
  std::vector<LossResult> results;
  for (const models::LossDefinition& loss : chosen_losses(o))
    for (const int D : o.dims)
      for (const int M : o.rows) {
        c.raise_ceiling();
        for (LossResult& result : measure_loss(how, loss, M, D)) {
          print(result, c.ceiling);
          results.push_back(std::move(result));
        }
      }
  if (c.ceiling > 0) fmt::print("ceiling, the highest of the run: {} {:.1f} GFLOP/s\n", c.unit, c.ceiling / 1e9);
  if (!o.json.empty()) write_file_atomically(o.json, report(o, c, results).dump(1) + "\n");
  if (!o.plot.empty())
    plot_losses(o.plot, results, fmt::format("{}, {}", benchmarks::machine(c.device), name(c.precision)));
  require_agreement(results, benchmarks::allowed_error(c.precision));
}

}  // namespace

void add_bench_loss(CLI::App& bench) {
  auto options = std::make_shared<LossBenchOptions>();
  LossBenchOptions& o = *options;
  CLI::App& command = *bench.add_subcommand(
      "loss", "Contrastive losses, forward and backward: time and peak memory, beside materialised ones and PyTorch's");
  command.add_option("--losses", o.losses, "Which, with commas in between; all without it")->delimiter(',');
  command.add_option("--rows", o.rows, "Rows of a batch, all slots together (M)")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--dims", o.dims, "Numbers of a row (D)")->delimiter(',')->capture_default_str();
  command.add_option("--samples", o.samples, "Samples of each time; their median counts")->capture_default_str();
  command
      .add_option("--largest-matrix-mb", o.largest_matrix_mb,
                  "Above this size of one matrix only our own loss is measured")
      ->capture_default_str();
  command.add_option("--peer", o.peer, "A Python with PyTorch; auto: python3 if it has it; none")
      ->capture_default_str();
  command.add_option("--json", o.json, "Also write the results to this file");
  command.add_option("--plot", o.plot, "Also draw time and memory against the rows: a file .svg");
  command.add_option("--commit", o.commit, "What to name as the measured version")->capture_default_str();
  add_common_options(command, o.common);
  command.callback([options] { bench_loss(*options); });
}

}  // namespace systole::tools
