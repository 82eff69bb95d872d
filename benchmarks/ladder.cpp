// The steps of a learning ladder on one shape: work, working memory, time, GFLOP/s and the ratio to the first step, as
// a table and, with --json, as a file.
//
//   bench_ladder --device cuda [--ladder conv1d] [--case "encoder/1 64-64 K7 N256"] [--json ladder.json]
//   bench_ladder --device cuda --ladder nt_xent [--case "batch 4096"]
//
// On simt the shape is small and the clock is the wall's: that shows that the program runs, and says nothing about a
// GPU.

#include "kernels/contrastive/ladder/ladder.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "benchmarks/timing.h"
#include "kernels/common/error.h"
#include "kernels/common/memory.h"
#include "kernels/common/philox.h"
#include "kernels/contrastive/cases.h"
#include "kernels/conv1d/cases.h"
#include "kernels/conv1d/ladder/ladder.h"

using namespace systole;

namespace {

constexpr int kSamples = 21;  // on cuda, of a millisecond or one call

/// One step on its inputs.
struct Step {
  const char* name;
  Precision precision;
  double flop;           // of this step
  double working_bytes;  // beside inputs and results
  std::function<void()> call;
};

/// A ladder on one of its family's cases.
struct Ladder {
  std::string case_name, text;
  nlohmann::ordered_json shape;
  std::vector<Step> steps;
};

using Floats = std::shared_ptr<float>;  // in a device's memory

Floats floats(Device device, size_t count) {
  const auto memory = allocate_memory(device, count * sizeof(float));
  return {memory, reinterpret_cast<float*>(memory.get())};
}

Floats random_values(Queue& queue, int64_t count, uint32_t which) {
  const RandomStream stream(1, Purpose::test, 0, which);
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(static_cast<uint32_t>(i));
  const Floats memory = floats(queue.device(), values.size());
  copy_to_device(queue, memory.get(), values.data(), values.size() * sizeof(float));
  return memory;
}

template <class Case>
Case find_case(const std::vector<Case>& cases, const std::string& part, const std::string& file) {
  for (const Case& c : cases)
    if (std::string_view(c.name).find(part) != std::string_view::npos) return c;
  throw UsageError(fmt::format("the ladder has no case with '{}' in its name; see {}", part, file));
}

/// An encoder layer; on simt one record of it, at most 64 samples long.
Ladder conv1d_ladder(Queue& queue, const std::string& part) {
  std::vector<kernels::Conv1dCase> layers = kernels::conv1d_cases();
  std::erase_if(layers, [](const auto& c) { return !std::string_view(c.name).starts_with("encoder/"); });
  kernels::Conv1dCase c = find_case(layers, part, "the encoder's in kernels/conv1d/cases.cpp");
  auto& s = c.shape;
  if (queue.device() == Device::simt) {
    s.N = 1;
    s.L = std::min(s.L, 64);
  }
  const Floats x = random_values(queue, s.input_size(), 1), w = random_values(queue, s.weight_size(), 2),
               y = floats(queue.device(), static_cast<size_t>(s.output_size()));
  Ladder ladder{c.name,
                fmt::format("N = {}, L = {}, {} → {} channels, K = {}, stride {}; {:.3g} GFLOP, {:.3g} MB", s.N, s.L,
                            s.C_in, s.C_out, s.K, s.stride, c.flop() / 1e9, c.bytes() / 1e6),
                {{"N", s.N}, {"L", s.L}, {"least_bytes", c.bytes()}},
                {}};
  for (const kernels::ladder::Step& step : kernels::ladder::steps(queue.device()))
    ladder.steps.push_back(
        {step.name, step.precision, c.flop(), 0, [=, &queue] { step.forward(queue, s, x.get(), w.get(), y.get()); }});
  return ladder;
}

Floats random_unit_rows(Queue& queue, const kernels::NtXentShape& s) {
  const Floats x = random_values(queue, int64_t{s.M} * s.D, 1), norm = floats(queue.device(), static_cast<size_t>(s.M));
  kernels::contrastive_kernels(queue.device()).l2_normalize(queue, {s.M, s.D}, x.get(), x.get(), norm.get());
  return x;
}

/// Loss and gradient of a batch; on simt of at most 128 rows.
Ladder nt_xent_ladder(Queue& queue, const std::string& part) {
  kernels::NtXentCase c = find_case(kernels::nt_xent_cases(), part, "kernels/contrastive/cases.cpp");
  auto& s = c.shape;
  if (queue.device() == Device::simt) s.M = std::min(s.M, 128);
  const Floats z = random_unit_rows(queue, s), dz = floats(queue.device(), static_cast<size_t>(s.M) * s.D),
               loss = floats(queue.device(), 1);
  Ladder ladder{c.name,
                fmt::format("{}; a unit of work is {:.3g} GFLOP", text(s), c.unit() / 1e9),
                {{"M", s.M}, {"D", s.D}, {"temperature", s.temperature}},
                {}};
  for (const kernels::nt_xent_ladder::Step& step : kernels::nt_xent_ladder::steps(queue.device())) {
    const size_t count = step.working_floats(s);
    const Floats working = floats(queue.device(), count);
    ladder.steps.push_back(
        {step.name, step.precision, step.units * c.unit(), static_cast<double>(count * sizeof(float)),
         [=, &queue] { step.loss_and_gradient(queue, s, z.get(), working.get(), loss.get(), dz.get()); }});
  }
  return ladder;
}

nlohmann::ordered_json measure(Queue& queue, const std::vector<Step>& ladder) {
  const bool simulated = queue.device() == Device::simt;
  fmt::print("{:24}{:>8}{:>10}{:>13}{:>14}{:>12}{:>14}\n", "step", "factors", "GFLOP", "working MB", "microseconds",
             "GFLOP/s", "times step 1");
  auto steps = nlohmann::ordered_json::array();
  double first = 0;
  for (const Step& step : ladder) {
    const benchmarks::Timing t = benchmarks::measure(
        queue, [&](int64_t) { step.call(); }, simulated ? 1 : kSamples, simulated ? 0 : 1e-3);
    if (first == 0) first = t.median;
    const double gflop_per_second = step.flop / t.median / 1e9;
    fmt::print("{:24}{:>8}{:>10.3g}{:>13.3g}{:>14.1f}{:>12.1f}{:>14.2f}\n", step.name, name(step.precision),
               step.flop / 1e9, step.working_bytes / 1e6, t.median * 1e6, gflop_per_second, first / t.median);
    steps.push_back({{"step", step.name},
                     {"precision", name(step.precision)},
                     {"flop", step.flop},
                     {"working_bytes", step.working_bytes},
                     {"seconds", t.median},
                     {"fastest", t.fastest},
                     {"slowest", t.slowest},
                     {"gflop_per_second", gflop_per_second},
                     {"times_step_1", first / t.median}});
  }
  return steps;
}

void run(const std::string& device_name, const std::string& ladder_name, const std::string& part,
         const std::string& json) {
  const Device device = parse_device(device_name);
  if (device == Device::cpu) throw UsageError("the ladders have no steps for the device cpu; use cuda or simt");
  Queue queue(device);
  const Ladder ladder = ladder_name == "conv1d" ? conv1d_ladder(queue, part.empty() ? "encoder/1 64-64 K7 N256" : part)
                                                : nt_xent_ladder(queue, part.empty() ? "batch 4096" : part);
  fmt::print("{}: {}\n{}: {}\n", name(device), describe(device), ladder.case_name, ladder.text);
  if (device == Device::simt) fmt::print("A small shape, timed on the CPU: these times mean nothing for a GPU.\n");

  nlohmann::ordered_json result{{"benchmark", ladder_name + " ladder"},
                                {"device", name(device)},
                                {"hardware", describe(device)},
                                {"times_mean_something", device == Device::cuda},
                                {"case", ladder.case_name}};
  result.update(ladder.shape);
  result["steps"] = measure(queue, ladder.steps);
  if (json.empty()) return;
  std::ofstream file(json);
  file << result.dump(2) << '\n';
  if (!file) throw Error(fmt::format("{} cannot be written", json));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The steps of the learning ladders of Conv1d and NT-Xent"};
  std::string device, ladder = "conv1d", part, json;
  app.add_option("--device", device, "simt or cuda")->required();
  app.add_option("--ladder", ladder)->check(CLI::IsMember({"conv1d", "nt_xent"}))->capture_default_str();
  app.add_option(
      "--case", part,
      "part of a name in the family's cases.cpp: of an encoder layer for conv1d (default: encoder/1 64-64 K7 "
      "N256), of a batch for nt_xent (default: batch 4096)");
  app.add_option("--json", json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  try {
    run(device, ladder, part, json);
  } catch (const UsageError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
