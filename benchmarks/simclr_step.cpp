// The SimCLR training step: batch of two views without augmentation, forward, backward and Adam, as
// benchmarks/peers/simclr_step.py does it in PyTorch. Prints one line of JSON; compare_step.py runs both alternately.
// Usage: bench_simclr_step [--device cuda] [--precision bf16] [--batch-size 128] [--length 1000] [--steps 5]

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/optimizer.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"
#include "models/simclr.h"

using namespace systole;

namespace {

Tensor random_views(int batch_size, int length, Device device) {
  const RandomStream stream(1, Purpose::test);
  std::vector<float> values(2u * static_cast<size_t>(batch_size) * static_cast<size_t>(length) * 12);
  for (size_t i = 0; i < values.size(); ++i) values[i] = stream.normal(static_cast<uint32_t>(i));
  return Tensor::from(values, {2 * batch_size, length, 12}, device);
}

/// Multiply-adds of encoder and projector for two views, forward and both gradients, times two.
double flop_per_ecg(const models::SimclrOptions& o, int length) {
  const double projector = 4.0 * o.encoder.width * o.hidden_size + 1.0 * o.hidden_size * o.projection_size;
  return 2 * 2 * 3 * (models::multiply_adds(o.encoder, length) + projector);
}

}  // namespace

int main(int argc, char** argv) try {
  CLI::App app{"The SimCLR training step"};
  std::string device_name = "cpu", precision = "f32";
  int thread_count = 0, batch_size = 128, length = 1000, steps = 5, warmup = 2;
  app.add_option("--device", device_name);
  app.add_option("--precision", precision);
  app.add_option("--threads", thread_count);
  app.add_option("--batch-size", batch_size);
  app.add_option("--length", length);
  app.add_option("--steps", steps)->check(CLI::PositiveNumber);
  app.add_option("--warmup", warmup);
  CLI11_PARSE(app, argc, argv);
  set_threads(thread_count);
  const Device device = parse_device(device_name);
  set_precision(parse_precision(precision, device));
  Queue queue(device);

  const models::SimclrOptions options;
  ParameterStore store;
  models::Simclr model(store, options);
  store.allocate(device, 42);
  Optimizer optimizer(store, {});
  Arena arena(device);
  const Tensor views = random_views(batch_size, length, device);

  std::vector<double> seconds;
  double loss_value = 0;
  for (int step = 0; step < warmup + steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    const ArenaScope scope(arena);
    store.zero_gradients();
    const Tensor loss = model.loss(views);
    backward(loss);
    optimizer.step(1e-3f);
    loss_value = loss.item();
    queue.synchronize();
    if (step >= warmup)
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = seconds[seconds.size() / 2];
  const nlohmann::ordered_json result{{"engine", "systole"},
                                      {"device", name(device)},
                                      {"precision", precision},
                                      {"threads", threads()},
                                      {"batch_size", batch_size},
                                      {"length", length},
                                      {"steps", steps},
                                      {"seconds_per_step", median},
                                      {"fastest", seconds.front()},
                                      {"slowest", seconds.back()},
                                      {"ecg_per_second", batch_size / median},
                                      {"gflop_per_second", batch_size * flop_per_ecg(options, length) / median / 1e9},
                                      {"loss", loss_value}};
  fmt::print("{}\n", result.dump());
} catch (const std::exception& error) {
  fmt::print(stderr, "bench_simclr_step: {}\n", error.what());
  return 1;
}
