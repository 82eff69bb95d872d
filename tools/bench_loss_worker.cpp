// systole bench loss-worker: one implementation of a loss on one batch, in a process of its own, so that its memory can
// be told apart. It computes loss and gradient once, says what came of it in a line of JSON, and then answers every
// line on standard input with the seconds of a step. benchmarks/peers/losses.py does the same in PyTorch.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "benchmarks/materialised_losses.h"
#include "benchmarks/peak_memory.h"
#include "benchmarks/timing.h"
#include "engine/arena.h"
#include "engine/graph.h"
#include "kernels/common/parallel.h"
#include "tools/bench.h"
#include "tools/bench_loss_batch.h"
#include "tools/command.h"

namespace systole::tools {
namespace {

struct WorkerOptions {
  CommonOptions common;
  std::string loss, by;
  LossBatch batch;
  std::filesystem::path gradient;
  double sample_seconds = 0;
};

constexpr float kSiglipBias = -10;  // where training starts

/// Forward and backward of a loss, as in a training step: x is a leaf, and the step has an arena.
class LossStep {
 public:
  LossStep(benchmarks::LossFunction compute, models::ViewBatch batch, float temperature)
      : compute_(compute),
        batch_(std::move(batch)),
        device_(batch_.x.device()),
        gradient_(Tensor::empty(batch_.x.shape(), device_)),
        loss_(Tensor::empty({1}, device_)),
        parameters_{temperature, Tensor::from(std::vector<float>{kSiglipBias}, {1}, device_)},
        arena_(device_) {
    make_leaf(batch_.x, gradient_);
  }

  void operator()() {
    const ArenaScope scope(arena_);
    gradient_.fill_zero();
    const PairLossResult result = compute_(batch_, parameters_);
    backward(result.loss);
    loss_.copy_from(result.loss);
  }

  float loss() const { return loss_.item(); }
  const Tensor& gradient() const { return gradient_; }

 private:
  benchmarks::LossFunction compute_;
  models::ViewBatch batch_;
  Device device_;
  Tensor gradient_, loss_;
  models::LossParameters parameters_;
  Arena arena_;
};

Device prepare_quietly(const CommonOptions& options) {
  prepare_host(options);
  const Device device = parse_device(options.device);
  set_precision(parse_precision(options.precision));
  return device;
}

void write_gradient(const Tensor& gradient, const std::filesystem::path& path) {
  const std::vector<float> values = gradient.to_vector();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(gradient.bytes()));
  if (!file.flush()) throw Error(fmt::format("{} could not be written", path.string()));
}

void answer(const nlohmann::ordered_json& line) {
  std::cout << line.dump() << std::endl;
}

void work(const WorkerOptions& o) {
  const Device device = prepare_quietly(o.common);
  Queue queue(device);
  const models::LossDefinition& definition = models::loss_definition(o.loss);
  const auto compute = o.by == "systole" ? definition.compute : benchmarks::materialised_loss(o.loss);
  const float temperature = definition.temperature;
  LossStep(compute, small_batch(definition, o.batch.slots, o.batch.D, device), temperature)();
  queue.synchronize();

  const benchmarks::PeakMemory memory(device);
  LossStep step(compute, read_batch(o.batch, definition, device), temperature);
  step();
  queue.synchronize();
  const int64_t peak_bytes = memory.bytes();
  const float loss = step.loss();
  write_gradient(step.gradient(), o.gradient);
  // As in training, one graph where the device has graphs; the learned bias of siglip is read by the host in every
  // step.
  const bool captured = device != Device::cpu && o.loss != "siglip";
  Graph graph;
  if (captured) graph.capture(queue, [&] { step(); });
  const auto run = [&] { captured ? graph.replay() : step(); };
  benchmarks::Stopwatch watch(
      queue, [&](int64_t) { run(); }, o.sample_seconds);
  answer({{"loss", loss}, {"peak_bytes", peak_bytes}, {"calls", watch.calls()}, {"captured", captured}});
  for (std::string line; std::getline(std::cin, line);) {
    if (watch.calls() > 1) run();  // the caches may hold what another worker left
    answer(watch.sample());
  }
}

}  // namespace

void add_bench_loss_worker(CLI::App& bench) {
  auto options = std::make_shared<WorkerOptions>();
  WorkerOptions& o = *options;
  CLI::App& command = *bench.add_subcommand("loss-worker", "One implementation of a loss, for systole bench loss");
  command.group("");  // not in the help
  command.add_option("--loss", o.loss)->required();
  command.add_option("--by", o.by)->required();
  command.add_option("--rows", o.batch.M)->required();
  command.add_option("--dims", o.batch.D)->required();
  command.add_option("--slots", o.batch.slots)->required();
  command.add_option("--rows-file", o.batch.rows)->required();
  command.add_option("--ids-file", o.batch.ids)->required();
  command.add_option("--gradient-file", o.gradient)->required();
  command.add_option("--sample-seconds", o.sample_seconds)->required();
  add_common_options(command, o.common);
  command.callback([options] { work(*options); });
}

}  // namespace systole::tools
