// The encoders by name: their sizes, slots, dropout, and options that do not fit.

#include "tests/models/encoders.h"

#include <algorithm>
#include <map>

#include "models/classifier.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::models;
using test::narrow, test::Network, test::published;

namespace {

const char* const kNames[] = {"ECGEncoder1DCNN", "TemporalNet", "DualStream", "ResNet1D", "ImprovedCNN"};

int64_t parameters_of(const EncoderOptions& options) {
  ParameterStore store;
  make_encoder(store, "", options);
  return store.parameter_count();
}

int64_t with_head(const EncoderOptions& options, int classes) {
  ParameterStore store;
  const Classifier classifier(store, options, classes);
  return store.parameter_count();
}

Tensor records(int N, int L, int leads) {
  return test::tensor(test::random_normal(static_cast<size_t>(N) * L * leads, 1), {N, L, leads});
}

/// Rows of a matrix [M, D].
std::vector<float> rows_of(const Tensor& x, int64_t begin, int64_t count) {
  return x.slice(begin * x.dim(1), {count, x.dim(1)}).to_vector();
}

}  // namespace

TEST_CASE("encoders: parameters and multiply-adds at the published sizes") {
  CHECK(parameters_of(published("ECGEncoder1DCNN")) == 538'624);
  CHECK(with_head(published("ECGEncoder1DCNN"), 5) == 539'909);
  CHECK(parameters_of(published("TemporalNet")) == 2'836'672);
  CHECK(with_head(published("TemporalNet"), 1) == 2'836'672 + 513);
  CHECK(parameters_of(published("DualStream")) == 2 * 2'836'672);
  CHECK(with_head(published("DualStream"), 1) == 5'673'857);
  CHECK(with_head(published("ResNet1D"), 5) == 8'739'973);
  CHECK(with_head(published("ImprovedCNN"), 5) == 999'301);

  CHECK(multiply_adds(published("ECGEncoder1DCNN"), 1000) == doctest::Approx(98.43e6).epsilon(1e-4));
  CHECK(multiply_adds(published("TemporalNet"), 2500) == doctest::Approx(1.768e9).epsilon(5e-4));
  CHECK(multiply_adds(published("DualStream"), 2500) == doctest::Approx(14.15e9).epsilon(5e-4));
}

TEST_CASE("encoders: the parts of TemporalNet, and its projector") {
  std::map<std::string, int64_t> parts;
  ParameterStore store;
  const auto encoder = make_encoder(store, "", published("TemporalNet"));
  TemporalNetProjector::declare(store, "", 512);
  for (const Parameter& p : store.parameters()) parts[p.name.substr(0, p.name.find('.'))] += p.shape.count();
  CHECK(parts == std::map<std::string, int64_t>{{"firstLayer", 320},
                                                {"residualBlocks_time1", 633'024},
                                                {"residualBlocks_time2", 1'415'360},
                                                {"integrationBlock", 787'968},
                                                {"finalLayer", 164'224}});
}

TEST_CASE("encoders: the table of layers has every parameter, each once and under its name") {
  for (const char* name : kNames)
    for (const EncoderOptions& options : {published(name), narrow(name, 12)}) {
      CAPTURE(name);
      ParameterStore store;
      const auto encoder = make_encoder(store, "", options);
      std::map<std::string, int64_t> weights;
      for (const Parameter& p : store.parameters()) weights[p.name] = p.shape.count();
      int64_t total = 0;
      for (const EncoderLayer& layer : encoder_layers(options, 1000)) {
        CHECK_MESSAGE(weights[layer.name + ".weight"] == layer.in_channels * layer.out_channels * layer.kernel,
                      layer.name);
        total += layer.parameters;
      }
      CHECK(total == store.parameter_count());
    }
}

TEST_CASE("encoders: slots are what each lead or stream alone gives, and the latent is their mean") {
  const int N = 3, L = 65;
  for (const char* name : kNames) {
    CAPTURE(name);
    EncoderOptions options = narrow(name);
    if (options.name != "DualStream") options.leads = 1;  // any encoder of one lead has leads as slots
    Network network(options);
    Encoder& encoder = *network.encoder;
    const NoGradient none;
    const Tensor x = records(N, L, 8);
    const int slots = encoder.slot_count(8);
    CHECK(slots == (options.name == "DualStream" ? 2 : 8));
    const Tensor found = encoder.slot_latents(x, Mode::evaluation());
    REQUIRE(found.shape() == Shape{slots * N, encoder.latent_size()});
    std::vector<double> mean(static_cast<size_t>(N * encoder.latent_size()), 0);
    for (int slot = 0; slot < slots; ++slot) {
      const std::vector<float> rows = rows_of(found, slot * N, N);
      for (size_t i = 0; i < rows.size(); ++i) mean[i] += rows[i] / static_cast<double>(slots);
      if (slots == 2) continue;
      const Tensor lead = split_leads(x, {slot}, 1);
      test::check_close(rows, encoder.latent(lead, Mode::evaluation()).to_vector(), 1e-6, "a lead alone");
    }
    test::check_close(encoder.latent(x, Mode::evaluation()).to_vector(), mean, 1e-5, "the mean over slots");
  }
}

TEST_CASE("encoders: slots of two views stand view after view, each view as if alone") {
  const int N = 3, L = 65;
  for (const char* name : {"TemporalNet", "DualStream"}) {
    CAPTURE(name);
    Network network(narrow(name));
    const NoGradient none;
    const Tensor both = records(2 * N, L, 8);
    const Tensor found = network.encoder->slot_latents(both, Mode::train(2));
    const int64_t per_view = found.dim(0) / 2;
    CHECK(per_view == N * network.encoder->slot_count(8));
    for (int view = 0; view < 2; ++view) {
      const Tensor x = both.slice(int64_t{view} * N * L * 8, {N, L, 8});
      const std::vector<float> alone = network.encoder->slot_latents(x, Mode::train()).to_vector();
      test::check_close(rows_of(found, view * per_view, per_view), alone, 1e-5, "a view");
    }
  }
}

TEST_CASE("encoders: the streams of the dual stream read their own leads only, of 8 or of 12") {
  const int N = 2, L = 33;
  const auto streams = [&](const EncoderOptions& options, const std::vector<float>& x) {
    Network network(options);
    const NoGradient none;
    const Tensor slots = network.encoder->slot_latents(test::tensor(x, {N, L, options.leads}), Mode::evaluation());
    return std::pair(rows_of(slots, 0, N), rows_of(slots, N, N));
  };
  const auto changed = [&](const std::vector<float>& x, int leads, int lead) {
    std::vector<float> y = x;
    for (int i = 0; i < N * L; ++i) y[static_cast<size_t>(i * leads + lead)] += 1;
    return y;
  };
  struct Case {
    int leads;
    std::vector<std::vector<int>> groups;
    std::vector<int> first, second;  // leads that the streams read
  };
  for (const Case& c : {Case{8, {}, {0, 1, 6, 7}, {2, 3, 4, 5}}, Case{12, {}, {0, 1, 10, 11}, {6, 7, 8, 9}},
                        Case{3, {{2}, {0}}, {2}, {0}}}) {
    const EncoderOptions options{.leads = c.leads, .width = 2, .name = "DualStream", .lead_groups = c.groups};
    const std::vector<float> x = test::random_normal(static_cast<size_t>(N * L * c.leads), 4);
    const auto before = streams(options, x);
    for (int lead = 0; lead < c.leads; ++lead) {
      const auto after = streams(options, changed(x, c.leads, lead));
      const auto reads = [&](const std::vector<int>& leads) {
        return std::count(leads.begin(), leads.end(), lead) == 1;
      };
      CHECK((after.first != before.first) == reads(c.first));
      CHECK((after.second != before.second) == reads(c.second));
    }
  }
}

TEST_CASE("encoders: dropout follows seed and step, and is the same on every device") {
  for (const char* name : {"TemporalNet", "DualStream", "ImprovedCNN"}) {
    CAPTURE(name);
    const std::vector<float> signals = test::random_normal(4 * 65 * 8, 6);
    const auto latent = [&](Device device, Mode mode) {
      Network network(narrow(name), device);
      const NoGradient none;
      return network.encoder->latent(Tensor::from(signals, {4, 65, 8}, device), mode).to_vector();
    };
    const Device device = test::device();
    const Mode mode = Mode::train(2).with_dropout(11, 5);
    const std::vector<float> found = latent(device, mode);
    CHECK(found == latent(device, mode));
    CHECK(found != latent(device, Mode::train(2).with_dropout(11, 6)));
    CHECK(found != latent(device, Mode::train(2).with_dropout(12, 5)));
    CHECK(found != latent(device, Mode::train(2)));
    test::check_close(found, latent(Device::cpu, mode), 1e-4, "dropout on the cpu");
  }
}

TEST_CASE("encoders: every dropout of a network has masks of its own") {
  // With equal weights and leads, the streams of the dual stream differ by their masks alone.
  Network network({.leads = 2, .width = 2, .name = "DualStream", .lead_groups = {{0}, {1}}});
  const std::vector<float> values = network.store.values().to_vector();
  const std::vector<float> half(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  std::vector<float> twice = half;
  twice.insert(twice.end(), half.begin(), half.end());
  network.store.values().copy_from(twice.data(), twice.size() * sizeof(float));
  std::vector<float> x;
  for (const float v : test::random_normal(3 * 65, 8)) x.insert(x.end(), {v, v});
  const Tensor records = test::tensor(x, {3, 65, 2});
  const NoGradient none;
  const auto equal_streams = [&](Mode mode) {
    const Tensor slots = network.encoder->slot_latents(records, mode);
    return rows_of(slots, 0, 3) == rows_of(slots, 3, 3);
  };
  CHECK(equal_streams(Mode::train()));
  CHECK_FALSE(equal_streams(Mode::train().with_dropout(1, 1)));
}

TEST_CASE("encoders: a classifier drops part of the latent in training, its encoder does not") {
  ParameterStore store;
  Classifier classifier(store, narrow("ResNet1D"), 3);
  store.allocate(test::device(), 1);
  const Tensor x = records(4, 65, 8);
  const NoGradient none;
  const Mode plain = Mode::train(), drops = Mode::train().with_dropout(1, 1);
  CHECK(classifier.encoder().latent(x, plain).to_vector() == classifier.encoder().latent(x, drops).to_vector());
  CHECK(classifier.logits(x, plain).to_vector() != classifier.logits(x, drops).to_vector());
  const std::vector<float> first = classifier.logits(x, Mode::evaluation()).to_vector();
  CHECK(first == classifier.logits(x, Mode::evaluation()).to_vector());
}

TEST_CASE("encoders: options that do not fit are refused with a sentence") {
  const auto sentence = [](const EncoderOptions& options) {
    return test::sentence_of<Error>([&] { parameters_of(options); });
  };
  CHECK(test::sentence_of<UsageError>([] { encoder_definition("VGG"); }) ==
        "unknown encoder 'VGG'; expected ECGEncoder1DCNN, TemporalNet, DualStream, ResNet1D, ImprovedCNN");
  CHECK(sentence({.leads = 12, .width = 4, .name = "TemporalNet"}) ==
        "TemporalNet reads each lead on its own: its leads must be 1, not 12");
  CHECK(sentence({.leads = 12, .width = 0, .name = "ResNet1D"}) ==
        "ResNet1D: leads and width must be positive, not 12 and 0");
  CHECK(sentence({.leads = 3, .width = 4, .name = "DualStream"}).find("8 or 12 leads, not 3") != std::string::npos);
  CHECK(sentence({.leads = 3, .width = 4, .name = "DualStream", .lead_groups = {{0, 1}, {3}}})
            .find("the lead 3; records of 3 leads have 0 to 2") != std::string::npos);
  CHECK(sentence({.leads = 3, .width = 4, .name = "DualStream", .lead_groups = {{0, 1}, {1}}})
            .find("the lead 1 is twice") != std::string::npos);
  CHECK(sentence({.leads = 3, .width = 4, .name = "DualStream", .lead_groups = {{0, 1}}}).find("two lead groups") !=
        std::string::npos);
}
