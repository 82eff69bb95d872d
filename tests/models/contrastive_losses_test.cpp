// Losses by name, the temperature that is learned, and MoCo's second encoder and queue.

#include "models/contrastive_losses.h"

#include <cmath>

#include "engine/optimizer.h"
#include "models/moco.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::models;

namespace {

/// N records with two views near each other.
ViewBatch similar_views(int N, int D, const std::vector<int32_t>& ids) {
  std::vector<float> x = test::random_normal(size_t(N) * D, 1);
  const std::vector<float> noise = test::random_normal(x.size(), 2, 0.3f);
  for (size_t i = 0; i < noise.size(); ++i) x.push_back(x[i] + noise[i]);
  std::vector<int32_t> twice = ids;
  twice.insert(twice.end(), ids.begin(), ids.end());
  return {test::tensor(x, {2 * N, D}), test::tensor(twice, {2 * N})};
}

float loss_of(const std::string& name, const ViewBatch& batch, float temperature = 0.2f) {
  ParameterStore store;
  const ContrastiveLoss loss(store, {.name = name, .temperature = temperature});
  store.allocate(test::device(), 1);
  return loss(batch).loss.item();
}

const SimclrOptions kNetwork{.encoder = {2, 2}, .hidden_size = 6, .projection_size = 3};

}  // namespace

TEST_CASE("losses: names that mean the same give the same value") {
  const ViewBatch by_record = similar_views(6, 5, {0, 1, 2, 3, 4, 5}),
                  by_patient = similar_views(6, 5, {0, 1, 2, 0, 4, 1});
  const float expected = loss_of("nt-xent", by_record);
  CHECK(loss_of("supcon", by_record) == doctest::Approx(expected).epsilon(1e-5));  // one positive: NT-Xent
  CHECK(loss_of("nt-xent", by_patient) == expected);                               // it has no ids
  CHECK(loss_of("supcon", by_patient) != doctest::Approx(expected).epsilon(1e-3));
  CHECK(loss_of("dcl", by_record) < expected);  // fewer terms in the denominator
  CHECK(loss_of("cmsc", by_record) == doctest::Approx(loss_of("clip", by_record)).epsilon(1e-5));
  CHECK(loss_of("cmsmlc", by_record) == loss_of("cmsc", by_record));  // two slots
  CHECK(test::sentence_of<UsageError>([&] { loss_of("contrast", by_record); }).find("nt-xent, supcon, dcl") !=
        std::string::npos);
}

TEST_CASE("losses: every loss of two views has a gradient that lowers it") {
  for (const LossDefinition& definition : loss_definitions()) {
    if (std::string(definition.name) == "moco") continue;
    ViewBatch batch = similar_views(6, 5, {0, 1, 2, 0, 4, 1});
    const Tensor gradient = test::zeros(batch.x.shape());
    make_leaf(batch.x, gradient);
    ParameterStore store;
    const ContrastiveLoss loss(store, {.name = definition.name, .temperature = 0.5f});
    store.allocate(test::device(), 1);
    const PairLossResult before = loss(batch);
    backward(before.loss);
    std::vector<float> x = batch.x.to_vector(), dx = gradient.to_vector();
    double square = 0;
    for (const float d : dx) square += double{d} * d;
    const double step = 1e-3 * before.loss.item() / square;  // lowers the loss by a thousandth, to first order
    for (size_t i = 0; i < x.size(); ++i) x[i] -= static_cast<float>(step * dx[i]);
    batch.x = test::tensor(x, batch.x.shape());
    const double change = loss(batch).loss.item() - before.loss.item();
    CHECK_MESSAGE(change / before.loss.item() == doctest::Approx(-1e-3).epsilon(0.1), definition.name);
  }
}

