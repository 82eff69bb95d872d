// Every kernel on every shape of its family: checked against the cpu, timed, and held against what the device can do.
// benchmarks/README.md says how to read the numbers.
// Usage: bench_kernels --device cuda --precision bf16 --json kernels.json

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>

#include "benchmarks/agreement.h"
#include "benchmarks/ceilings.h"
#include "benchmarks/device_memory.h"
#include "benchmarks/kernel_cases.h"
#include "benchmarks/origin.h"
#include "benchmarks/timing.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"

using namespace systole;
using namespace systole::benchmarks;
using nlohmann::ordered_json;

namespace {

struct Options {
  std::string device = "auto", precision = "f32", filter, by, json, commit = benchmarks::commit();
  int repeats = 0, threads = 0;
  double most_mflop = 0;
  bool check_only = false;
};

Options parse_options(int argc, char** argv) {
  Options o;
  CLI::App app{"Every kernel on every shape of its family"};
  app.add_option("--device", o.device, "auto, cpu, simt or cuda")->capture_default_str();
  app.add_option("--precision", o.precision, "f32, tf32 or bf16")->capture_default_str();
  app.add_option("--filter", o.filter, "Only cases whose kernel and shape contain this text");
  app.add_option("--by", o.by, "Only this implementation: systole, cublas or cudnn");
  app.add_option("--repeats", o.repeats, "Samples of each time; 0 for 20 on cuda, 5 on cpu, 1 on simt")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--most-mflop", o.most_mflop, "Leave larger cases out; 0 for none, and for 1 on simt");
  app.add_flag("--check-only", o.check_only, "One call of each kernel, compared with the cpu; no times");
  app.add_option("--threads", o.threads, "Threads of the cpu device; 0 for all");
  app.add_option("--json", o.json, "Also write the results to this file");
  app.add_option("--commit", o.commit, "What to name as the measured version")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    std::exit(app.exit(e) == 0 ? 0 : 2);
  }
  return o;
}

/// Of the worst result.
double worst_error(const std::vector<std::vector<float>>& found, const std::vector<std::vector<float>>& expected) {
  double worst = 0;
  for (size_t r = 0; r < found.size(); ++r) worst = std::max(worst, relative_error(found[r], expected[r]));
  return worst;
}

/// The results of one call on fresh memory.
std::vector<std::vector<float>> results_of(Queue& queue, const Problem& problem, const Variant& variant) {
  const DeviceMemory memory(queue, problem, false);
  variant.run(queue, memory.copy(0));
  return memory.results(queue, problem);
}

class Benchmark {
 public:
  explicit Benchmark(const Options& o)
      : options_(o), device_(parse_device(o.device)), precision_(parse_precision(o.precision, device_)) {
    set_precision(precision_);
    if (!o.check_only) ceilings_ = measure_ceilings(device_);
    if (options_.repeats == 0) options_.repeats = device_ == Device::cuda ? 20 : device_ == Device::cpu ? 5 : 1;
    if (options_.most_mflop == 0) options_.most_mflop = device_ == Device::simt ? 1 : INFINITY;
  }

  void run() {
    print_head();
    for (const KernelCase& c : kernel_cases()) {
      if ((c.kernel + " " + c.shape).find(options_.filter) == std::string::npos) continue;
      if (std::max(c.flop, c.bytes / 4) > options_.most_mflop * 1e6)
        ++left_out_;
      else
        run_case(c);
    }
    if (left_out_ > 0) fmt::print("{} cases above --most-mflop {} were left out\n", left_out_, options_.most_mflop);
    fmt::print("{} of {} results agree with the cpu\n", cases_.size() - failed_, cases_.size());
  }

  bool passed() const { return failed_ == 0 && !cases_.empty(); }

  ordered_json report() const {
    return {{"program", "bench_kernels"},
            {"date", now()},
            {"commit", options_.commit},
            {"device", name(device_)},
            {"device_text", describe(device_)},
            {"host", fmt::format("{}, {} threads", processor(), threads())},
            {"precision", name(precision_)},
            {"ceilings",
             {{"bytes_per_second", ceilings_.bytes_per_second},
              {"fma_flop_per_second", ceilings_.fma_flop_per_second},
              {"bf16_mma_flop_per_second", ceilings_.bf16_flop_per_second}}},
            {"left_out", left_out_},
            {"failed", failed_},
            {"cases", cases_}};
  }

