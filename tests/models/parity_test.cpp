// Parity with PyTorch: the same weights and batches give the same outputs, losses, gradients and training curves. The
// golden files and the script that made them are in tests/golden; how the inputs are made is in parity_data.h.

#include <nlohmann/json.hpp>

#include "engine/arena.h"
#include "engine/optimizer.h"
#include "engine/schedule.h"
#include "kernels/common/philox.h"
#include "models/classifier.h"
#include "models/ecg_encoder_1d_cnn.h"
#include "models/simclr.h"
#include "tests/models/file_order.h"
#include "tests/models/parity_data.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::models;

namespace {

constexpr double kTolerance = 1e-4;  // relative, float32 against float32

FileArray find(const NamedArrays& arrays, const std::string& name) {
  for (const auto& [key, array] : arrays)
    if (key == name) return array;
  FAIL("no golden value " << name);
  return {};
}

/// The arrays whose names start with `name` and a dot, under the rest of their names.
NamedArrays section(const TensorFile& file, const std::string& name) {
  NamedArrays arrays;
  for (const auto& [key, array] : file.sections.at(0).second)
    if (key.rfind(name + ".", 0) == 0) arrays.emplace_back(key.substr(name.size() + 1), array);
  REQUIRE_MESSAGE(!arrays.empty(), name);
  return arrays;
}

/// Sets every parameter that `arrays` names; buffers keep their initial values.
void set_parameters(ParameterStore& store, const NamedArrays& arrays) {
  NamedArrays state = store.state();
  for (auto& [name, array] : state)
    for (const auto& [golden_name, golden_array] : arrays)
      if (golden_name == name) array = golden_array;
  store.load_state(state, "", "golden");
}

void check_gradients(const ParameterStore& store, const NamedArrays& golden) {
  for (const Parameter& p : store.parameters())
    test::check_close(test::gradient_in_file_order(p), find(golden, p.name).to_float(), kTolerance,
                      "gradient of " + p.name);
}

/// Both views of a batch as one tensor [2N, L, leads].
Tensor views_of(int records, int length, int batch) {
  std::vector<float> both;
  for (int view = 0; view < 2; ++view) {
    const std::vector<float> x =
        test::to_channels_last(test::parity_input(records, 12, length, batch, view), records, 12, length);
    both.insert(both.end(), x.begin(), x.end());
  }
  return test::tensor(both, {2 * records, length, 12});
}

/// The weights of the formula, by the parameters' positions in PyTorch's order: that of the store.
NamedArrays formula_weights(const ParameterStore& store) {
  NamedArrays arrays;
  uint64_t position = 0;
  for (const Parameter& p : store.parameters()) {
    const auto count = static_cast<size_t>(p.shape.count());
    const bool norm = p.name.find("block.1.") != std::string::npos;
    const double centre = p.name.find("weight") != std::string::npos ? 1 : 0;
    const auto fan_in = static_cast<size_t>(std::llround(1 / std::pow(double{p.initializer.value}, 2)));
    const std::vector<float> values =
        norm ? test::parity_batch_norm(count, centre, position) : test::parity_weights(count, fan_in, position);
    std::vector<int64_t> shape;
    for (int i = 0; i < p.shape.rank(); ++i) shape.push_back(p.shape[i]);
    if (p.layout != Layout::plain) std::reverse(shape.begin(), shape.end());
    arrays.emplace_back(p.name, FileArray::from_float(values, shape));
    ++position;
  }
  return arrays;
}

nlohmann::json golden_json(const std::string& name) {
  return nlohmann::json::parse(test::read_file(test::golden(name)));
}

/// A SimCLR model on the weights of the formula.
struct Run {
  ParameterStore store;
  Simclr model;
  Arena arena{test::device()};

  explicit Run(const SimclrOptions& options) : model(store, options) {
    store.allocate(test::device(), 1);
    set_parameters(store, formula_weights(store));
  }

