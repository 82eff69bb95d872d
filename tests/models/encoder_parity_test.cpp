// Encoders equal PyTorch's: golden/encoders.json, made by golden/make_encoders.py.

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/elementwise/elementwise.h"
#include "tests/models/encoders.h"
#include "tests/models/file_order.h"
#include "tests/models/parity_data.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::models;
using test::narrow, test::Network, test::published;

namespace {

constexpr double kTolerance = 1e-4;  // of float32 against double, relative to the largest value or to the norm
constexpr uint64_t kLossStream = 900, kProbeStream = 950;  // of make_encoders.py

nlohmann::json golden() {
  return nlohmann::json::parse(test::read_file(test::golden("encoders.json")));
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Every parameter by the formula of make_encoders.py: its stream is its place among the sorted names.
void set_golden_weights(ParameterStore& store) {
  std::map<std::string, std::vector<int64_t>> shapes;  // in PyTorch's order
  NamedArrays state = store.state();
  std::vector<std::string> names;
  for (const Parameter& p : store.parameters()) names.push_back(p.name);
  std::sort(names.begin(), names.end());
  for (const auto& [name, array] : state) shapes[name] = array.shape;
  for (auto& [name, array] : state) {
    const auto place = std::find(names.begin(), names.end(), name);
    if (place == names.end()) continue;
    const auto stream = static_cast<uint64_t>(place - names.begin());
    const std::string layer = name.substr(0, name.rfind('.'));
    size_t count = 1, fan_in = 1;
    for (const int64_t size : array.shape) count *= static_cast<size_t>(size);
    if (shapes.count(layer + ".running_mean")) {
      array = FileArray::from_float(test::parity_batch_norm(count, ends_with(name, "weight") ? 1.0 : 0.0, stream),
                                    array.shape);
      continue;
    }
    const std::vector<int64_t>& weight = shapes.at(layer + ".weight");
    for (size_t i = 1; i < weight.size(); ++i) fan_in *= static_cast<size_t>(weight[i]);
    array = FileArray::from_float(test::parity_weights(count, fan_in, stream), array.shape);
  }
  store.load_state(state, "", "formula");
}

Tensor golden_views(int N, int L, int leads) {
  std::vector<float> both;
  for (int view = 0; view < 2; ++view) {
    const std::vector<float> x = test::to_channels_last(test::parity_input(N, leads, L, 0, view), N, leads, L);
    both.insert(both.end(), x.begin(), x.end());
  }
  return test::tensor(both, {2 * N, L, leads});
}

/// Σ c · latent, as an operation.
Tensor loss_of(const Tensor& latents) {
  std::vector<float> c;
  for (int64_t i = 0; i < latents.count(); ++i)
    c.push_back(static_cast<float>(2 * test::fraction(static_cast<uint64_t>(i), kLossStream) - 1));
  const Tensor weight = test::tensor(c, {latents.count(), 1});
  const std::vector<float> values = latents.to_vector();
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) sum += double{values[i]} * c[i];
  return record(
      "loss", test::tensor<float>({static_cast<float>(sum)}, {1}), {&latents},
      [weight](const Tensor&, InputGradients& gradients) {
        const GradientTarget d = gradients.target(0);
        Queue queue(weight.device());
        kernels::elementwise_kernels(weight.device()).scale(queue, weight.count(), 1, weight.data(), d.data, d.mode);
      });
}

/// Norm, product with a fixed vector, first element: against golden numbers, within kTolerance of `scale`.
void check_brief(const std::vector<float>& values, const std::vector<double>& expected, double scale,
                 const std::string& what) {
  double squares = 0, product = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    squares += double{values[i]} * values[i];
    product += values[i] * (2 * test::fraction(i, kProbeStream) - 1);
  }
  const double found[] = {std::sqrt(squares), product, values[0]};
  for (size_t i = 0; i < 3; ++i)
    CHECK_MESSAGE(std::abs(found[i] - expected.at(i)) <= kTolerance * scale,
                  fmt::format("{}, number {}: {} instead of {}", what, i, found[i], expected[i]));
}

