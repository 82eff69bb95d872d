// BYOL's cosine, Barlow Twins and VICReg as operations: value and gradient against their definitions in double, finite
// differences and PyTorch, on batches that training meets and on degenerate ones.

#include "engine/feature_losses.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/operations.h"
#include "tests/engine/operation_check.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/feature_loss.h"

using namespace systole;
using test::check_operation, test::Doubles, test::max_error, test::max_magnitude, test::to_double;
namespace reference = systole::test::reference;

namespace {

/// A loss of two views x [2N, D], as the engine has it and as it is defined.
struct Loss {
  const char* name;
  Tensor (*operation)(const Tensor& x);
  reference::FeatureLoss<float> (*plain)(int N, int D, const std::vector<float>& x);
  reference::FeatureLoss<double> (*exact)(int N, int D, const std::vector<double>& x);
};

const std::vector<Loss>& losses() {
  static const std::vector<Loss> all{
      {"Barlow Twins", [](const Tensor& x) { return barlow_twins(x); },
       [](int N, int D, const std::vector<float>& x) { return reference::barlow_twins<float>(N, D, x, 0.0051f); },
       [](int N, int D, const Doubles& x) { return reference::barlow_twins<double>(N, D, x, 0.0051f); }},
      {"Barlow Twins with λ 0.5", [](const Tensor& x) { return barlow_twins(x, 0.5f); },
       [](int N, int D, const std::vector<float>& x) { return reference::barlow_twins<float>(N, D, x, 0.5f); },
       [](int N, int D, const Doubles& x) { return reference::barlow_twins<double>(N, D, x, 0.5f); }},
      {"VICReg", [](const Tensor& x) { return vicreg(x); },
       [](int N, int D, const std::vector<float>& x) { return reference::vicreg<float>(N, D, x, 25, 25, 1); },
       [](int N, int D, const Doubles& x) { return reference::vicreg<double>(N, D, x, 25, 25, 1); }},
      {"VICReg with other weights",
       [](const Tensor& x) {
         return vicreg(x, {2, 3, 50});
       },
       [](int N, int D, const std::vector<float>& x) { return reference::vicreg<float>(N, D, x, 2, 3, 50); },
       [](int N, int D, const Doubles& x) { return reference::vicreg<double>(N, D, x, 2, 3, 50); }},
  };
  return all;
}

struct Result {
  float loss;
  std::vector<float> dx;
};

Result evaluate(const Loss& loss, int N, int D, const std::vector<float>& values) {
  Tensor x = test::tensor(values, {2 * N, D});
  make_leaf(x, test::zeros(x.shape()));
  const Tensor value = loss.operation(x);
  backward(value);
  return {value.item(), gradient_of(x).to_vector()};
}

struct Batch {
  std::string what;
  int N, D;
  std::vector<float> x;  // [2N, D]
};

/// Two noisy views; columns have standard deviations from 0.1 to about 2, means as a Linear layer leaves them, and go
/// in pairs that are correlated.
Batch two_views(int N, int D) {
  Batch b{"two views", N, D, test::random_normal(size_t(2) * N * D, 1, 0.3f)};
  const std::vector<float> records = test::random_normal(size_t(N) * D, 2),
                           means = test::random_normal(size_t(D), 3, 2);
  for (int i = 0; i < 2 * N; ++i)
    for (int d = 0; d < D; ++d) {
      const float deviation = 0.1f + 2 * static_cast<float>(d % 7) / 7;
      const size_t record = size_t(i % N) * D;
      b.x[size_t(i) * D + d] =
          means[d] + deviation * (b.x[size_t(i) * D + d] + records[record + d] + records[record + d / 2]);
    }
  return b;
}

template <class Change>
Batch changed(Batch b, const std::string& what, const Change& change) {
  b.what = what;
  for (int i = 0; i < 2 * b.N; ++i)
    for (int d = 0; d < b.D; ++d) change(i, d, b.x[size_t(i) * b.D + d]);
  return b;
}

std::vector<Batch> batches(int N, int D) {
  const Batch b = two_views(N, D);
  return {
      b,
      changed(b, "identical views", [&](int i, int d, float& v) { v = b.x[size_t(i % N) * D + d]; }),
      changed(b, "constant columns", [](int, int d, float& v) { v = d % 3 == 0 ? 0.7f * static_cast<float>(d) : v; }),
      changed(b, "a column constant in one view", [&](int i, int d, float& v) { v = d == 0 && i < N ? 3.3f : v; }),
      changed(b, "rows of zeros", [](int i, int, float& v) { v = i % 2 == 0 ? 0 : v; }),
      changed(b, "nothing but zeros", [](int, int, float& v) { v = 0; }),
      changed(b, "equal columns", [&](int i, int, float& v) { v = b.x[size_t(i) * D]; }),
  };
}

/// At most twice the error of the plain float code, or `floor` where that code is right by luck.
void check_error(double error, double plain, double floor, const std::string& what) {
  CHECK_MESSAGE(error <= std::max(2 * plain, floor),
                fmt::format("{}: error {:.3g}, plain {:.3g}, SYSTOLE_TEST_SEED={}", what, error, plain, test::seed()));
}

void check_against_definition(const Loss& loss, const Batch& b) {
  const Result kernel = evaluate(loss, b.N, b.D, b.x);
  const auto plain = loss.plain(b.N, b.D, b.x);
  const auto exact = loss.exact(b.N, b.D, to_double(b.x));
  const std::string what = fmt::format("{}, {}, N {}, D {}", loss.name, b.what, b.N, b.D);
  // A few roundings, and those of a sum over N records, which differ in sign. (1 − C_dd)² is off by 2 (1 − C_dd) times
  // the error of C_dd, which is measured by 1.
  const double rounding = (4 + std::sqrt(b.N)) * 0x1p-24;
  check_error(std::abs(kernel.loss - exact.loss), std::abs(plain.loss - exact.loss),
              rounding * (exact.loss + 2 * std::sqrt(exact.loss)), what + ", loss");
  check_error(max_error(kernel.dx, exact.dx), max_error(plain.dx, exact.dx),
              rounding * std::max(max_magnitude(exact.dx), exact.pull), what + ", dx");
}

}  // namespace

