// Binary cross-entropies: against the formula, finite differences, PyTorch, and for logits where plain code fails.

#include "kernels/classification/classification.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/classification/cases.h"
#include "kernels/common/error.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/classification.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

struct Inputs {
  BceShape shape;
  std::vector<float> logits, targets;     // [N, C]
  std::vector<float> positive, negative;  // [C]
};

/// Logits of both signs, up to about 10; hard and soft targets; weights between 0.2 and 5.
Inputs random_inputs(const BceShape& shape, uint32_t which) {
  const RandomStream stream(seed(), Purpose::test, 0, which, 1);
  Inputs in{shape, random_normal(size_t(shape.N) * shape.C, which, 3), {}, {}, {}};
  for (uint32_t i = 0; i < in.logits.size(); ++i) {
    const float draw = stream.uniform(i);
    in.targets.push_back(draw < 0.4f ? 0 : draw < 0.8f ? 1 : draw);
  }
  for (uint32_t c = 0; c < static_cast<uint32_t>(shape.C); ++c) {
    in.positive.push_back(RandomStream(seed(), Purpose::test, 1, which).uniform(c, 0.2f, 5));
    in.negative.push_back(RandomStream(seed(), Purpose::test, 2, which).uniform(c, 0.2f, 5));
  }
  return in;
}

const ClassificationKernels& classification() {
  return classification_kernels(device());
}

/// Writes dlogits, or adds to them.
void bce_backward(const Inputs& in, float upstream, std::vector<float>& dlogits, GradientMode mode) {
  OnDevice d;
  const std::vector<float> scale{upstream};
  const float* positive = in.positive.empty() ? nullptr : d.in(in.positive);
  const float* negative = in.negative.empty() ? nullptr : d.in(in.negative);
  classification().bce_backward(d.queue(), in.shape, d.in(in.logits), d.in(in.targets), positive, negative, d.in(scale),
                                d.out(dlogits), mode);
}

reference::Bce<float> bce(const Inputs& in) {
  reference::Bce<float> result{NAN, std::vector<float>(in.logits.size(), NAN)};
  {
    OnDevice d;
    const float* positive = in.positive.empty() ? nullptr : d.in(in.positive);
    const float* negative = in.negative.empty() ? nullptr : d.in(in.negative);
    classification().bce_forward(d.queue(), in.shape, d.in(in.logits), d.in(in.targets), positive, negative,
                                 d.out(&result.loss, 1));
  }
  bce_backward(in, 1, result.dlogits, GradientMode::overwrite);
  return result;
}

template <class T>
reference::Bce<T> by_formula(const Inputs& in) {
  const auto as = [](const std::vector<float>& values) { return std::vector<T>(values.begin(), values.end()); };
  return reference::bce<T>(in.shape.N, in.shape.C, in.shape.gamma, as(in.logits), as(in.targets), as(in.positive),
                           as(in.negative));
}

TEST_CASE("classification: loss and gradient agree with the formula for every exponent") {
  for (const BceCase& c : bce_cases())
    for (float gamma : {c.shape.gamma, 0.0f, 0.5f, 2.0f, 5.0f}) {
      const Inputs in = random_inputs({c.shape.N, c.shape.C, gamma}, 1);
      const std::string what = fmt::format("{}, gamma {}", c.name, gamma);
      const auto kernel = bce(in);
      const auto exact = by_formula<double>(in);
      CHECK(kernel.loss == doctest::Approx(exact.loss).epsilon(1e-6));
      check_as_good_as_plain(kernel.dlogits, by_formula<float>(in).dlogits, exact.dlogits, what);
    }
}

TEST_CASE("classification: the gradient agrees with finite differences, the focal factor included") {
  for (float gamma : {0.0f, 1.5f, 2.0f}) {
    const Inputs in = random_inputs({7, 3, gamma}, 2);
    const auto loss_of = [&](const std::vector<double>& logits) {
      return reference::bce<double>(7, 3, gamma, logits, to_double(in.targets), to_double(in.positive),
                                    to_double(in.negative))
          .loss;
    };
    check_close(bce(in).dlogits, finite_differences(loss_of, to_double(in.logits)), 1e-6,
                fmt::format("gamma {}", gamma));
  }
}

