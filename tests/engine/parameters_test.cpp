#include "engine/parameters.h"

#include "engine/optimizer.h"
#include "tests/support.h"
#include "tests/tensors.h"

using namespace systole;

namespace {

struct Model {
  ParameterStore store;
  Parameter& conv;
  Parameter& linear;
  Parameter& bias;
  Buffer& mean;
  Counter& count;

  explicit Model(uint64_t seed = 7)
      : conv(store.add("net.conv.weight", {3, 2, 4}, Layout::conv1d, Initializer::fan_in(6))),
        linear(store.add("net.linear.weight", {4, 5}, Layout::linear, Initializer::fan_in(4))),
        bias(store.add("net.linear.bias", {5}, Layout::plain, Initializer::fan_in(4))),
        mean(store.add_buffer("net.mean", {4}, 0.5f)),
        count(store.add_counter("net.count")) {
    store.allocate(test::device(), seed);
  }
};

}  // namespace

TEST_CASE("engine: parameters stand one after another in the flat buffers") {
  Model m;
  CHECK(m.store.parameter_count() == 24 + 20 + 5);
  CHECK(m.linear.value.data() == m.store.values().data() + 24);
  CHECK(gradient_of(m.bias.value).data() == m.store.gradients().data() + 44);
  CHECK(m.mean.value.to_vector() == std::vector<float>(4, 0.5f));
}

TEST_CASE("engine: saved parameters have PyTorch's shapes and order of elements") {
  Model m;
  const NamedArrays state = m.store.state("net.");
  REQUIRE(state.size() == 5);
  CHECK(state[0].first == "conv.weight");
  CHECK(state[0].second.shape == std::vector<int64_t>{4, 2, 3});  // [out, in, K]
  const std::vector<float> saved = state[0].second.to_float(), conv = m.conv.value.to_vector();
  for (int64_t k = 0; k < 3; ++k)
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t o = 0; o < 4; ++o)
        CHECK(saved[static_cast<size_t>((o * 2 + i) * 3 + k)] == conv[static_cast<size_t>((k * 2 + i) * 4 + o)]);
  CHECK(state[1].second.shape == std::vector<int64_t>{5, 4});  // [out, in]
  CHECK(state[1].second.to_float()[1] == m.linear.value.to_vector()[5]);
}

TEST_CASE("engine: what was saved loads back, bit for bit") {
  Model a(1), b(2);
  a.count.value = 41;
  CHECK(a.store.values().to_vector() != b.store.values().to_vector());
  b.store.load_state(a.store.state(), "", "memory");
  CHECK(a.store.values().to_vector() == b.store.values().to_vector());
  CHECK(b.count.value == 41);
}

TEST_CASE("engine: a state that does not fit is refused and changes nothing") {
  Model m;
  const std::vector<float> before = m.store.values().to_vector();
  NamedArrays missing = m.store.state(), extra = missing, shape = missing;
  missing.pop_back();
  extra.emplace_back("net.other", FileArray::from_float({1}, {1}));
  shape[0].second = FileArray::from_float(std::vector<float>(24, 9.0f), {2, 4, 3});
  CHECK(test::sentence_of<Error>([&] { m.store.load_state(missing, "", "x.pt"); }) == "x.pt: 'net.count' is missing");
  CHECK(test::sentence_of<Error>([&] { m.store.load_state(extra, "", "x.pt"); }) ==
        "x.pt: 'net.other' is not part of this model");
  CHECK(test::sentence_of<Error>([&] { m.store.load_state(shape, "", "x.pt"); }) ==
        "x.pt: 'net.conv.weight' has the shape [2, 4, 3]; this model expects [4, 2, 3]");
  CHECK(m.store.values().to_vector() == before);
}

TEST_CASE("engine: initial values are PyTorch's uniform ones and follow from the seed") {
  ParameterStore store;
  Parameter& w = store.add("w", {7, 64, 64}, Layout::conv1d, Initializer::fan_in(7 * 64));
  store.allocate(test::device(), 3);
  const double bound = 1 / std::sqrt(7.0 * 64);
  double sum = 0, squares = 0;
  for (float v : w.value.to_vector()) {
    CHECK(std::abs(v) <= bound);
    sum += v;
    squares += double{v} * v;
  }
  const double n = 7 * 64 * 64;
  CHECK(std::abs(sum / n) < 4 * bound / std::sqrt(3 * n));
  CHECK(squares / n == doctest::Approx(bound * bound / 3).epsilon(0.03));
  CHECK(Model(5).store.values().to_vector() == Model(5).store.values().to_vector());
}