TEST_CASE("losses: a learned temperature is a parameter, which stays above its bound") {
  ParameterStore store;
  const ContrastiveLoss loss(store, {.name = "nt-xent", .temperature = 0.1f, .learn_temperature = true});
  store.allocate(test::device(), 1);
  REQUIRE(store.parameter_count() == 1);
  CHECK(store.parameters().front().name == "loss.log_scale");
  CHECK(loss.temperature() == doctest::Approx(0.1f).epsilon(1e-6));
  ViewBatch batch = similar_views(6, 5, {0, 1, 2, 3, 4, 5});
  const Tensor value = loss(batch).loss;
  CHECK(value.item() == doctest::Approx(loss_of("nt-xent", batch, 0.1f)).epsilon(1e-5));
  backward(value);
  CHECK(store.gradients().to_vector()[0] != 0);

  const float too_large = 7;  // a temperature of 0.0009
  store.values().copy_from(&too_large, sizeof too_large);
  CHECK(loss.temperature() == ContrastiveLoss::kSmallestLearned);
  CHECK(store.values().to_vector()[0] == doctest::Approx(-std::log(ContrastiveLoss::kSmallestLearned)));
}

TEST_CASE("moco: the second network starts as the first and follows it") {
  ParameterStore online;
  Simclr network(online, kNetwork);
  online.allocate(test::device(), 5);
  Moco moco(online, kNetwork, {.queue_size = 4, .decay = 0.75});
  const Tensor views = test::tensor(test::random_normal(3 * 33 * 2, 7), {3, 33, 2});
  ViewBatch batch{network.project(views, Mode::train()), test::tensor(std::vector<int32_t>{0, 1, 2}, {3}), 1};
  moco.add_keys(views, batch);
  CHECK(batch.keys.to_vector() == batch.x.to_vector());
  CHECK(batch.keys.node() == nullptr);

  std::vector<float> start = online.values().to_vector();
  online.values().fill_zero();
  moco.follow(batch);  // from the start to three quarters of it
  for (float& w : start) w *= 0.75f;
  online.values().copy_from(start.data(), online.values().bytes());
  ViewBatch next{network.project(views, Mode::train()), batch.ids, 1};
  moco.add_keys(views, next);
  CHECK(next.keys.shape() == Shape{6, 3});
  std::vector<float> keys = next.keys.to_vector();
  keys.resize(9);
  test::check_close(keys, test::to_double(next.x.to_vector()), 1e-5, "keys of the network that followed");
}

TEST_CASE("moco: the queue holds the keys of the last batches, as nobody's or as their patient's positives") {
  ParameterStore online;
  Simclr network(online, kNetwork);
  online.allocate(test::device(), 5);
  for (const bool by_patient : {false, true}) {
    Moco moco(online, kNetwork, {.queue_size = 4, .decay = 1, .patient_positives = by_patient});
    std::vector<std::vector<float>> pushed;
    for (int32_t step = 0; step < 4; ++step) {
      const Tensor views = test::tensor(test::random_normal(3 * 33 * 2, 10 + static_cast<uint32_t>(step)), {3, 33, 2});
      const std::vector<int32_t> ids{10 * step, 10 * step + 1, 10 * step + 2};
      ViewBatch batch{network.project(views, Mode::train()), test::tensor(ids, {3}), 1};
      moco.add_keys(views, batch);
      const std::vector<int32_t> key_ids = batch.key_ids.to_vector<int32_t>();
      CHECK(std::vector<int32_t>(key_ids.begin(), key_ids.begin() + 3) == ids);
      // Four places, the newest batch first.
      const std::vector<std::vector<int32_t>> expected{{}, {0, 1, 2}, {10, 11, 12, 0}, {20, 21, 22, 10}};
      std::vector<int32_t> queued(key_ids.begin() + 3, key_ids.end());
      CHECK(queued == (by_patient ? expected[step] : std::vector<int32_t>(expected[step].size(), -1)));
      CHECK(moco.queued() == static_cast<int64_t>(expected[step].size()));
      moco.follow(batch);
    }
  }
}
