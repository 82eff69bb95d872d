// A batch in parts, and segments that run twice: the same gradients in less memory.

#include "models/batch_parts.h"

#include "engine/arena.h"
#include "engine/recompute.h"
#include "kernels/common/dry_run.h"
#include "models/byol.h"
#include "models/contrastive_objective.h"
#include "models/dade.h"
#include "models/masked_reconstruction.h"
#include "tests/models/encoders.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;
using namespace systole::models;
using test::narrow;

namespace {

constexpr int kRecords = 8, kLength = 64;
/// The patients of the first records.
Tensor patients(int64_t records = kRecords) {
  return test::tensor<int32_t>({0, 1, 2, 3, 0, 5, 6, 1}, {kRecords}).slice(0, {records});
}

/// Views of records [first, first + count), view after view.
Tensor views_of(int views, int leads, size_t first, size_t count) {
  const size_t record = static_cast<size_t>(kLength) * static_cast<size_t>(leads);
  const std::vector<float> all = test::random_normal(static_cast<size_t>(views) * kRecords * record, 1);
  std::vector<float> part;
  for (size_t v = 0; v < static_cast<size_t>(views); ++v) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>((v * kRecords + first) * record);
    part.insert(part.end(), begin, begin + static_cast<std::ptrdiff_t>(count * record));
  }
  return test::tensor(part, {views * static_cast<int64_t>(count), kLength, leads});
}

PartViews views_for(const PretrainingObjective& objective, int leads) {
  return [views = objective.view_count(), leads](size_t first, size_t count) {
    return views_of(views, leads, first, count);
  };
}

ContrastiveOptions contrastive(const std::string& loss, const EncoderOptions& encoder) {
  return {.network = {.encoder = encoder, .hidden_size = 8, .projection_size = 4},
          .loss = {.name = loss, .temperature = 0.2f, .learn_temperature = loss == "clip"}};
}

/// A rounding more or less per weight.
void check_close(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  double largest = 0;
  for (float value : expected) largest = std::max<double>(largest, std::abs(value));
  REQUIRE(largest > 0);
  for (size_t i = 0; i < found.size(); ++i) CHECK(std::abs(found[i] - expected[i]) <= 1e-5 * largest);
}

}  // namespace

TEST_CASE("parts: two parts of a batch whose loss compares all records have the gradient of one graph over both") {
  for (const char* loss : {"nt-xent", "supcon", "clip", "vicreg", "cmlc"}) {
    CAPTURE(loss);
    const EncoderOptions encoder = narrow("ECGEncoder1DCNN", 3);
    ParameterStore store;
    ContrastiveObjective objective(store, contrastive(loss, encoder));
    store.allocate(test::device(), 3);
    const PartViews views = views_for(objective, 3);

    const RepeatedPass uncounted;
    const Tensor first = objective.embeddings(views(0, 4), 7, 2);
    const Tensor second = objective.embeddings(views(4, 4), 7, 2);
    const auto slots = static_cast<int>(first.dim(0) / 4);
    const PairLossResult expected = objective.compare(join_slots(first, second, slots), patients());
    backward(expected.loss);
    const std::vector<float> gradient = store.gradients().to_vector();

    store.zero_gradients();
    const PairLossResult found = backward_in_parts(objective, views, patients(), 2, 7, 2);
    CHECK(found.loss.item() == doctest::Approx(expected.loss.item()).epsilon(1e-6));
    check_close(store.gradients().to_vector(), gradient);
  }
}

TEST_CASE("parts: where the loss is a mean over records, those of the parts are weighted by their records") {
  const EncoderOptions encoder = narrow("ECGEncoder1DCNN", 3);
  ParameterStore store;
  MaskedReconstruction objective(store, encoder);
  store.allocate(test::device(), 3);
  const PartViews views = views_for(objective, 3);
  const Tensor ids = patients(5);  // parts of two and three

  std::vector<float> gradient(static_cast<size_t>(store.gradients().count()));
  double expected = 0;
  for (const auto& [first, count, seed] : {std::tuple{0, 2, uint64_t{7}}, {2, 3, uint64_t{7} ^ uint64_t{1} << 32}}) {
    store.zero_gradients();
    const Tensor loss =
        objective
            .loss(views(static_cast<size_t>(first), static_cast<size_t>(count)), ids.slice(first, {count}), seed, 2)
            .loss;
    backward(loss);
    expected += count / 5.0 * loss.item();
    const std::vector<float> part = store.gradients().to_vector();
    for (size_t i = 0; i < part.size(); ++i) gradient[i] += static_cast<float>(count) / 5 * part[i];
  }
  store.zero_gradients();
  CHECK(backward_in_parts(objective, views, ids, 2, 7, 2).loss.item() == doctest::Approx(expected).epsilon(1e-6));
  check_close(store.gradients().to_vector(), gradient);
}

