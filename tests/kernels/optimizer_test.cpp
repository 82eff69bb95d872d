// Optimiser steps: against PyTorch number by number, and against the same formulas in double.

#include "kernels/optimizer/optimizer.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/optimizer/cases.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/optimizer.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

using State = reference::OptimizerState<float>;

State zero_state(const std::vector<float>& w) {
  return {w, std::vector<float>(w.size()), std::vector<float>(w.size())};
}

reference::OptimizerState<double> in_double(const State& state) {
  return {to_double(state.w), to_double(state.first), to_double(state.second)};
}

const OptimizerKernels& optimizer() {
  return optimizer_kernels(device());
}

/// The sizes that are quick enough on the device.
std::vector<OptimizerCase> cases() {
  std::vector<OptimizerCase> result = optimizer_cases();
  if (device() == Device::simt) std::erase_if(result, [](const OptimizerCase& c) { return c.count > 200'000; });
  return result;
}

/// What a step reads of the device's memory.
struct Step {
  std::vector<StepFactors> factors;
  std::vector<float> scale;
  Step(const StepFactors& f, float s) : factors{f}, scale{s} {}
};

void adam(const Adam& options, int64_t step, double rate, float scale, const std::vector<float>& g, State& s) {
  const Step now(step_factors(options, step, rate), scale);
  OnDevice d;
  optimizer().adam(d.queue(), int64_t(g.size()), options, d.in(now.factors), d.in(now.scale), d.in(g), d.out(s.w),
                   d.out(s.first), d.out(s.second));
}
void sgd(const Sgd& options, int64_t step, double rate, float scale, const std::vector<float>& g, State& s) {
  const Step now(step_factors(step, rate), scale);
  OnDevice d;
  optimizer().sgd(d.queue(), int64_t(g.size()), options, d.in(now.factors), d.in(now.scale), d.in(g), d.out(s.w),
                  d.out(s.first));
}
void lars(const std::vector<LarsSegment>& segments, const Lars& options, int64_t step, double rate, float scale,
          const std::vector<float>& g, State& s) {
  const Step now(step_factors(step, rate), scale);
  OnDevice d;
  optimizer().lars(d.queue(), int(segments.size()), segments.data(), options, d.in(now.factors), d.in(now.scale),
                   d.in(g), d.out(s.w), d.out(s.first));
}
std::vector<double> sum_of_squares(const std::vector<float>& x) {
  std::vector<double> sum(1, NAN);
  OnDevice d;
  optimizer().sum_of_squares(d.queue(), int64_t(x.size()), d.in(x), d.out(sum));
  return sum;
}

/// One step of a case of optimizers.json.
void golden_step(const nlohmann::json& c, int64_t step, const std::vector<float>& gradient, State& state) {
  const double rate = c["lr"], decay = c["weight_decay"];
  if (c["optimizer"] == "sgd") {
    return sgd({c.value("momentum", 0.0), decay}, step, rate, 1, gradient, state);
  }
  Adam options{.weight_decay = decay};
  options.decoupled = c["optimizer"] == "adamw";
  options.eps = c.value("eps", options.eps);
  if (c.contains("betas")) options.beta1 = c["betas"][0], options.beta2 = c["betas"][1];
  adam(options, step, rate, 1, gradient, state);
}

TEST_CASE("optimizer: ten steps of Adam, AdamW and SGD are PyTorch's within two ulp of a weight") {
  const auto data = nlohmann::json::parse(read_file(golden("optimizers.json")));
  REQUIRE(data["cases"].size() == 8);
  for (const auto& c : data["cases"]) {
    State state = zero_state(data["start"]);
    std::vector<double> largest = to_double(state.w);  // of a weight's values so far: its roundings were that large
    for (size_t step = 0; step < data["gradients"].size(); ++step) {
      golden_step(c, int64_t(step) + 1, data["gradients"][step], state);
      const auto expected = c["after"][step].get<std::vector<float>>();
      for (size_t i = 0; i < expected.size(); ++i) {
        largest[i] = std::max({std::abs(largest[i]), std::abs(double{expected[i]}), c["lr"].get<double>()});
        const double error = std::abs(double{state.w[i]} - expected[i]);
        CHECK_MESSAGE(error <= 2 * 0x1p-23 * largest[i],
                      fmt::format("{} step {} number {}: {} instead of {}", c["optimizer"].get<std::string>(), step + 1,
                                  i, state.w[i], expected[i]));
      }
    }
  }
}

TEST_CASE("optimizer: Adam and AdamW with every option are as good as plain float") {
  for (const OptimizerCase& c : cases())
    for (bool decoupled : {false, true}) {
      State kernel = zero_state(random_normal(c.count, 1)), plain = kernel;
      auto exact = in_double(kernel);
      for (int64_t step = 1; step <= 3; ++step) {
        const std::vector<float> g = random_normal(c.count, 10 + uint32_t(step));
        const Adam options{.beta1 = 0.8, .beta2 = 0.99, .eps = 1e-3, .weight_decay = 0.1, .decoupled = decoupled};
        adam(options, step, 0.02, 0.3f, g, kernel);
        reference::adam(options, step, 0.02f, 0.3f, g, plain);
        reference::adam(options, step, 0.02, double{0.3f}, to_double(g), exact);
      }
      check_as_good_as_plain(kernel.w, plain.w, exact.w, fmt::format("{}, decoupled {}", c.name, decoupled));
    }
}

TEST_CASE("optimizer: SGD with every option is as good as plain float") {
  for (const OptimizerCase& c : cases()) {
    State kernel = zero_state(random_normal(c.count, 2)), plain = kernel;
    kernel.first.assign(c.count, NAN);  // the first step must not read it
    auto exact = in_double(plain);
    for (bool first : {true, false, false}) {
      const std::vector<float> g = random_normal(c.count, first ? 20 : 21);
      sgd({0.9, 0.01}, first ? 1 : 2, 0.1, 0.5f, g, kernel);
      reference::sgd<float>(0.1f, 0.9f, 0.01f, 0.5f, 1, first, 0, c.count, g, plain);
      reference::sgd<double>(0.1, 0.9, 0.01, 0.5, 1, first, 0, c.count, to_double(g), exact);
    }
    check_as_good_as_plain(kernel.w, plain.w, exact.w, c.name);
  }
}

TEST_CASE("optimizer: SGD without momentum needs no buffer") {
  std::vector<float> w{1, 2}, g{10, -10};
  {
    const Step now(step_factors(1, 0.1), 1);
    OnDevice d;
    optimizer().sgd(d.queue(), 2, {}, d.in(now.factors), d.in(now.scale), d.in(g), d.out(w), nullptr);
  }
  check_close(w, std::vector<float>{0, 3}, 1e-6, "w");
}

TEST_CASE("optimizer: LARS scales each tensor by its trust ratio, and not the exempt or the zero ones") {
  const int64_t count = 50'000;
  const std::vector<LarsSegment> segments{{0, 40'000, false},
                                          {40'000, 40'064, true},
                                          {40'064, 40'065, false},
                                          {40'065, 40'100, false},
                                          {40'100, count, false}};
  State kernel = zero_state(random_normal(count, 3, 0.1f));
  std::fill(kernel.w.begin() + 40'065, kernel.w.begin() + 40'100, 0.0f);  // a tensor of zeros: ratio 1
  State plain = kernel;
  auto exact = in_double(kernel);
  for (bool first : {true, false, false}) {
    const std::vector<float> g = random_normal(count, first ? 30 : 31);
    const Lars options{.weight_decay = 0.01, .trust = 0.02};
    lars(segments, options, first ? 1 : 2, 2, 0.7f, g, kernel);
    reference::lars(segments, options, 2.0f, 0.7f, first, g, plain);
    reference::lars(segments, options, 2.0, double{0.7f}, first, to_double(g), exact);
  }
  check_as_good_as_plain(kernel.w, plain.w, exact.w, "w");
  check_as_good_as_plain(kernel.first, plain.first, exact.first, "momentum");
}

TEST_CASE("optimizer: one step of LARS by hand") {
  // ‖w‖ = 5, ‖g‖ = 10, decay 0.2: the ratio is 0.1 · 5 / (10 + 1) and multiplies (g + 0.2 w).
  State state = zero_state({3, 4});
  lars({{0, 2, false}}, {.momentum = 0.9, .weight_decay = 0.2, .trust = 0.1}, 1, 1, 1, {10, 0}, state);
  check_close(state.w, std::vector<double>{3 - 0.5 / 11 * 10.6, 4 - 0.5 / 11 * 0.8}, 1e-6, "w");
}

TEST_CASE("optimizer: LARS takes any number of tensors, empty ones too") {
  // 150 tensors of 0 … 149 numbers: more than one batch of the kernels, and pieces that are not full.
  std::vector<LarsSegment> segments;
  for (int64_t s = 0, begin = 0; s < 150; begin += s++) segments.push_back({begin, begin + s, s % 3 == 0});
  const int64_t count = segments.back().end;
  State kernel = zero_state(random_normal(count, 7)), plain = kernel;
  auto exact = in_double(kernel);
  const std::vector<float> g = random_normal(count, 8);
  for (bool first : {true, false}) {
    const Lars options{.weight_decay = 0.01, .trust = 0.02};
    lars(segments, options, first ? 1 : 2, 2, 1, g, kernel);
    reference::lars(segments, options, 2.0f, 1.0f, first, g, plain);
    reference::lars(segments, options, 2.0, 1.0, first, to_double(g), exact);
  }
  check_as_good_as_plain(kernel.w, plain.w, exact.w, "w");
  check_as_good_as_plain(kernel.first, plain.first, exact.first, "momentum");
}

TEST_CASE("optimizer: a gradient scale that is not finite changes nothing") {
  const State start = zero_state(random_normal(1001, 50));
  const std::vector<float> g = random_normal(1001, 51);
  for (float scale : {NAN, INFINITY}) {
    State by_adam = start, by_sgd = start, by_lars = start;
    adam({}, 1, 0.1, scale, g, by_adam);
    sgd({.momentum = 0.9}, 1, 0.1, scale, g, by_sgd);
    lars({{0, 1001, false}}, {}, 1, 0.1, scale, g, by_lars);
    for (const State& s : {by_adam, by_sgd, by_lars})
      CHECK((s.w == start.w && s.first == start.first && s.second == start.second));
  }
}

TEST_CASE("optimizer: the scale that limits a gradient's norm") {
  const auto limited = [](double max_norm, double norm) {
    const std::vector<double> sum{norm * norm};
    std::vector<float> scale(1);
    OnDevice d;
    optimizer().limit_norm(d.queue(), max_norm, d.in(sum), d.out(scale));
    d.finish();
    return scale[0];
  };
  CHECK(limited(0, 5) == 1);
  CHECK(limited(5, 5) == 1);
  CHECK(limited(2, 5) == 0.4f);
  for (double norm : {double{NAN}, double{INFINITY}})
    for (double limit : {0.0, 2.0}) CHECK(!std::isfinite(limited(limit, norm)));
}

TEST_CASE("optimizer: the moving average is as good as plain float, and has its fixed points") {
  for (int64_t count : {1, 1001, 100'003}) {
    const std::vector<float> source = random_normal(count, 40), start = random_normal(count, 41);
    const auto average = [&](double decay, const std::vector<float>& from, int steps) {
      std::vector<float> target = from;
      const std::vector<EmaWeights> weights{ema_weights(decay)};
      for (int step = 0; step < steps; ++step) {
        OnDevice d;
        optimizer().ema(d.queue(), count, d.in(weights), d.in(source), d.out(target));
      }
      return target;
    };
    std::vector<float> plain = start;
    std::vector<double> exact = to_double(start);
    for (int step = 0; step < 3; ++step) {
      reference::ema<float>(0.99f, source, plain);
      reference::ema<double>(0.99, to_double(source), exact);
    }
    check_as_good_as_plain(average(0.99, start, 3), plain, exact, fmt::format("{} numbers", count));
    CHECK(average(1, start, 1) == start);
    CHECK(average(0, start, 1) == source);
  }
}

TEST_CASE("optimizer: the sum of squares is exact to double") {
  for (int64_t count : {0, 1, 7, 8, 9, 16383, 16384, 16385, 100'003}) {
    const std::vector<float> x = random_normal(count, 4, 1e3f);
    double exact = 0;
    for (float v : x) exact += double{v} * v;
    CHECK(sum_of_squares(x)[0] == doctest::Approx(exact).epsilon(1e-12));
  }
}

TEST_CASE("optimizer: every result has the same bits under any schedule") {
  const int64_t count = 100'003;
  const std::vector<float> w = random_normal(count, 5), g = random_normal(count, 6);
  const auto weights_after = [&](const auto& step) {
    State state = zero_state(w);
    step(state);
    return state.w;
  };
  const auto with_adam = [&](State& s) { adam({}, 1, 0.1, 1, g, s); };
  const auto with_sgd = [&](State& s) { sgd({.momentum = 0.9}, 1, 0.1, 1, g, s); };
  const auto with_lars = [&](State& s) { lars({{0, 90'000, false}, {90'000, count, false}}, {}, 1, 1, 1, g, s); };
  check_same_bits_for_any_schedule([&] { return weights_after(with_adam); }, "adam");
  check_same_bits_for_any_schedule([&] { return weights_after(with_sgd); }, "sgd");
  check_same_bits_for_any_schedule([&] { return weights_after(with_lars); }, "lars");
  check_same_bits_for_any_schedule([&] { return sum_of_squares(g); }, "sum of squares");
}

}  // namespace
