// Encoders equal PyTorch's: golden/encoders.json, made by golden/make_encoders.py.

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "kernels/elementwise/elementwise.h"
#include "tests/models/encoders.h"
#include "tests/models/golden_weights.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::models;
using test::narrow, test::Network, test::published;

namespace {

constexpr double kTolerance = test::kParityTolerance;
constexpr uint64_t kLossStream = 900;  // of make_encoders.py

nlohmann::json golden() {
  return nlohmann::json::parse(test::read_file(test::golden("encoders.json")));
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
    test::set_golden_weights(network.store);
    const Tensor views = test::golden_views(N, L, leads), first = views.slice(0, {N, L, leads});
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
    test::check_gradients(network.store, expected.at("gradient"));
    evaluated("evaluation_latent_after", [&] { return network.encoder->latent(first, Mode::evaluation()); });

    size_t buffers = 0;
    for (const auto& [key, array] : network.store.state()) {
      if (test::ends_with(key, "num_batches_tracked")) CHECK(array.to_float() == std::vector<float>{2});
      if (!expected.at("buffer").contains(key)) continue;
      const std::vector<double> numbers = expected.at("buffer").at(key);
      test::check_brief(array.to_float(), numbers, numbers[0], key);
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
      if (test::ends_with(key, "running_mean") || test::ends_with(key, "running_var"))
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
