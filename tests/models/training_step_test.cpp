// A captured step of training does what the step does that runs by itself, and what the devices learn is the same
// but for roundings.

#include "models/training_step.h"

#include <array>
#include <optional>

#include "augment/views.h"
#include "kernels/conv1d/implementation.h"
#include "models/byol.h"
#include "models/classifier.h"
#include "models/contrastive_objective.h"
#include "models/masked_reconstruction.h"
#include "tests/models/encoders.h"
#include "tests/models/precision_scope.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::models;
using namespace systole::kernels;

namespace {

constexpr int kRecords = 16, kLeads = 3, kLength = 48;
constexpr int64_t kBatch = 6, kEpochs = 3;

/// Records in a device's memory, and views of them by an augmentation that draws.
struct Records {
  Device device;
  Tensor samples, ones, zeros, mean, std;

  explicit Records(Device where) : device(where) {
    std::vector<int16_t> values;
    for (float x : test::random_normal(size_t{kRecords} * kLength * kLeads, 1))
      values.push_back(static_cast<int16_t>(1000 * x));
    samples = Tensor::from(values, {kRecords, kLength, kLeads}, device);
    ones = Tensor::from(std::vector<float>(kRecords * kLeads, 1e-3f), {kRecords, kLeads}, device);
    zeros = Tensor::zeros({kRecords, kLeads}, device);
    mean = Tensor::zeros({kLeads}, device);
    std = Tensor::from(std::vector<float>(kLeads, 1), {kLeads}, device);
  }
  Tensor views(const Tensor& records, StepNumber step) const {
    const int N = static_cast<int>(records.count());
    augment::Recipe recipe;
    recipe.gain.p = recipe.additive_noise.p = recipe.time_mask.p = 0.5f;
    Tensor x = Tensor::empty({2 * N, kLength, kLeads}, device, series_type());
    Queue queue(device);
    augment::augment_kernels(device).views(queue, {N, 2, kLength, kLength, kLeads},
                                           {samples.data<int16_t>(), ones.data(), zeros.data(), mean.data(), std.data(),
                                            reinterpret_cast<const uint32_t*>(records.data<int32_t>()), 100},
                                           recipe, 7, step, x.series());
    return x;
  }
};

/// All that a run leaves.
struct Outcome {
  std::vector<TrainingStep::Result> results;
  ParameterStore::Snapshot online;
  std::vector<float> target;
  bool can_be_captured;  // in the end

  std::vector<double> losses() const {
    std::vector<double> values;
    for (const TrainingStep::Result& r : results) values.push_back(r.loss);
    return values;
  }
};

struct Run {
  OptimizerOptions optimizer{};
  double learning_rate = 0.01;
  int parts = 1;
  bool renewed = false;  // every step is the first one of a TrainingStep, which remembers nothing of those before
};

/// Epochs of batches of 6, 6 and 4 of sixteen records, in an order that changes, at a rate that falls.
template <class MakeObjective>
Outcome train(Device device, bool captured, const MakeObjective& make_objective, const Run& run = {}) {
  const Records records(device);
  ParameterStore store;
  const std::unique_ptr<Objective> objective = make_objective(store);
  store.allocate(device, 3);
  if (auto* const of_pretraining = dynamic_cast<PretrainingObjective*>(objective.get())) of_pretraining->start();
  Optimizer optimizer(store, run.optimizer);
  std::optional<TrainingStep> step;
  const auto begin = [&] {
    step.emplace(
        store, *objective, optimizer,
        [&](const Tensor& rows, StepNumber number) { return records.views(rows, number); },
        TrainingStep::Options{.batch_size = kBatch, .steps_per_epoch = 3, .parts = run.parts, .captured = captured});
  };
  begin();
  Outcome outcome;
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    std::vector<TrainingStep::Input> inputs;
    for (int first = 0; first < kRecords; first += static_cast<int>(kBatch)) {
      TrainingStep::Input input{.number = static_cast<int64_t>(3 * epoch + static_cast<int>(inputs.size())),
                                .learning_rate = run.learning_rate / (1 + epoch),
                                .progress = 0.1 * (epoch + 1)};
      for (int i = first; i < std::min(kRecords, first + static_cast<int>(kBatch)); ++i) {
        input.records.push_back((i + 3 * epoch) % kRecords);
        input.ids.push_back(input.records.back() / 2);  // patients with two records
      }
      inputs.push_back(input);
    }
    const size_t at_once = run.renewed ? 1 : inputs.size();
    for (size_t first = 0; first < inputs.size(); first += at_once) {
      if (run.renewed) begin();
      step->prepare(std::span(inputs).subspan(first, at_once));
      for (size_t i = 0; i < at_once; ++i) step->run();
      const auto results = step->results(0, static_cast<int64_t>(at_once));
      outcome.results.insert(outcome.results.end(), results.begin(), results.end());
    }
  }
  outcome.online = store.snapshot();
  outcome.can_be_captured = objective->can_be_captured();
  if (const auto* byol = dynamic_cast<const Byol*>(objective.get()))
    outcome.target = byol->target_store().values().to_vector();
  return outcome;
}