TEST_CASE("classification: missing weights are ones") {
  Inputs in = random_inputs({9, 4, 1.5f}, 3);
  in.positive.assign(4, 1.0f);
  in.negative.assign(4, 1.0f);
  const auto with_ones = bce(in);
  in.positive.clear();
  in.negative.clear();
  CHECK(bce(in).loss == with_ones.loss);
  CHECK(bce(in).dlogits == with_ones.dlogits);
}

TEST_CASE("classification: logits of 100 and beyond give the limits of the formula, not infinity or NaN") {
  for (float x : {100.0f, 1000.0f}) {
    // Right and sure: nothing to learn. Wrong and sure: the loss is |x|, the slope ±1.
    const auto plain = bce({{1, 4}, {x, -x, x, -x}, {1, 0, 0, 1}, {}, {}});
    CHECK(plain.loss == doctest::Approx(x / 2));
    check_close(plain.dlogits, std::vector<float>{0, 0, 0.25f, -0.25f}, 1e-6, "plain");
    const auto focal = bce({{1, 4, 2.0f}, {x, -x, x, -x}, {1, 0, 0, 1}, {}, {}});
    CHECK(focal.loss == doctest::Approx(x / 2));
    check_close(focal.dlogits, std::vector<float>{0, 0, 0.25f, -0.25f}, 1e-6, "focal");
  }
  // A small loss is not lost in 1 − p: −log σ(20) = 2.06e-9.
  CHECK(bce({{1, 1}, {20}, {1}, {}, {}}).loss == doctest::Approx(std::log1p(std::exp(-20.0))).epsilon(1e-6));
}

TEST_CASE("classification: gradients are scaled by upstream and added on request") {
  const Inputs in = random_inputs({33, 5, 2.0f}, 4);
  const auto once = bce(in);
  const std::vector<float> start = random_normal(once.dlogits.size(), 5);
  std::vector<float> sum = start, expected(start.size());
  bce_backward(in, 3, sum, GradientMode::accumulate);
  for (size_t i = 0; i < sum.size(); ++i) expected[i] = start[i] + 3 * once.dlogits[i];
  check_close(sum, expected, 1e-6, "sum");
}

TEST_CASE("classification: every result has the same bits under any schedule") {
  const Inputs in = random_inputs({1001, 5, 2.0f}, 6);
  const auto everything = [&] {
    auto result = bce(in);
    result.dlogits.push_back(result.loss);
    return result.dlogits;
  };
  check_same_bits_for_any_schedule(everything, "bce");
}

TEST_CASE("classification: the losses have PyTorch's values and gradients") {
  const auto losses = nlohmann::json::parse(read_file(golden("losses.json")));
  REQUIRE(losses["bce"].size() == 3);
  const auto floats = [](const nlohmann::json& values) {
    return values.is_null() ? std::vector<float>() : values.get<std::vector<float>>();
  };
  for (const auto& c : losses["bce"]) {
    const auto result = bce({{c["N"], c["C"], c["gamma"]},
                             floats(c["logits"]),
                             floats(c["targets"]),
                             floats(c["positive_weight"]),
                             floats(c["negative_weight"])});
    CHECK(result.loss == doctest::Approx(c["loss"].get<double>()).epsilon(1e-6));
    check_close(result.dlogits, c["dlogits"].get<std::vector<double>>(), 1e-6, c["name"].get<std::string>());
  }
}

TEST_CASE("classification: an impossible shape or exponent is refused with its value") {
  CHECK(sentence_of<Error>([] { check(BceShape{0, 5}); }).find("0 records") != std::string::npos);
  CHECK(sentence_of<Error>([] { check(BceShape{5, -1}); }).find("-1 classes") != std::string::npos);
  for (float gamma : {-1.0f, NAN, INFINITY})
    CHECK(sentence_of<Error>([=] { check(BceShape{5, 5, gamma}); }).find("gamma") != std::string::npos);
}

}  // namespace
