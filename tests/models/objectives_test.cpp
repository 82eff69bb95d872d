// What the objectives promise beyond single steps: what follows what, what is refused, what training does.

#include <cmath>
#include <numeric>
#include <span>

#include "engine/arena.h"
#include "engine/optimizer.h"
#include "models/byol.h"
#include "models/contrastive_objective.h"
#include "models/dade.h"
#include "models/masked_reconstruction.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::models;

namespace {

constexpr int kRecords = 6, kLeads = 3, kLength = 64;
const EncoderOptions kEncoder{.leads = kLeads, .width = 2};

/// Views of records that differ from each other more than views of one record do.
Tensor views_of(int step) {
  const std::vector<float> record = test::random_normal(kRecords * kLength * kLeads, 1);
  std::vector<float> views;
  for (uint32_t view = 0; view < 2; ++view) {
    const std::vector<float> noise =
        test::random_normal(record.size(), 10 + 2 * static_cast<uint32_t>(step) + view, 0.3f);
    for (size_t i = 0; i < record.size(); ++i) views.push_back(record[i] + noise[i]);
  }
  return test::tensor(views, {2 * kRecords, kLength, kLeads});
}

Tensor ids() {
  return test::tensor<int32_t>({0, 1, 2, 3, 4, 5}, {kRecords});
}

/// The losses of some steps of Adam.
std::vector<double> losses_of(ParameterStore& store, PretrainingObjective& objective, int steps) {
  Optimizer optimizer(store, {});
  std::vector<double> losses;
  for (int i = 0; i < steps; ++i) {
    store.zero_gradients();
    const Tensor views = views_of(i).slice(0, {objective.view_count() * kRecords, kLength, kLeads});
    const Tensor loss = objective.loss(views, ids(), 7, static_cast<uint32_t>(i)).loss;
    backward(loss);
    losses.push_back(loss.item());
    optimizer.step(3e-3f);
    if (const Tensor numbers = objective.numbers())
      numbers.copy_from(objective.numbers_at((i + 1.0) / steps).data(), numbers.bytes());
    objective.follow();
  }
  return losses;
}

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("BYOL: the decay is constant, or goes to one along a cosine") {
  ByolOptions options{.decay = 0.996};
  CHECK(decay_at(options, 0.3) == 0.996);
  options.schedule = DecaySchedule::cosine;
  CHECK(decay_at(options, 0) == doctest::Approx(0.996));
  CHECK(decay_at(options, 0.5) == doctest::Approx(0.998));
  CHECK(decay_at(options, 1) == doctest::Approx(1));
}

TEST_CASE("BYOL: the target starts as a copy, and its own batches change nothing in it") {
  ParameterStore store;
  Byol byol(store, {.encoder = kEncoder, .hidden_size = 8, .projection_size = 4});
  store.allocate(test::device(), 3);
  byol.start();
  const auto& target = byol.target_store();
  CHECK(target.values().to_vector() == store.values().slice(0, target.values().shape()).to_vector());
  const std::vector<float> values = target.values().to_vector(), buffers = target.buffers().to_vector();
  backward(byol.loss(views_of(0), ids(), 1, 0).loss);
  CHECK(target.values().to_vector() == values);
  CHECK(target.buffers().to_vector() == buffers);
  byol.follow();
  CHECK(target.values().to_vector() == values);    // the online network has not moved yet
  CHECK(target.buffers().to_vector() != buffers);  // but has seen a batch
}

TEST_CASE("objectives: training lowers the loss of each") {
  const auto check_learns = [](const char* name, ParameterStore& store, PretrainingObjective& objective, size_t steps,
                               double share = 0.8) {
    store.allocate(test::device(), 5);
    objective.start();
    const std::vector<double> losses = losses_of(store, objective, static_cast<int>(steps));
    const double first = mean_of(std::span(losses).first(steps / 4)), last = mean_of(std::span(losses).last(steps / 4));
    CHECK_MESSAGE(last < share * first, fmt::format("{}: {} after {}", name, last, first));
  };
  ParameterStore of_byol, of_dade, of_masked, of_moco;
  Byol byol(of_byol, {.encoder = kEncoder, .hidden_size = 16, .projection_size = 8, .decay = 0.9});
  check_learns("byol", of_byol, byol, 24);
  Dade dade(of_dade, {.encoder = {.leads = 1, .width = 4}});
  check_learns("dade", of_dade, dade, 40);
  MaskedReconstruction masked(of_masked, {.leads = kLeads, .width = 4});
  check_learns("masked", of_masked, masked, 60, 0.95);  // noise has little that could be restored
  ContrastiveObjective moco(of_moco, {.network = {.encoder = kEncoder, .hidden_size = 16, .projection_size = 8},
                                      .loss = {.name = "moco"},
                                      .moco = {.queue_size = 12, .decay = 0.9}});
  check_learns("moco", of_moco, moco, 24);
}

TEST_CASE("masked reconstruction: what it cannot decode is refused") {
  ParameterStore store;
  CHECK_THROWS_WITH_AS(MaskedReconstruction(store, {.leads = 12, .width = 4, .name = "ResNet1D"}),
                       doctest::Contains("ECGEncoder1DCNN"), UsageError);
  ParameterStore own;
  MaskedReconstruction model(own, kEncoder);
  own.allocate(test::device(), 1);
  CHECK_THROWS_WITH_AS(model.reconstruct(test::zeros({2, 63, kLeads}), Mode::train()),
                       doctest::Contains("multiple of 8 samples, not 63"), Error);
}