TEST_CASE("engine: losses on features agree with their definitions for every kind of batch") {
  for (const Loss& loss : losses())
    for (const auto& [N, D] : {std::pair{2, 1}, {2, 5}, {3, 1}, {3, 4}, {40, 7}, {129, 1}, {129, 31}})
      for (const Batch& b : batches(N, D)) check_against_definition(loss, b);
  for (const Loss& loss : losses())
    for (const auto& [N, D] : {std::pair{20, 130}, {129, 130}}) check_against_definition(loss, two_views(N, D));
}

TEST_CASE("engine: the gradients of losses on features agree with finite differences") {
  for (const Loss& loss : losses()) {
    check_operation(
        loss.name, {{{14, 5}, 4, 0.2f, 0.7f}}, [&](const auto& t) { return loss.operation(t[0]); },
        [&](const auto& v) { return Doubles{loss.exact(7, 5, v[0]).loss}; });
    for (const auto& [N, D] : {std::pair{7, 1}, {7, 5}, {12, 3}})
      for (const Batch& b : {two_views(N, D), batches(N, D)[2]}) {
        const Doubles x = to_double(b.x);
        const auto loss_of = [&, N = N, D = D](const Doubles& values) { return loss.exact(N, D, values).loss; };
        const double error = max_error(loss.exact(N, D, x).dx, test::finite_differences(loss_of, x));
        CHECK_MESSAGE(error <= 1e-6,
                      fmt::format("{}, {}, N {}, D {}: error {:.3g} of the reference", loss.name, b.what, N, D, error));
      }
  }
}

TEST_CASE("engine: cosine_loss sends gradients to what has a node") {
  const std::vector<test::Input> inputs{{{6, 5}, 1}, {{6, 5}, 2}};
  const auto exact = [](const Doubles& p, const Doubles& t) {
    return Doubles{reference::cosine_loss<double>(6, 5, p, t).loss};
  };
  check_operation(
      "cosine_loss", inputs, [](const auto& t) { return cosine_loss(t[0], t[1]); },
      [&](const auto& v) { return exact(v[0], v[1]); });
  const Tensor constant = test::tensor(inputs[1].values, {6, 5});
  const Doubles values = to_double(inputs[1].values);
  check_operation(
      "cosine_loss, target detached", {inputs[0]}, [&](const auto& t) { return cosine_loss(t[0], constant); },
      [&](const auto& v) { return exact(v[0], values); });
  check_operation(
      "cosine_loss, prediction detached", {inputs[0]}, [&](const auto& t) { return cosine_loss(constant, t[0]); },
      [&](const auto& v) { return exact(values, v[0]); });
  CHECK(!cosine_loss(constant, constant).node());

  const Tensor x = test::leaf(inputs[0]);
  backward(cosine_loss(x, x));
  CHECK(max_magnitude(gradient_of(x).to_vector()) == 0);
}

TEST_CASE("engine: BYOL's symmetric loss pairs predictions of one view with targets of the other") {
  const int N = 4, D = 5;
  const test::Input p{{2 * N, D}, 1}, t{{2 * N, D}, 2};
  const Tensor target = test::tensor(t.values, t.shape);
  check_operation(
      "crossed", {p},
      [&](const auto& x) {
        return add(cosine_loss(rows(x[0], 0, N), rows(target, N, N)),
                   cosine_loss(rows(x[0], N, N), rows(target, 0, N)));
      },
      [&](const auto& v) {
        Doubles crossed = to_double(t.values);
        std::rotate(crossed.begin(), crossed.begin() + N * D, crossed.end());
        return Doubles{2 * reference::cosine_loss<double>(2 * N, D, v[0], crossed).loss};
      });
}