  /// Loss and gradients of one batch.
  double forward_backward(int records, int length, int batch) {
    const ArenaScope scope(arena);
    store.zero_gradients();
    const Tensor loss = model.loss(views_of(records, length, batch));
    backward(loss);
    return loss.item();
  }
};

/// Moves every weight to one of the floats beside it, to the same side in every run with this `which`.
void round_otherwise(ParameterStore& store, uint32_t which) {
  const RandomStream stream(which, Purpose::test);
  std::vector<float> weights = store.values().to_vector();
  for (size_t i = 0; i < weights.size(); ++i)
    weights[i] = std::nextafter(weights[i], stream.below(static_cast<uint32_t>(i), 2) == 0 ? -10.0f : 10.0f);
  store.values().copy_from(weights.data(), store.values().bytes());
}

/// The losses of a run on three batches in rotation, and of `others` more whose initial weights are rounded otherwise.
std::vector<std::vector<double>> losses_of(const SimclrOptions& model, const OptimizerOptions& options,
                                           const Schedule& schedule, int records, int length, size_t steps,
                                           uint32_t others) {
  std::vector<std::vector<double>> losses(1 + others);
  for (uint32_t which = 0; which <= others; ++which) {
    Run run(model);
    if (which > 0) round_otherwise(run.store, which);
    Optimizer optimizer(run.store, options);
    for (size_t step = 0; step < steps; ++step) {
      losses[which].push_back(run.forward_backward(records, length, static_cast<int>(step % 3)));
      optimizer.step(static_cast<float>(schedule.at(static_cast<int64_t>(step))));
    }
  }
  return losses;
}

/// The first losses must follow PyTorch's: to 1e-4, or as closely as runs agree that differ in roundings alone, where
/// these have grown to more than that: PyTorch's own float32 and float64, and the first with the others.
void check_curve(const std::vector<std::vector<double>>& runs, const nlohmann::json& golden) {
  const std::vector<double>& losses = runs[0];
  const std::vector<double> float32 = golden.at("float32"), float64 = golden.at("float64");
  double drift = 0;
  for (size_t step = 0; step < losses.size(); ++step) {
    drift = std::max(drift, std::abs(float32[step] - float64[step]));
    for (const std::vector<double>& other : runs) drift = std::max(drift, std::abs(other[step] - losses[step]));
    const double allowed = std::max(kTolerance * float32[step], 2 * drift);
    CHECK_MESSAGE(
        std::abs(losses[step] - float32[step]) <= allowed,
        fmt::format("step {}: {} here, {} in PyTorch, allowed {:.2g}", step + 1, losses[step], float32[step], allowed));
    if (step < 10) CHECK(allowed <= 5 * kTolerance);  // roundings need time to grow
  }
}

}  // namespace