/// A bias in front of a BatchNorm has gradient zero, whatever roundings leave; its scale is its weight's.
void check_gradients(const ParameterStore& store, const nlohmann::json& expected) {
  size_t checked = 0;
  for (const Parameter& p : store.parameters()) {
    if (!expected.contains(p.name)) continue;
    const std::vector<double> numbers = expected.at(p.name);
    const std::string weight = p.name.substr(0, p.name.rfind('.')) + ".weight";
    const double scale = std::max(numbers.at(0), 0.01 * expected.at(weight).at(0).get<double>());
    check_brief(test::gradient_in_file_order(p), numbers, scale, "gradient of " + p.name);
    ++checked;
  }
  CHECK(checked == expected.size());
}

}  // namespace

TEST_CASE("encoders: narrow ones equal PyTorch in outputs, gradients and running statistics") {
  const nlohmann::json file = golden();
  const int N = file.at("records");
  for (const char* name : {"TemporalNet", "DualStream", "ResNet1D", "ImprovedCNN"}) {
    CAPTURE(name);
    const nlohmann::json& expected = file.at(name);
    const int leads = expected.at("leads"), L = expected.at("length");
    EncoderOptions options = narrow(name, leads);
    options.width = expected.at("width");
    Network network(options);
    set_golden_weights(network.store);
    const Tensor views = golden_views(N, L, leads), first = views.slice(0, {N, L, leads});
    const auto check = [&](const Tensor& found, const char* what) {
      test::check_close(found.to_vector(), expected.at(what).get<std::vector<double>>(), kTolerance, what);
    };
    const auto evaluated = [&](const char* what, const auto& run) {
      const NoGradient none;
      check(run(), what);
    };
    evaluated("evaluation_slots", [&] { return network.encoder->slot_latents(first, Mode::evaluation()); });
    if (network.projector)
      evaluated("evaluation_projection",
                [&] { return network.projector->forward(network.encoder->slot_latents(first, Mode::evaluation())); });

    network.store.zero_gradients();
    const Tensor latents = network.encoder->latent(views, Mode::train(2));
    check(latents, "training_latent");
    const Tensor loss = loss_of(latents);
    CHECK(loss.item() == doctest::Approx(expected.at("loss").get<double>()).epsilon(kTolerance));
    backward(loss);
    check_gradients(network.store, expected.at("gradient"));
    evaluated("evaluation_latent_after", [&] { return network.encoder->latent(first, Mode::evaluation()); });

    size_t buffers = 0;
    for (const auto& [key, array] : network.store.state()) {
      if (ends_with(key, "num_batches_tracked")) CHECK(array.to_float() == std::vector<float>{2});
      if (!expected.at("buffer").contains(key)) continue;
      const std::vector<double> numbers = expected.at("buffer").at(key);
      check_brief(array.to_float(), numbers, numbers[0], key);
      ++buffers;
    }
    CHECK(buffers == expected.at("buffer").size());
  }
}

TEST_CASE("encoders: checkpoints have PyTorch's names, and the published sizes its counts") {
  const nlohmann::json file = golden();
  for (const char* name : {"TemporalNet", "DualStream", "ResNet1D", "ImprovedCNN"}) {
    CAPTURE(name);
    const nlohmann::json& expected = file.at(name);
    const Network network(narrow(name));
    const Network full_size(published(name), Device::cpu);
    CHECK(full_size.store.parameter_count() == expected.at("published_parameters").get<int64_t>());
    for (const Parameter& p : network.store.parameters())
      if (p.name.rfind("finalLayer", 0) != 0)  // it has no part in the loss of the golden values
        CHECK_MESSAGE(expected.at("gradient").contains(p.name), p.name);
    for (const auto& [key, array] : network.store.state())
      if (ends_with(key, "running_mean") || ends_with(key, "running_var"))
        CHECK_MESSAGE(expected.at("buffer").contains(key), key);
  }
  const Network temporal(narrow("TemporalNet"));
  std::vector<std::string> names;
  for (const auto& [key, array] : temporal.store.state("residualBlocks_time2.0.resampleInput.")) names.push_back(key);
  CHECK(names == std::vector<std::string>{"0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                                          "1.num_batches_tracked"});
  CHECK(temporal.store.state("residualBlocks_time2.3.resampleInput.").empty());
  CHECK(temporal.store.state("finalLayer.0.").size() == 2);
}