TEST_CASE("engine: losses on features add to a gradient that is there, scaled by what comes from above") {
  for (const Loss& loss : losses()) {
    const test::Input input{{24, 7}, 1};
    std::vector<float> twice = input.values;
    for (float& v : twice) v *= 2;
    std::vector<float> expected = evaluate(loss, 12, 7, input.values).dx;
    const std::vector<float> of_twice = evaluate(loss, 12, 7, twice).dx;
    for (size_t k = 0; k < expected.size(); ++k) expected[k] += 2 * 3 * of_twice[k];

    // Backward goes from the last to the first: the second and then the first loss of y, add, and the loss of x.
    const Tensor x = test::leaf(input), of_x = loss.operation(x), y = add(x, x);
    const Tensor first = loss.operation(y), second = loss.operation(y);
    backward(add(of_x, add(first, add(second, second))));
    test::check_close(gradient_of(x).to_vector(), expected, 1e-6, loss.name);
  }
}

TEST_CASE("engine: losses on features have the same bits under any schedule") {
  for (const auto& [N, D] : {std::pair{3, 5}, {70, 66}})
    for (const Loss& loss : losses()) {
      const Batch b = two_views(N, D);
      const auto everything = [&, N = N, D = D] {
        Result result = evaluate(loss, N, D, b.x);
        result.dx.push_back(result.loss);
        return result.dx;
      };
      test::check_same_bits_for_any_schedule(everything, fmt::format("{}, N {}, D {}", loss.name, N, D));
    }
}

TEST_CASE("engine: losses on features have PyTorch's values and gradients") {
  const auto golden = nlohmann::json::parse(test::read_file(test::golden("losses.json")));
  const auto numbers = [](const nlohmann::json& values) { return values.get<std::vector<float>>(); };
  const auto check = [&](const nlohmann::json& c, const char* what, const Tensor& x, const Tensor& loss,
                         const char* gradient) {
    CHECK(loss.item() == doctest::Approx(c["loss"].get<double>()).epsilon(1e-6));
    test::check_close(gradient_of(x).to_vector(), c[gradient].get<Doubles>(), 1e-5, what);
  };
  const auto leaf_of = [&](const nlohmann::json& c, const char* name, int rows_per_record) {
    const int N = c["N"], D = c["D"];
    Tensor x = test::tensor(numbers(c[name]), {rows_per_record * N, D});
    make_leaf(x, test::zeros(x.shape()));
    return x;
  };
  REQUIRE((golden["cosine"].size() == 1 && golden["barlow_twins"].size() == 2 && golden["vicreg"].size() == 1));
  for (const auto& c : golden["cosine"]) {
    const Tensor p = leaf_of(c, "p", 1), t = leaf_of(c, "t", 1), loss = cosine_loss(p, t);
    backward(loss);
    check(c, "cosine, p", p, loss, "dp");
    check(c, "cosine, t", t, loss, "dt");
  }
  for (const auto& c : golden["barlow_twins"]) {
    const Tensor x = leaf_of(c, "x", 2), loss = barlow_twins(x, c["off_diagonal"]);
    backward(loss);
    check(c, "Barlow Twins", x, loss, "dx");
  }
  for (const auto& c : golden["vicreg"]) {
    const Tensor x = leaf_of(c, "x", 2), loss = vicreg(x);
    backward(loss);
    check(c, "VICReg", x, loss, "dx");
  }
}

TEST_CASE("engine: losses on features refuse shapes that are no two views") {
  const auto says = [](const auto& action, const char* words) {
    return test::sentence_of<Error>(action).find(words) != std::string::npos;
  };
  const Tensor odd = test::zeros({5, 3}), one = test::zeros({2, 3}), series = test::zeros({4, 3, 2});
  CHECK(says([&] { barlow_twins(odd); }, "two views [2N, D], found the shape [5, 3]"));
  CHECK(says([&] { vicreg(odd); }, "two views [2N, D], found the shape [5, 3]"));
  CHECK(says([&] { vicreg(series); }, "[4, 3, 2]"));
  CHECK(says([&] { barlow_twins(one); }, "1 rows per view"));
  CHECK(says([&] { vicreg(one); }, "1 rows per view"));
  CHECK(says([&] { barlow_twins(test::zeros({4, 3}), -1); }, "is -1"));
  CHECK(says([&] { vicreg(test::zeros({4, 3}), {NAN, 1, 1}); }, "is nan"));
  CHECK(says([&] { cosine_loss(odd, one); }, "found [5, 3]"));
  CHECK(says([&] { cosine_loss(series, series); }, "[4, 3, 2]"));
}