TEST_CASE("models: the encoder, the projector and the classifier have the published numbers of parameters") {
  ParameterStore encoder_store, classifier_store, simclr_store;
  const ECGEncoder1DCNN encoder(encoder_store, "");
  const Classifier classifier(classifier_store, {}, 5);
  const Simclr simclr(simclr_store);
  CHECK(encoder_store.parameter_count() == 538'624);
  CHECK(classifier_store.parameter_count() == 539'909);
  CHECK(simclr_store.parameter_count() == 538'624 + 256 * 2048 + 2048 + 2048 * 128 + 128);
  CHECK(multiply_adds({}, 1000) == doctest::Approx(98.43e6).epsilon(1e-3));
}

TEST_CASE("models: state dict keys are PyTorch's") {
  ParameterStore store;
  const Classifier classifier(store, {}, 5);
  store.allocate(test::device(), 1);
  std::vector<std::string> names;
  for (const auto& [name, array] : store.state()) names.push_back(name);
  REQUIRE(names.size() == 6 * 6 + 2);
  CHECK(names[0] == "encoder.features.0.block.0.weight");
  CHECK(names[1] == "encoder.features.0.block.1.weight");
  CHECK(names[5] == "encoder.features.0.block.1.num_batches_tracked");
  CHECK(names[36] == "head.weight");
  CHECK(find(store.state(), "encoder.features.4.block.0.weight").shape == std::vector<int64_t>{256, 128, 5});
}

TEST_CASE("models: SimCLR equals PyTorch in outputs, losses, gradients and buffers") {
  const TensorFile golden = read_tensor_file(test::golden("parity_small.safetensors"));
  const int N = 4, L = 101;
  for (const auto& [tau, loss_name, gradient_section] :
       {std::tuple{0.07f, "tau_0_07", "grad"}, std::tuple{0.5f, "tau_0_5", "grad_tau_0_5"}}) {
    ParameterStore store;
    Simclr model(store, {.encoder = {12, 8}, .hidden_size = 24, .projection_size = 16, .temperature = tau});
    store.allocate(test::device(), 1);
    set_parameters(store, section(golden, "init"));
    const Tensor views = views_of(N, L, 0);
    test::check_close(views.slice(0, {N, L, 12}).to_vector(),
                      test::to_channels_last(find(section(golden, "input"), "view0").to_float(), N, 12, L), 0, "input");

    {
      const NoGradient no_gradient;
      const Tensor latent = model.encoder().latent(views.slice(0, {N, L, 12}), Mode::evaluation());
      test::check_close(latent.to_vector(), find(section(golden, "eval"), "latent").to_float(), kTolerance,
                        "latent, evaluation");
    }
    const Tensor loss = model.loss(views);
    CHECK(loss.item() == doctest::Approx(find(section(golden, "loss"), loss_name).to_float()[0]).epsilon(kTolerance));
    backward(loss);
    check_gradients(store, section(golden, gradient_section));
    for (const auto& [name, array] : store.state())
      if (name.find("running") != std::string::npos)
        test::check_close(array.to_float(), find(section(golden, "after"), name).to_float(), 1e-5, name);
  }
}

TEST_CASE("models: training-mode projections of both views equal PyTorch's two forward passes") {
  const TensorFile golden = read_tensor_file(test::golden("parity_small.safetensors"));
  ParameterStore store;
  Simclr model(store, {.encoder = {12, 8}, .hidden_size = 24, .projection_size = 16});
  store.allocate(test::device(), 1);
  set_parameters(store, section(golden, "init"));
  const NoGradient no_gradient;
  const Tensor projections = model.project(views_of(4, 101, 0), Mode::train(2));
  for (int view = 0; view < 2; ++view)
    test::check_close(projections.slice(view * 4 * 16, {4, 16}).to_vector(),
                      find(section(golden, "train"), fmt::format("projection{}", view)).to_float(), kTolerance,
                      "projection");
}

TEST_CASE("models: 50 steps of Adam and of SGD with a cosine schedule follow PyTorch's losses") {
  const nlohmann::json golden = golden_json("parity_small_adam.json");
  for (const char* name : {"adam", "adam_tau_0_5", "sgd_cosine"}) {
    CAPTURE(name);
    const nlohmann::json& run_golden = golden.at(name);
    const bool sgd = std::string(name) == "sgd_cosine";
    const Schedule schedule{.kind = sgd ? Schedule::Kind::cosine : Schedule::Kind::constant,
                            .base = run_golden.at("learning_rate"),
                            .total_steps = 50};
    const SimclrOptions options{
        .encoder = {12, 8}, .hidden_size = 24, .projection_size = 16, .temperature = run_golden.at("temperature")};
    const OptimizerOptions optimizer{.kind = sgd ? OptimizerOptions::Kind::sgd : OptimizerOptions::Kind::adam};
    check_curve(losses_of(options, optimizer, schedule, 4, 101, 50, 3), run_golden);
  }
}

TEST_CASE("models: the full-size network equals PyTorch in its first gradients and 50 steps of Adam") {
  const nlohmann::json golden = golden_json("parity_full.json");
  Run run({.temperature = golden.at("temperature")});
  const double first = run.forward_backward(4, 1000, 0);
  CHECK(first == doctest::Approx(golden.at("first_loss").at("float32").get<double>()).epsilon(kTolerance));
  for (const Parameter& p : run.store.parameters()) {
    const std::vector<double> expected = golden.at("gradient_float64").at(p.name);  // norm, elements 0, 1, 2
    const std::vector<float> found = test::gradient_in_file_order(p);
    double squares = 0;
    for (float g : found) squares += double{g} * g;
    CHECK_MESSAGE(std::sqrt(squares) == doctest::Approx(expected[0]).epsilon(kTolerance), p.name);
    for (size_t i = 0; i < 3; ++i) CHECK(std::abs(found[i] - expected[1 + i]) <= kTolerance * expected[0]);
  }
  const nlohmann::json& adam =
      golden.at("adam_tau_0_5");  // at 0.07 PyTorch's own losses differ by 5e-4 between precisions
  const size_t steps = test::device() == Device::simt ? 5 : 50;  // there a step takes a second
  const SimclrOptions options{.temperature = adam.at("temperature")};
  check_curve(losses_of(options, {}, {.base = adam.at("learning_rate"), .total_steps = 50}, 4, 1000, steps, 1), adam);
}

TEST_CASE("models: the classifier equals PyTorch for BCE, focal and weighted loss") {
  const TensorFile golden = read_tensor_file(test::golden("parity_classifier.safetensors"));
  const Tensor x =
      test::tensor(test::to_channels_last(find(section(golden, "input"), "x").to_float(), 8, 12, 101), {8, 101, 12});
  const Tensor targets = test::tensor(find(section(golden, "input"), "targets").to_float(), {8, 5});
  const Tensor quarter = test::tensor(std::vector<float>(5, 0.25f), {5});
  const Tensor positive = test::tensor(find(section(golden, "input"), "positive_weight").to_float(), {5});
  const std::pair<const char*, BceWeights> losses[] = {
      {"bce", {}}, {"focal", {quarter, quarter, 2}}, {"weighted", {positive, {}, 0}}};
  for (const auto& [name, weights] : losses) {
    CAPTURE(name);
    ParameterStore store;
    Classifier classifier(store, {12, 8}, 5);
    store.allocate(test::device(), 1);
    set_parameters(store, section(golden, "init"));
    const Tensor logits = classifier.logits(x, Mode::train());
    test::check_close(logits.to_vector(), find(section(golden, "train"), "logits").to_float(), kTolerance, "logits");
    const Tensor loss = bce_with_logits(logits, targets, weights);
    CHECK(loss.item() == doctest::Approx(find(section(golden, "loss"), name).to_float()[0]).epsilon(kTolerance));
    backward(loss);
    check_gradients(store, section(golden, fmt::format("grad_{}", name)));
  }

  const nlohmann::json curve = golden_json("parity_classifier.json");
  const std::vector<double> float32 = curve.at("float32");
  ParameterStore store;
  Classifier classifier(store, {12, 8}, 5);
  store.allocate(test::device(), 1);
  set_parameters(store, section(golden, "init"));
  Optimizer optimizer(store, {});
  for (size_t step = 0; step < float32.size(); ++step) {
    store.zero_gradients();
    const Tensor loss = bce_with_logits(classifier.logits(x, Mode::train()), targets, {quarter, quarter, 2});
    CHECK(loss.item() == doctest::Approx(float32[step]).epsilon(kTolerance));
    backward(loss);
    optimizer.step(1e-3f);
  }
}