 private:
  void print_head() const {
    fmt::print("{}, {}, commit {}\n", describe(device_), name(precision_), options_.commit);
    if (device_ == Device::cpu && ceilings_.fma_flop_per_second > 0)
      fmt::print("ceiling: FMA {:.0f} GFLOP/s by {} threads\n", ceilings_.fma_flop_per_second / 1e9, threads());
    if (ceilings_.bytes_per_second > 0)
      fmt::print("ceilings: copy {:.0f} GB/s, FMA {:.1f} TFLOP/s, mma.sync bf16 {:.0f} TFLOP/s\n",
                 ceilings_.bytes_per_second / 1e9, ceilings_.fma_flop_per_second / 1e12,
                 ceilings_.bf16_flop_per_second / 1e12);
    fmt::print("{:<42} {:<42} {:<8} {:>10} {:>7} {:>9} {:>8} {:>6}  {:>8}\n", "kernel", "shape", "by", "median us",
               "spread", "GFLOP/s", "GB/s", "floor", "error");
  }

  void run_case(const KernelCase& c) {
    const Problem problem = c.make(device_);
    Queue cpu(Device::cpu);
    const auto expected = results_of(cpu, problem, problem.variants[0]);
    for (const Variant& variant : problem.variants) {
      if (!options_.by.empty() && options_.by != variant.name) continue;
      ordered_json entry{{"kernel", c.kernel}, {"shape", c.shape}, {"by", variant.name}};
      try {
        run_variant(c, problem, variant, expected, entry);
      } catch (const Error& error) {
        ++failed_;
        entry["failure"] = error.what();
        fmt::print("{:<42} {:<42} {:<8} FAILED: {}\n", c.kernel, c.shape, variant.name, error.what());
      }
      cases_.push_back(std::move(entry));
    }
  }

  void run_variant(const KernelCase& c, const Problem& problem, const Variant& variant,
                   const std::vector<std::vector<float>>& expected, ordered_json& entry) {
    Queue queue(device_);
    const double error = worst_error(results_of(queue, problem, variant), expected);
    const bool agrees = error <= allowed_error(precision_);
    failed_ += !agrees;
    entry["error"] = error;
    entry["agrees"] = agrees;
    fmt::print("{:<42} {:<42} {:<8} ", c.kernel, c.shape, variant.name);
    if (!options_.check_only) {
      const DeviceMemory memory(queue, problem, true);
      const Timing t = measure(
          queue, [&](int64_t turn) { variant.run(queue, memory.copy(turn)); }, options_.repeats,
          device_ == Device::simt ? 0 : 1e-3);
      const double floor = ceilings_.floor(c.flop, c.bytes, precision_);
      entry["seconds"] = t.median;
      entry["fastest"] = t.fastest;
      entry["slowest"] = t.slowest;
      entry["samples"] = t.samples;
      entry["calls_per_sample"] = t.calls;
      entry["flop"] = c.flop;
      entry["bytes"] = c.bytes;
      if (floor > 0) entry["of_floor"] = floor / t.median;
      fmt::print("{:>10.2f} {:>6.0f}% {:>9.1f} {:>8.1f} {:>6} ", t.median * 1e6,
                 100 * (t.slowest - t.fastest) / t.median, c.flop / t.median / 1e9, c.bytes / t.median / 1e9,
                 floor > 0 ? fmt::format("{:.0f}%", 100 * floor / t.median) : "");
    }
    fmt::print(" {:>8.1e}{}\n", error, agrees ? "" : "  DISAGREES with the cpu");
    std::fflush(stdout);
  }

  Options options_;
  Device device_;
  Precision precision_;
  Ceilings ceilings_;
  ordered_json cases_ = ordered_json::array();
  size_t left_out_ = 0, failed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse_options(argc, argv);
    set_threads(options.threads);
    Benchmark benchmark(options);
    benchmark.run();
    if (!options.json.empty()) {
      std::ofstream file(options.json);
      file << benchmark.report().dump(1) << "\n";
      if (!file) throw Error("the results could not be written to " + options.json);
    }
    return benchmark.passed() ? 0 : 1;
  } catch (const UsageError& error) {
    fmt::print(stderr, "bench_kernels: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_kernels: {}\n", error.what());
    return 1;
  }
}
