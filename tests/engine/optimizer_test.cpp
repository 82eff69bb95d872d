// The optimiser over a whole store. Its kernels have tests of their own (tests/kernels/optimizer_test.cpp).

#include "engine/optimizer.h"

#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;

namespace {

using Kind = OptimizerOptions::Kind;

constexpr size_t kEncoder = 40, kHead = 18;  // numbers

/// The tensors of an encoder and of a head, in this order, or those of one of them alone.
struct Model {
  ParameterStore store;

  explicit Model(const std::string& prefix = "") {
    for (const auto& [name, shape] : std::initializer_list<std::pair<std::string, Shape>>{
             {"encoder.weight", {7, 5}}, {"encoder.bias", {5}}, {"head.weight", {5, 3}}, {"head.bias", {3}}})
      if (name.starts_with(prefix)) store.add(name, shape, Layout::plain, Initializer::constant(0));
    store.allocate(test::device(), 0);
  }
};

std::vector<float> part(const std::vector<float>& values, size_t begin, size_t count) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

/// The weights after three steps. Weights and gradients of the whole model are random; this one has those from `begin`
/// on.
std::vector<float> after_training(Model& model, const OptimizerOptions& options, float rate, size_t begin = 0) {
  const auto count = static_cast<size_t>(model.store.parameter_count());
  const auto set = [&](const Tensor& flat, uint32_t which) {
    flat.copy_from(part(test::random_normal(kEncoder + kHead, which), begin, count).data(), flat.bytes());
  };
  set(model.store.values(), 1);
  Optimizer optimizer(model.store, options);
  for (uint32_t step = 0; step < 3; ++step) {
    set(model.store.gradients(), 2 + step);
    optimizer.step(rate);
  }
  return model.store.values().to_vector();
}

}  // namespace

TEST_CASE("engine: two learning rates do what two optimisers do, bit for bit") {
  constexpr float kRate = 0.03f;
  constexpr double kFactor = 8;
  for (Kind kind : {Kind::adam, Kind::adamw, Kind::sgd, Kind::lars}) {
    CAPTURE(static_cast<int>(kind));
    const OptimizerOptions apart{.kind = kind, .weight_decay = 0.1f};
    OptimizerOptions together = apart;
    together.rate_factors = {{"head.", kFactor}};
    Model whole, encoder("encoder."), head("head.");
    const std::vector<float> both = after_training(whole, together, kRate);
    CHECK(part(both, 0, kEncoder) == after_training(encoder, apart, kRate));
    CHECK(part(both, kEncoder, kHead) == after_training(head, apart, kRate * float{kFactor}, kEncoder));
    Model same;
    CHECK(both != after_training(same, apart, kRate));
  }
}

TEST_CASE("engine: the first prefix that fits sets the learning rate") {
  Model model, one("encoder."), other("head.");
  const std::vector<float> weights =
      after_training(model, {.kind = Kind::sgd, .rate_factors = {{"head.bias", 0}, {"head.", 4}, {"", 0.5}}}, 0.5f);
  CHECK(part(weights, 0, kEncoder) == after_training(one, {.kind = Kind::sgd}, 0.25f));
  const std::vector<float> head = after_training(other, {.kind = Kind::sgd}, 2, kEncoder);
  CHECK(part(weights, kEncoder, 15) == part(head, 0, 15));
  CHECK(part(weights, kEncoder + 15, 3) == part(test::random_normal(kEncoder + kHead, 1), kEncoder + 15, 3));
}

TEST_CASE("engine: the gradient's norm is that of all parameters, whatever their learning rates") {
  Model model;
  const std::vector<float> gradient = test::random_normal(kEncoder + kHead, 7);
  model.store.gradients().copy_from(gradient.data(), model.store.gradients().bytes());
  double squares = 0;
  for (float g : gradient) squares += double{g} * g;
  Optimizer optimizer(model.store,
                      {.kind = Kind::sgd, .momentum = 0, .clip_norm = 0.5f, .rate_factors = {{"head.", 3}}});
  CHECK(optimizer.step(2) == doctest::Approx(std::sqrt(squares)).epsilon(1e-6));
  const std::vector<float> weights = model.store.values().to_vector();  // they were 0
  std::vector<double> expected;
  for (size_t i = 0; i < gradient.size(); ++i)
    expected.push_back(-(i < kEncoder ? 2 : 6) * 0.5 / std::sqrt(squares) * double{gradient[i]});
  test::check_close(weights, expected, 1e-6, "weights");
}