TEST_CASE("engine: a name stands once in a model, and before its parameters are allocated") {
  ParameterStore store;
  store.add("w", {3}, Layout::plain, Initializer::constant(1));
  CHECK(test::sentence_of<Error>([&] { store.add_buffer("w", {3}, 0); }) == "the model declares 'w' twice");
  CHECK(test::sentence_of<Error>([&] { store.add_counter("w"); }) == "the model declares 'w' twice");
  store.allocate(test::device(), 1);
  CHECK(test::sentence_of<Error>([&] { store.add("late", {3}, Layout::plain, Initializer::constant(1)); }) ==
        "'late' is declared after the parameters were allocated");
  CHECK(store.state().size() == 1);
}

TEST_CASE("engine: a snapshot is a copy") {
  Model m;
  const ParameterStore::Snapshot snapshot = m.store.snapshot();
  const std::vector<float> before = m.store.values().to_vector();
  m.store.values().fill_zero();
  m.count.value = 9;
  m.store.restore(snapshot);
  CHECK(m.store.values().to_vector() == before);
  CHECK(m.count.value == 0);
}

TEST_CASE("engine: a clipped step is the step of the scaled gradient") {
  for (const char* kind : {"adam", "adamw", "sgd", "lars"}) {
    Model clipped, scaled;
    const std::vector<float> gradient = test::random_normal(static_cast<size_t>(clipped.store.parameter_count()), 1);
    double norm = 0;
    for (float g : gradient) norm += double{g} * g;
    norm = std::sqrt(norm);
    std::vector<float> small = gradient;
    for (float& g : small) g *= static_cast<float>(0.5 / norm);

    clipped.store.gradients().copy_from(gradient.data(), gradient.size() * sizeof(float));
    scaled.store.gradients().copy_from(small.data(), small.size() * sizeof(float));
    Optimizer a(clipped.store, {.kind = parse_optimizer(kind), .clip_norm = 0.5f});
    Optimizer b(scaled.store, {.kind = parse_optimizer(kind)});
    CHECK(a.step(0.01f) == doctest::Approx(norm));
    CHECK(b.step(0.01f) == doctest::Approx(0.5));
    test::check_close(clipped.store.values().to_vector(), scaled.store.values().to_vector(), 1e-6, kind);
  }
  CHECK(test::sentence_of<UsageError>([] { parse_optimizer("adamax"); }).find("adam, adamw, sgd or lars") !=
        std::string::npos);
}

TEST_CASE("engine: an average of weights is their exponential moving average") {
  const auto weights = [](double decay) { return test::tensor(ema_weights(decay), {2}); };
  Model student(1), teacher(2);
  std::vector<double> expected = test::to_double(teacher.store.values().to_vector());
  for (int step = 0; step < 5; ++step) {
    const std::vector<float> values = test::random_normal(expected.size(), static_cast<uint32_t>(step));
    student.store.values().copy_from(values.data(), values.size() * sizeof(float));
    ema(student.store.values(), teacher.store.values(), weights(0.9));
    for (size_t i = 0; i < expected.size(); ++i) expected[i] = 0.9 * expected[i] + 0.1 * values[i];
  }
  test::check_close(teacher.store.values().to_vector(), expected, 1e-6, "ema");
  const std::vector<float> kept = teacher.store.values().to_vector();
  ema(student.store.values(), teacher.store.values(), weights(1));
  CHECK(teacher.store.values().to_vector() == kept);
  ema(student.store.values(), teacher.store.values(), weights(0));
  CHECK(teacher.store.values().to_vector() == student.store.values().to_vector());
  CHECK(test::sentence_of<Error>([&] { ema(test::zeros({2}), test::zeros({3}), weights(0.5)); }).find("[3]") !=
        std::string::npos);
  CHECK(test::sentence_of<Error>([] { ema_weights(1.5); }).find("[0, 1], not 1.5") != std::string::npos);
}
