// The steps of Conv1d's learning ladder on one layer: time, GFLOP/s and the ratio to the first step, as a table and,
// with --json, as a file.
//
//   bench_ladder --device cuda [--case "encoder/1 64-64 K7 N256"] [--json ladder.json]
//
// On simt the layer is one short record and the clock is the wall's: that shows that the program runs, and says nothing
// about a GPU.

#include "kernels/conv1d/ladder/ladder.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "kernels/common/error.h"
#include "kernels/common/memory.h"
#include "kernels/common/philox.h"
#include "kernels/conv1d/cases.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

using namespace systole;

namespace {

constexpr int kWarmup = 3, kRuns = 21;

/// The first encoder layer whose name contains `part`; on simt one record of it, at most 64 samples long.
kernels::Conv1dCase find_case(const std::string& part, Device device) {
  for (kernels::Conv1dCase c : kernels::conv1d_cases()) {
    const std::string_view name(c.name);
    if (!name.starts_with("encoder/") || name.find(part) == std::string_view::npos) continue;
    if (device == Device::simt) {
      c.shape.N = 1;
      c.shape.L = std::min(c.shape.L, 64);
    }
    return c;
  }
  throw UsageError(fmt::format("no encoder layer has '{}' in its name; see kernels/conv1d/cases.cpp", part));
}

std::shared_ptr<std::byte> random_values(Queue& queue, int64_t count, uint32_t which) {
  const RandomStream stream(1, Purpose::test, 0, which);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(static_cast<uint32_t>(i));
  auto memory = allocate_memory(queue.device(), values.size() * sizeof(float));
  copy_to_device(queue, memory.get(), values.data(), values.size() * sizeof(float));
  return memory;
}

template <class Work>
double seconds_of(Queue& queue, const Work& work) {
#if defined(SYSTOLE_CUDA)
  if (queue.device() == Device::cuda) {
    kernels::cuda::Timer timer;
    timer.start(queue);
    work();
    return timer.stop(queue) / 1e3;
  }
#endif
  const auto start = std::chrono::steady_clock::now();
  work();
  queue.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Times {
  double median, fastest, slowest;
};

template <class Work>
Times times_of(Queue& queue, const Work& work) {
  const bool simulated = queue.device() == Device::simt;
  for (int i = 0; i < (simulated ? 0 : kWarmup); ++i) work();
  std::vector<double> seconds;
  for (int i = 0; i < (simulated ? 1 : kRuns); ++i) seconds.push_back(seconds_of(queue, work));
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

nlohmann::ordered_json measure(const kernels::Conv1dCase& layer, Device device) {
  Queue queue(device);
  const auto x = random_values(queue, layer.shape.input_size(), 1),
             w = random_values(queue, layer.shape.weight_size(), 2);
  const auto y = allocate_memory(device, static_cast<size_t>(layer.shape.output_size()) * sizeof(float));
  const auto floats = [](const std::shared_ptr<std::byte>& memory) { return reinterpret_cast<float*>(memory.get()); };

  fmt::print("{:24}{:>8}{:>14}{:>12}{:>16}\n", "step", "factors", "microseconds", "GFLOP/s", "times step 1");
  auto steps = nlohmann::ordered_json::array();
  double first = 0;
  for (const kernels::ladder::Step& step : kernels::ladder::steps(device)) {
    const Times t = times_of(queue, [&] { step.forward(queue, layer.shape, floats(x), floats(w), floats(y)); });
    if (first == 0) first = t.median;
    const double gflop_per_second = layer.flop() / t.median / 1e9;
    fmt::print("{:24}{:>8}{:>14.1f}{:>12.1f}{:>16.2f}\n", step.name, name(step.precision), t.median * 1e6,
               gflop_per_second, first / t.median);
    steps.push_back({{"step", step.name},
                     {"precision", name(step.precision)},
                     {"seconds", t.median},
                     {"fastest", t.fastest},
                     {"slowest", t.slowest},
                     {"gflop_per_second", gflop_per_second},
                     {"times_step_1", first / t.median}});
  }
  return steps;
}

void run(const std::string& device_name, const std::string& part, const std::string& json) {
  const Device device = parse_device(device_name);
  if (kernels::ladder::steps(device).empty())
    throw UsageError(fmt::format("the ladder has no steps for the device {}; use cuda or simt", device_name));
  const kernels::Conv1dCase layer = find_case(part, device);
  const auto& s = layer.shape;
  fmt::print("{}: {}\n{}: N = {}, L = {}, {} → {} channels, K = {}, stride {}; {:.3g} GFLOP, {:.3g} MB\n", name(device),
             describe(device), layer.name, s.N, s.L, s.C_in, s.C_out, s.K, s.stride, layer.flop() / 1e9,
             layer.bytes() / 1e6);
  if (device == Device::simt)
    fmt::print("One short record, timed once on the CPU: these times mean nothing for a GPU.\n");

  nlohmann::ordered_json result{{"benchmark", "conv1d ladder"},
                                {"device", name(device)},
                                {"hardware", describe(device)},
                                {"times_mean_something", device == Device::cuda},
                                {"case", layer.name},
                                {"N", s.N},
                                {"L", s.L},
                                {"flop", layer.flop()},
                                {"least_bytes", layer.bytes()}};
  result["steps"] = measure(layer, device);
  if (json.empty()) return;
  std::ofstream file(json);
  file << result.dump(2) << '\n';
  if (!file) throw Error(fmt::format("{} cannot be written", json));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The steps of Conv1d's learning ladder"};
  std::string device, part = "encoder/1 64-64 K7 N256", json;
  app.add_option("--device", device, "simt or cuda")->required();
  app.add_option("--case", part, "part of the name of an encoder layer in kernels/conv1d/cases.cpp")
      ->capture_default_str();
  app.add_option("--json", json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  try {
    run(device, part, json);
  } catch (const UsageError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
