// One training run, every device and precision: what another device computes differs by roundings only.

#include "engine/arena.h"
#include "engine/optimizer.h"
#include "models/simclr.h"
#include "tests/models/precision_scope.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::models;

namespace {

constexpr float kTemperature = 0.5f;
constexpr int kSteps = 4;

/// The losses of a few steps of SGD on similar views. SGD, because Adam's first steps follow the sign of each gradient,
/// however small, and so turn roundings into whole steps; with a rate at which the run does not amplify them.
std::vector<float> losses(Device device) {
  const int N = 6, L = 41, leads = 3;
  std::vector<float> views;
  const std::vector<float> record = test::random_normal(static_cast<size_t>(N * L * leads), 1);
  for (uint32_t view = 0; view < 2; ++view) {
    const std::vector<float> noise = test::random_normal(record.size(), 2 + view, 0.5f);
    for (size_t i = 0; i < record.size(); ++i) views.push_back(record[i] + noise[i]);
  }
  ParameterStore store;
  Simclr model(store, {.encoder = {leads, 4}, .hidden_size = 24, .projection_size = 8, .temperature = kTemperature});
  store.allocate(device, 5);
  Optimizer optimizer(store, {.kind = OptimizerOptions::Kind::sgd});
  Arena arena(device);
  const Tensor x = test::series(views, {2 * N, L, leads}, device);
  std::vector<float> result;
  for (int step = 0; step < kSteps; ++step) {
    const ArenaScope scope(arena);
    store.zero_gradients();
    const Tensor loss = model.loss(x);
    result.push_back(loss.item());
    backward(loss);
    optimizer.step(0.01f);
  }
  return result;
}

/// The largest relative error of rounding one number to the format.
double unit_roundoff(Precision precision) {
  return precision == Precision::bf16 ? 0x1p-8 : precision == Precision::tf32 ? 0x1p-11 : 0x1p-24;
}

}  // namespace

TEST_CASE("models: a SimCLR run has the losses of the cpu on every device and in every precision") {
  const std::vector<float> expected = losses(Device::cpu);
  CHECK(expected.back() < expected.front());
  std::vector<float> f32;
  for (const Precision precision : kAllPrecisions) {
    const test::PrecisionScope scope(precision);
    const std::vector<float> found = losses(test::device());
    // Each of the eight layers rounds both factors of its products. Within a sum the roundings average, from layer to
    // layer they add like √8: a projection is off by about two of them, a cosine of two by as much, and the loss by
    // 1 / temperature times that. The f32 of two devices differs in the order of sums besides.
    const double allowed = std::max(2 * unit_roundoff(precision) / kTemperature, 1e-5);
    for (size_t step = 0; step < found.size(); ++step)
      CHECK_MESSAGE(std::abs(found[step] - expected[step]) <= allowed,
                    fmt::format("{}, step {}: {} on {}, {} on cpu, allowed {:.2g}", name(precision), step + 1,
                                found[step], name(test::device()), expected[step], allowed));
    if (precision == Precision::f32)
      f32 = found;
    else
      CHECK(found != f32);                   // the precision has an effect
    CHECK(found == losses(test::device()));  // the same bits in every run
  }
}
