// A captured step is the step: the same bits as running it.

#include "engine/graph.h"

#include "engine/arena.h"
#include "engine/contrastive.h"
#include "engine/operations.h"
#include "engine/parameters.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;

namespace {

/// A small network whose running statistics move with every step, and the gradients of its loss.
struct Training {
  ParameterStore store;
  Arena arena{test::device()};
  Parameter& conv;
  Parameter& gamma;
  Parameter& beta;
  Buffer& mean;
  Buffer& var;
  int64_t tracked = 0;
  Tensor x = test::tensor(test::random_normal(6 * 13 * 3, 1), {6, 13, 3});

  Training()
      : conv(store.add("conv", {3, 3, 5}, Layout::conv1d, Initializer::fan_in(9))),
        gamma(store.add("gamma", {5}, Layout::plain, Initializer::constant(1))),
        beta(store.add("beta", {5}, Layout::plain, Initializer::constant(0))),
        mean(store.add_buffer("mean", {5}, 0)),
        var(store.add_buffer("var", {5}, 1)) {
    store.allocate(test::device(), 3);
  }

  void step() {
    const ArenaScope scope(arena);
    store.zero_gradients();
    const BatchNorm norm{gamma.value, beta.value, mean.value, var.value, &tracked};
    backward(nt_xent(mean_over_time(conv_bn_relu({.raw = x}, conv.value, norm, {1, 1, 1}, Mode::train(2))), 0.5f));
  }
};

}  // namespace

TEST_CASE("engine: a captured step run again equals running it step by step") {
  Training by_hand, captured;
  Queue queue(test::device());
  for (Training* training : {&by_hand, &captured}) training->step();
  Graph graph;
  const std::vector<float> before = captured.store.buffers().to_vector();
  graph.capture(queue, [&] { captured.step(); });
  CHECK(captured.store.buffers().to_vector() == before);  // recorded, not executed
  for (int i = 0; i < 3; ++i) {
    by_hand.step();
    graph.replay();
    CHECK(captured.store.buffers().to_vector() == by_hand.store.buffers().to_vector());
    CHECK(captured.store.gradients().to_vector() == by_hand.store.gradients().to_vector());
  }
  CHECK(captured.store.buffers().to_vector() != before);
}

TEST_CASE("engine: a graph reads its inputs when it is replayed") {
  const Tensor x = test::tensor<float>({1, -2}, {1, 2}), y = test::zeros({1, 2});
  Arena arena(test::device());
  const auto step = [&] {
    const ArenaScope scope(arena);
    y.copy_from(relu(x));
  };
  step();
  Queue queue(test::device());
  Graph graph;
  graph.capture(queue, step);
  x.copy_from(test::tensor<float>({-3, 4}, {1, 2}));
  graph.replay();
  CHECK(y.to_vector() == std::vector<float>{0, 4});
}

TEST_CASE("engine: an empty graph cannot be replayed") {
  Graph graph;
  CHECK(test::sentence_of<Error>([&] { graph.replay(); }) == "a graph is replayed before a step was captured");
}

TEST_CASE("engine: a captured step keeps the numbers it was given, and neither copies from the host nor asks it") {
  if (test::device() == Device::cpu) return;  // where a replay is the step itself
  const Tensor x = test::tensor<float>({0, 0}, {2}), y = test::zeros({2});
  Queue queue(test::device());
  Graph graph;
  float factor = 1;
  graph.capture(queue, [&] {
    x.fill_zero();
    kernels::elementwise_kernels(test::device()).scale(queue, 2, factor, y.data(), x.data(), GradientMode::overwrite);
    y.copy_from(x);
  });
  factor = 3;
  for (float value : {2.0f, 5.0f}) {
    y.copy_from(test::tensor<float>({value, -value}, {2}));
    graph.replay();
    CHECK(y.to_vector() == std::vector<float>{value, -value});
  }
  const auto refused = [&](const std::function<void()>& step) {
    return test::sentence_of<Error>([&] { graph.capture(queue, step); });
  };
  CHECK(refused([&] {
          x.copy_from(std::vector<float>{1, 2}.data(), 8);
        }).find("cannot be part of a captured step") != std::string::npos);
  refused([&] { x.to_vector(); });
  graph.replay();  // the old one is still there
}