void check_same_bits(const Outcome& a, const Outcome& b) {
  REQUIRE(a.results.size() == b.results.size());
  for (size_t i = 0; i < a.results.size(); ++i) {
    CHECK(a.results[i].loss == b.results[i].loss);
    CHECK(a.results[i].gradient_norm == b.results[i].gradient_norm);
    CHECK(a.results[i].left_out == b.results[i].left_out);
  }
  CHECK(a.online.values == b.online.values);
  CHECK(a.online.buffers == b.online.buffers);
  CHECK(a.online.counters == b.online.counters);
  CHECK(a.target == b.target);
}

const auto kSimclr = [](ParameterStore& store) -> std::unique_ptr<Objective> {
  return std::make_unique<ContrastiveObjective>(
      store,
      ContrastiveOptions{
          .network = {.encoder = test::narrow("ECGEncoder1DCNN", kLeads), .hidden_size = 8, .projection_size = 4},
          .loss = {.temperature = 0.5f}});
};
const auto kByol = [](ParameterStore& store) -> std::unique_ptr<Objective> {
  return std::make_unique<Byol>(store, ByolOptions{.encoder = test::narrow("ECGEncoder1DCNN", kLeads),
                                                   .hidden_size = 8,
                                                   .projection_size = 4,
                                                   .decay = 0.9,
                                                   .schedule = DecaySchedule::cosine});
};
/// Of the first view, with dropout; a patient's labels are the bits of its number.
const auto kClassifier = [](ParameterStore& store) -> std::unique_ptr<Objective> {
  const auto classifier = std::make_shared<Classifier>(store, test::narrow("ImprovedCNN", kLeads), 3);
  std::vector<float> labels;
  for (int patient = 0; patient < kRecords / 2; ++patient)
    for (int c = 0; c < 3; ++c) labels.push_back(static_cast<float>(patient >> c & 1));
  return std::make_unique<ClassifierObjective>(
      [classifier](const Tensor& views, Mode mode) {
        return classifier->logits(views.slice(0, {views.dim(0) / 2, views.dim(1), views.dim(2)}), mode);
      },
      test::tensor(labels, {kRecords / 2, 3}), BceWeights{});
};
/// Other losses, an encoder with dropout, and leads as slots.
ContrastiveOptions with_loss(const char* loss, const char* encoder = "ECGEncoder1DCNN") {
  return {.network = {.encoder = test::narrow(encoder, kLeads), .hidden_size = 8, .projection_size = 4},
          .loss = {.name = loss, .temperature = 0.5f}};
}

}  // namespace

TEST_CASE("training step: captured steps of SimCLR, BYOL and a classifier are the steps themselves, bit for bit") {
  for (Precision precision : kAllPrecisions) {
    const test::PrecisionScope scope(precision);
    CAPTURE(name(precision));
    check_same_bits(train(test::device(), true, kSimclr), train(test::device(), false, kSimclr));
    check_same_bits(train(test::device(), true, kByol), train(test::device(), false, kByol));
    check_same_bits(train(test::device(), true, kClassifier), train(test::device(), false, kClassifier));
  }
}