TEST_CASE("parts: one part is the plain step, and there are no more parts than pairs of records") {
  ParameterStore store;
  Byol objective(store, {.encoder = narrow("ECGEncoder1DCNN", 3), .hidden_size = 8, .projection_size = 4});
  store.allocate(test::device(), 3);
  objective.start();
  const PartViews views = views_for(objective, 3);
  const RepeatedPass uncounted;
  const Tensor loss = objective.loss(views(0, 8), patients(), 7, 2).loss;
  backward(loss);
  const std::vector<float> gradient = store.gradients().to_vector();
  store.zero_gradients();
  CHECK(backward_in_parts(objective, views, patients(), 1, 7, 2).loss.item() == loss.item());
  CHECK(store.gradients().to_vector() == gradient);

  std::vector<size_t> sizes;
  const auto counting = [&](size_t first, size_t count) {
    sizes.push_back(count);
    return views(first, count);
  };
  backward_in_parts(objective, counting, patients(5), 4, 7, 2);
  CHECK(sizes == std::vector<size_t>{2, 3});
}

TEST_CASE("parts: running statistics count each part once") {
  ParameterStore store;
  ContrastiveObjective objective(store, contrastive("nt-xent", narrow("ECGEncoder1DCNN", 3)));
  store.allocate(test::device(), 3);
  const PartViews views = views_for(objective, 3);
  for (int part : {0, 1}) objective.embeddings(views(static_cast<size_t>(4 * part), 4), 7, 2);
  const std::vector<float> expected = store.buffers().to_vector();
  const auto counters = store.snapshot().counters;

  ParameterStore other;
  ContrastiveObjective again(other, contrastive("nt-xent", narrow("ECGEncoder1DCNN", 3)));
  other.allocate(test::device(), 3);
  backward_in_parts(again, views, patients(), 2, 7, 2);
  CHECK(other.buffers().to_vector() == expected);
  CHECK(other.snapshot().counters == counters);
}

TEST_CASE("recompute: every encoder has the same gradients, statistics and loss, bit for bit, in less memory") {
  for (const EncoderDefinition& definition : encoder_definitions()) {
    CAPTURE(std::string(definition.name));
    const EncoderOptions encoder = narrow(definition.name);
    const int leads = 8;
    struct Result {
      double loss;
      std::vector<float> gradients, buffers;
      std::vector<int64_t> counters;
      size_t peak;
    };
    const auto run = [&](bool recompute) {
      const Recompute scope(recompute);
      ParameterStore store;
      ContrastiveObjective objective(store, contrastive("nt-xent", encoder));
      store.allocate(test::device(), 3);
      const Tensor ids = test::tensor<int32_t>({0, 1, 2, 3}, {4});
      Arena arena(test::device());
      const ArenaScope step(arena);
      const PartViews views = views_for(objective, leads);
      const double loss = backward_in_parts(objective, views, ids, 1, 7, 2).loss.item();
      return Result{loss, store.gradients().to_vector(), store.buffers().to_vector(), store.snapshot().counters,
                    arena.peak()};
    };
    const Result kept = run(false), computed_again = run(true);
    CHECK(computed_again.loss == kept.loss);
    CHECK(computed_again.gradients == kept.gradients);
    CHECK(computed_again.buffers == kept.buffers);
    CHECK(computed_again.counters == kept.counters);
    CHECK(computed_again.peak < kept.peak);
  }
}

TEST_CASE("dry run: a step's memory is counted without a change to the model") {
  ParameterStore store;
  Dade objective(store, {.encoder = narrow(TemporalNet::kName)});
  store.allocate(test::device(), 3);
  const auto before = store.snapshot();
  const std::vector<float> gradients = store.gradients().to_vector();
  const PartViews views = views_for(objective, 8);
  const auto extent = [&](Arena& arena, int parts) {
    const ArenaScope scope(arena);
    backward_in_parts(objective, views, patients(), parts, 7, 2);
    return arena.extent();
  };
  size_t counted = 0;
  {
    const DryRun dry;
    const RepeatedPass uncounted;
    Arena whole = Arena::imaginary(test::device()), quarters = Arena::imaginary(test::device());
    counted = extent(whole, 1);
    CHECK(extent(quarters, 4) < counted / 2);
  }
  CHECK(store.snapshot().values == before.values);
  CHECK(store.snapshot().buffers == before.buffers);
  CHECK(store.snapshot().counters == before.counters);
  CHECK(store.gradients().to_vector() == gradients);
  Arena arena(test::device());
  CHECK(extent(arena, 1) == counted);
}
