// BYOL, Dade's objective and masked reconstruction equal PyTorch's: golden/methods.json, made by
// golden/make_methods.py.

#include <nlohmann/json.hpp>

#include "engine/optimizer.h"
#include "engine/reconstruction.h"
#include "models/byol.h"
#include "models/dade.h"
#include "models/masked_reconstruction.h"
#include "tests/models/golden_weights.h"

using namespace systole;
using namespace systole::models;

namespace {

constexpr int kRecords = 4, kLeads = 5, kLength = 104, kWidth = 4;
const EncoderOptions kEncoder{.leads = kLeads, .width = kWidth};
const ByolOptions kByol{.encoder = kEncoder, .hidden_size = 24, .projection_size = 8, .decay = 0.9};

nlohmann::json golden() {
  return nlohmann::json::parse(test::read_file(test::golden("methods.json")));
}

/// Loss and gradients of one step.
double step(ParameterStore& store, Objective& objective, const Tensor& views, const Tensor& ids) {
  store.zero_gradients();
  // Dropout is what PyTorch's side leaves out: only encoders without it are asked for here, or their masks are off.
  const Tensor loss = objective.loss(views, ids, 1, 0).loss;
  backward(loss);
  return loss.item();
}

}  // namespace

TEST_CASE("BYOL equals PyTorch in loss, gradients, and the target that follows with its buffers") {
  const nlohmann::json expected = golden().at("byol");
  ParameterStore store;
  Byol byol(store, kByol);
  store.allocate(test::device(), 3);
  test::set_golden_weights(store);
  byol.start();
  CHECK(step(store, byol, test::golden_views(kRecords, kLength, kLeads), {}) ==
        doctest::Approx(expected.at("loss").get<double>()).epsilon(test::kParityTolerance));
  test::check_gradients(store, expected.at("gradient"));

  Optimizer(store, {.kind = OptimizerOptions::Kind::sgd}).step(0.1f);
  byol.follow();
  size_t followed = 0;
  for (const auto& [name, array] : byol.target_store().state()) {
    if (!expected.at("target").contains(name)) continue;
    const std::vector<double> numbers = expected.at("target").at(name);
    test::check_brief(array.to_float(), numbers, std::max(numbers[0], 1.0), "target's " + name);
    ++followed;
  }
  CHECK(followed == expected.at("target").size());
  CHECK(step(store, byol, test::golden_views(kRecords, kLength, kLeads, 1), {}) ==
        doctest::Approx(expected.at("next_loss").get<double>()).epsilon(test::kParityTolerance));
}

TEST_CASE("masked reconstruction equals PyTorch in loss and gradients") {
  const nlohmann::json expected = golden().at("masked");
  ParameterStore store;
  MaskedReconstruction model(store, kEncoder);
  store.allocate(test::device(), 3);
  test::set_golden_weights(store);
  const Tensor x = test::golden_views(kRecords, kLength, kLeads).slice(0, {kRecords, kLength, kLeads});
  const Tensor loss = mean_squared_error(model.reconstruct(x, Mode::train()), x);
  store.zero_gradients();
  backward(loss);
  CHECK(loss.item() == doctest::Approx(expected.at("loss").get<double>()).epsilon(test::kParityTolerance));
  test::check_gradients(store, expected.at("gradient"));
}

TEST_CASE("Dade's objective equals PyTorch in loss and gradients, for leads and for streams") {
  const nlohmann::json file = golden();
  for (const char* encoder : {"TemporalNet", "DualStream"}) {
    CAPTURE(encoder);
    const nlohmann::json& expected = file.at(std::string("dade ") + encoder);
    const int leads = expected.at("leads"), L = expected.at("length");
    EncoderOptions options = encoder_definition(encoder).published();
    options.width = 2;
    if (options.leads != 1) options.leads = leads;
    if (encoder == std::string("DualStream")) options.lead_groups = {{0, 1, 6, 7}, {2, 3, 4, 5}};
    ParameterStore store;
    Dade dade(store, {.encoder = options});
    store.allocate(test::device(), 3);
    test::set_golden_weights(store);
    store.zero_gradients();
    const std::vector<int32_t> ids = file.at("ids");
    const Tensor x = dade.project(test::golden_views(kRecords, L, leads), Mode::train(2));
    const int slots = static_cast<int>(x.dim(0)) / kRecords;
    CHECK(slots == 2 * dade.encoder().slot_count(leads));
    const Tensor loss = clocs(x, slots, test::tensor(ids, {kRecords}), 0.1f);
    backward(loss);
    CHECK(loss.item() == doctest::Approx(expected.at("loss").get<double>()).epsilon(test::kParityTolerance));
    test::check_gradients(store, expected.at("gradient"));
  }
}