TEST_CASE("training step: so are those of other losses, of dropout, of every optimiser, and of what is not captured") {
  using Kind = OptimizerOptions::Kind;
  const auto check = [](const ContrastiveOptions& options, const Run& run = {}, bool is_captured = true) {
    const auto make = [&](ParameterStore& store) { return std::make_unique<ContrastiveObjective>(store, options); };
    const Outcome captured = train(test::device(), true, make, run);
    CHECK(captured.can_be_captured == is_captured);
    check_same_bits(captured, train(test::device(), false, make, run));
  };
  for (const char* loss : {"supcon", "clip", "vicreg", "cmsmlc"}) {
    CAPTURE(loss);
    check(with_loss(loss));
  }
  check(with_loss("siglip"), {}, false);
  ContrastiveOptions moco = with_loss("moco");
  for (int queue : {8, 1000}) {  // full after two steps, never full
    moco.moco = {.queue_size = queue, .decay = 0.9, .patient_positives = true};
    check(moco, {}, queue == 8);
  }
  check(with_loss("nt-xent", "TemporalNet"));
  check(with_loss("nt-xent"), {.optimizer = {.kind = Kind::adamw, .weight_decay = 0.1f, .clip_norm = 0.01f}});
  check(with_loss("nt-xent"), {.optimizer = {.kind = Kind::sgd}});
  check(with_loss("nt-xent"), {.optimizer = {.kind = Kind::lars}});
  check(with_loss("nt-xent"), {.parts = 2});
  const auto masked = [](ParameterStore& store) {
    return std::make_unique<MaskedReconstruction>(store, test::narrow("ECGEncoder1DCNN", kLeads));
  };
  for (int parts : {1, 2}) {
    const Run run{.parts = parts};
    check_same_bits(train(test::device(), true, masked, run), train(test::device(), false, masked, run));
  }
}

TEST_CASE("training step: steps differ, and follow the records, the rate and the progress that they are told") {
  const Outcome outcome = train(test::device(), true, kByol);
  CHECK(outcome.results[0].loss != outcome.results[3].loss);
  CHECK(outcome.online.counters[0] == 2 * 9);  // two views in each of nine steps
  const Outcome slower = train(test::device(), true, kByol, {.learning_rate = 0.001});
  CHECK(slower.results[0].loss == outcome.results[0].loss);
  CHECK(slower.results[1].loss != outcome.results[1].loss);
}

TEST_CASE("training step: the losses of the cpu, within the roundings of a precision") {
  // SGD, since Adam's first steps follow the sign of each gradient, however small.
  const Run run{.optimizer = {.kind = OptimizerOptions::Kind::sgd}, .learning_rate = 1e-4};
  const std::array tolerance{1e-4, 2e-2, 5e-2};
  for (const auto& make : {std::function<std::unique_ptr<Objective>(ParameterStore&)>(kSimclr), {kByol}}) {
    const std::vector<double> expected = train(Device::cpu, true, make, run).losses();
    for (Precision precision : kAllPrecisions) {
      const test::PrecisionScope scope(precision);
      test::check_close(train(test::device(), true, make, run).losses(), expected,
                        tolerance[static_cast<size_t>(precision)], std::string(name(precision)));
    }
  }
}

TEST_CASE("training step: with convolutions by wgmma it is captured as well, and has the losses of the cpu") {
  if (test::device() == Device::cpu) return;
  const test::PrecisionScope scope(Precision::bf16);
  const Convolution before = convolution();
  set_convolution(Convolution::wgmma);
  const bool by_wgmma = convolves_by_wgmma(test::device());  // not on every GPU
  const auto wide = [](ParameterStore& store) -> std::unique_ptr<Objective> {
    EncoderOptions encoder = test::narrow("ECGEncoder1DCNN", kLeads);
    encoder.width = 16;
    return std::make_unique<ContrastiveObjective>(
        store, ContrastiveOptions{.network = {.encoder = encoder, .hidden_size = 8, .projection_size = 4},
                                  .loss = {.temperature = 0.5f}});
  };
  Run run{.optimizer = {.kind = OptimizerOptions::Kind::sgd}, .learning_rate = 0.02};
  if (by_wgmma) {
    const Outcome captured = train(test::device(), true, wide, run);
    test::check_close(captured.losses(), train(Device::cpu, true, wide, run).losses(), 5e-2, "losses");
    run.renewed = true;  // weights that were packed before are not there
    check_same_bits(captured, train(test::device(), false, wide, run));
  }
  set_convolution(before);
}
