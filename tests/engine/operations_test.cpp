// Every differentiable operation, as its user sees it: value and gradients of all inputs against a plain reference in
// double, the gradients by finite differences of that reference.

#include "engine/operations.h"

#include "engine/contrastive.h"
#include "engine/reconstruction.h"
#include "tests/engine/operation_check.h"
#include "tests/reference/batch_norm.h"
#include "tests/reference/classification.h"
#include "tests/reference/conv1d.h"
#include "tests/reference/elementwise.h"
#include "tests/reference/linear.h"
#include "tests/reference/pool.h"

using namespace systole;
using test::check_operation, test::Doubles, test::Input;
namespace reference = systole::test::reference;

namespace {

/// A BatchNorm on leaves, with its buffers.
struct Norm {
  Tensor running_mean, running_var;
  int64_t tracked = 0;
  explicit Norm(int C)
      : running_mean(test::tensor(test::random_normal(static_cast<size_t>(C), 51), {C})),
        running_var(test::tensor(std::vector<float>(static_cast<size_t>(C), 1.7f), {C})) {}
  BatchNorm with(const Tensor& gamma, const Tensor& beta) { return {gamma, beta, running_mean, running_var, &tracked}; }
  reference::Moments<double> moments() const {
    return {test::to_double(running_mean.to_vector()), test::to_double(running_var.to_vector())};
  }
};

constexpr double kEps = 1e-5;

Doubles normalized(const kernels::BatchNormShape& shape, const Doubles& x, const Doubles& gamma, const Doubles& beta,
                   bool relu) {
  return reference::batch_norm_forward(shape, x, reference::batch_norm_statistics(shape, x), gamma, beta, kEps, relu);
}

}  // namespace

TEST_CASE("engine: conv1d") {
  for (const auto& [stride, padding, dilation] : {std::tuple{1, 0, 1}, {2, 3, 1}, {3, 2, 2}}) {
    const kernels::Conv1dShape shape{2, 13, 3, 5, 4, stride, padding, dilation};
    check_operation(
        fmt::format("conv1d, stride {}", stride), {{{2, 13, 3}, 1}, {{4, 3, 5}, 2}, {{5}, 3}},
        [&](const auto& t) {
          return conv1d(t[0], t[1], t[2], {stride, padding, dilation});
        },
        [&](const auto& v) { return reference::conv1d_forward(shape, v[0], v[1], v[2]); });
  }
}

TEST_CASE("engine: two blocks of convolution, BatchNorm and ReLU, with statistics per view") {
  Norm first(3), second(5);
  const kernels::Conv1dShape a{4, 9, 2, 3, 3, 1, 1, 1}, b{4, 9, 3, 5, 5, 2, 2, 1};
  const kernels::BatchNormShape norm_a{2, 4, 9, 3}, norm_b{2, 4, b.L_out(), 5};
  const std::vector<Input> inputs{{{4, 9, 2}, 1}, {{3, 2, 3}, 2},    {{3}, 3, 1, 0.2f}, {{3}, 4},
                                  {{5, 3, 5}, 5}, {{5}, 6, 1, 0.2f}, {{5}, 7}};
  check_operation(
      "conv_bn_relu", inputs,
      [&](const auto& t) {
        const Mode mode = Mode::train(2);
        const Activation h = conv_bn_relu({.raw = t[0]}, t[1], first.with(t[2], t[3]), {1, 1, 1}, mode);
        return mean_over_time(conv_bn_relu(h, t[4], second.with(t[5], t[6]), {2, 2, 1}, mode));
      },
      [&](const auto& v) {
        const Doubles h = normalized(norm_a, reference::conv1d_forward(a, v[0], v[1], {}), v[2], v[3], true);
        const Doubles z = normalized(norm_b, reference::conv1d_forward(b, h, v[4], {}), v[5], v[6], true);
        return reference::mean_over_time<double>({4, b.L_out(), 5}, z, {}, {}, 1, false);
      });
  CHECK(first.tracked == 2);
}

TEST_CASE("engine: a block in evaluation uses the running statistics and leaves them alone") {
  Norm norm(3);
  const std::vector<float> before = norm.running_mean.to_vector();
  const kernels::Conv1dShape shape{2, 9, 2, 3, 3, 1, 1, 1};
  check_operation(
      "conv_bn_relu, evaluation", {{{2, 9, 2}, 1}, {{3, 2, 3}, 2}, {{3}, 3, 1, 0.2f}, {{3}, 4}},
      [&](const auto& t) {
        return mean_over_time(conv_bn_relu({.raw = t[0]}, t[1], norm.with(t[2], t[3]), {1, 1, 1}, Mode::evaluation()));
      },
      [&](const auto& v) {
        const Doubles y = reference::batch_norm_forward<double>(
            {1, 2, 9, 3}, reference::conv1d_forward(shape, v[0], v[1], {}), norm.moments(), v[2], v[3], kEps, true);
        return reference::mean_over_time<double>({2, 9, 3}, y, {}, {}, 1, false);
      });
  CHECK(norm.running_mean.to_vector() == before);
  CHECK(norm.tracked == 0);
}

TEST_CASE("engine: batch_norm of series and of rows, in training and evaluation") {
  for (const Shape& x : {Shape{4, 7, 3}, Shape{6, 3}}) {
    const int L = x.rank() == 3 ? 7 : 1, N = static_cast<int>(x[0]);
    const std::vector<Input> inputs{{x, 1, 2}, {{3}, 2, 1, 0.2f}, {{3}, 3}};
    Norm norm(3);
    check_operation(
        "batch_norm", inputs, [&](const auto& t) { return batch_norm(t[0], norm.with(t[1], t[2]), Mode::train(2)); },
        [&](const auto& v) {
          return normalized({2, N, L, 3}, v[0], v[1], v[2], false);
        });
    const Norm unchanged(3);
    Norm evaluation(3);
    check_operation(
        "batch_norm, evaluation", inputs,
        [&](const auto& t) { return batch_norm(t[0], evaluation.with(t[1], t[2]), Mode::evaluation()); },
        [&](const auto& v) {
          return reference::batch_norm_forward<double>({1, N, L, 3}, v[0], unchanged.moments(), v[1], v[2], kEps,
                                                       false);
        });
  }
}

TEST_CASE("engine: relu, add, concatenate and dropout") {
  check_operation(
      "relu", {{{3, 7}, 1}}, [](const auto& t) { return relu(t[0]); },
      [](const auto& v) { return reference::relu(v[0]); });
  check_operation(
      "add", {{{3, 7}, 1}, {{3, 7}, 2}}, [](const auto& t) { return add(t[0], t[1]); },
      [](const auto& v) {
        Doubles y = v[0];
        for (size_t i = 0; i < y.size(); ++i) y[i] += v[1][i];
        return y;
      });
  check_operation(
      "concatenate", {{{2, 5, 3}, 1}, {{2, 5, 4}, 2}}, [](const auto& t) { return concatenate(t[0], t[1]); },
      [](const auto& v) {
        return reference::concatenate<double>({10, 3, 4}, v[0], v[1]);
      });
  check_operation(
      "dropout", {{{3, 50}, 1}},
      [](const auto& t) {
        return dropout(t[0], {0.3f, 1}, Mode::train().with_dropout(7, 2));
      },
      [](const auto& v) {
        return reference::dropout<double>({3, 50, 0.3f, 7, 2, 1}, v[0]);
      });
  const Tensor x = test::tensor<float>({1, 2}, {1, 2});
  CHECK(dropout(x, {0.9f, 1}, Mode::evaluation()).to_vector() == x.to_vector());
  CHECK(dropout(x, {0.9f, 1}, Mode::train()).to_vector() == x.to_vector());
}

TEST_CASE("engine: linear, with and without bias") {
  const kernels::LinearShape shape{5, 7, 3};
  check_operation(
      "linear", {{{5, 7}, 1}, {{7, 3}, 2}, {{3}, 3}}, [](const auto& t) { return linear(t[0], t[1], t[2]); },
      [&](const auto& v) { return reference::linear_forward(shape, v[0], v[1], v[2]); });
  check_operation(
      "linear without bias", {{{5, 7}, 1}, {{7, 3}, 2}}, [](const auto& t) { return linear(t[0], t[1], {}); },
      [&](const auto& v) { return reference::linear_forward(shape, v[0], v[1], {}); });
}

TEST_CASE("engine: mean_over_time and max_pool") {
  check_operation(
      "mean_over_time", {{{3, 13, 5}, 1}}, [](const auto& t) { return mean_over_time(t[0]); },
      [](const auto& v) {
        return reference::mean_over_time<double>({3, 13, 5}, v[0], {}, {}, 1, false);
      });
  check_operation(
      "max_pool", {{{2, 13, 3}, 1}}, [](const auto& t) { return max_pool(t[0], 3, 2, 1); },
      [](const auto& v) {
        return reference::max_pool<double>({2, 13, 3, 3, 2, 1}, v[0]).y;
      });
}

TEST_CASE("engine: max_over_time") {
  check_operation(
      "max_over_time", {{{3, 13, 5}, 1}}, [](const auto& t) { return max_over_time(t[0]); },
      [](const auto& v) {
        return reference::max_pool<double>({3, 13, 5, 13, 1}, v[0]).y;
      });
}

TEST_CASE("engine: rows of a tensor, whose gradients meet again") {
  check_operation(
      "rows", {{{5, 3}, 1}}, [](const auto& t) { return add(rows(t[0], 1, 2), rows(t[0], 2, 2)); },
      [](const auto& v) {
        Doubles sum(6);
        for (int k = 0; k < 6; ++k) sum[k] = v[0][3 + k] + v[0][6 + k];
        return sum;
      });
}

TEST_CASE("engine: rows of a table, by number") {
  const Tensor table = test::tensor<float>({0, 1, 10, 11, 20, 21}, {3, 2});
  const Tensor numbers = test::tensor<int32_t>({2, 0, 2, 1}, {4});
  CHECK(gather(table, numbers).to_vector() == std::vector<float>{20, 21, 0, 1, 20, 21, 10, 11});
  CHECK(test::sentence_of<Error>([&] { gather(numbers, numbers); }) ==
        "gather: expected a table [rows, D] in f32, found the shape [4]");
  CHECK(test::sentence_of<Error>([&] { gather(table, table); }) ==
        "gather: expected numbers of rows, i32 [N], found the shape [3, 2]");
}

TEST_CASE("engine: leads taken apart, and their mean") {
  const Tensor x = test::tensor(test::random_normal(2 * 3 * 4 * 2, 1), {6, 4, 2});  // 2 views of 3 records, 2 leads
  const std::vector<float> values = x.to_vector(), split = split_leads(x, 2).to_vector();
  CHECK(split_leads(x, 2).shape() == Shape{12, 4, 1});
  for (int view = 0; view < 2; ++view)
    for (int n = 0; n < 3; ++n)
      for (int lead = 0; lead < 2; ++lead)
        for (int l = 0; l < 4; ++l)
          CHECK(split[((view * 2 + lead) * 3 + n) * 4 + l] == values[((view * 3 + n) * 4 + l) * 2 + lead]);
  check_operation(
      "mean_over_leads", {{{12, 5}, 1}}, [](const auto& t) { return mean_over_leads(t[0], 2, 2); },
      [](const auto& v) {
        Doubles mean;
        for (int view = 0; view < 2; ++view)
          for (int k = 0; k < 3 * 5; ++k) mean.push_back((v[0][view * 30 + k] + v[0][view * 30 + 15 + k]) / 2);
        return mean;
      });
}

TEST_CASE("engine: some of the leads, in any order, and slots joined within each view") {
  const Tensor x = test::tensor(test::random_normal(2 * 3 * 4 * 5, 1), {6, 4, 5});  // 2 views of 3 records, 5 leads
  const std::vector<float> values = x.to_vector(), chosen = split_leads(x, {4, 1}, 2).to_vector();
  REQUIRE(chosen.size() == 2 * 2 * 3 * 4);
  for (int view = 0; view < 2; ++view)
    for (int n = 0; n < 3; ++n)
      for (int i = 0; i < 2; ++i)
        for (int l = 0; l < 4; ++l)
          CHECK(chosen[((view * 2 + i) * 3 + n) * 4 + l] == values[((view * 3 + n) * 4 + l) * 5 + (i == 0 ? 4 : 1)]);
  CHECK(test::sentence_of<Error>([&] { split_leads(x, {5}, 2); }) ==
        "split_leads: expected records [N, L, C] that have the lead 5, found the shape [6, 4, 5]");

  check_operation(
      "join_slots", {{{6, 5}, 1}, {{6, 5}, 2}}, [](const auto& t) { return join_slots(t[0], t[1], 2); },
      [](const auto& v) {
        Doubles joined;
        for (int view = 0; view < 2; ++view)
          for (const Doubles& slot : {v[0], v[1]})
            joined.insert(joined.end(), slot.begin() + view * 15, slot.begin() + view * 15 + 15);
        return joined;
      });
  const Tensor wide = test::tensor(test::random_normal(2 * 40 * 512, 1), {80, 512});  // a kernel's row of 20,480
  const std::vector<float> twice = join_slots(wide, wide, 2).to_vector(), once = wide.to_vector();
  for (size_t i = 0; i < twice.size(); ++i) CHECK_FALSE(twice[i] != once[i / 40960 * 20480 + i % 20480]);
}

TEST_CASE("engine: bce_with_logits, plain, weighted and focal") {
  std::vector<float> targets;
  for (int i = 0; i < 15; ++i) targets.push_back(static_cast<float>(i % 2));
  const std::vector<float> ones{1, 1, 1}, quarter(3, 0.25f), positive{3, 0.5f, 2};
  for (const auto& [plus, minus, gamma] :
       {std::tuple{ones, ones, 0.0f}, std::tuple{positive, ones, 0.0f}, std::tuple{quarter, quarter, 2.0f}})
    check_operation(
        "bce_with_logits", {{{5, 3}, 1}},
        [&](const auto& t) {
          return bce_with_logits(t[0], test::tensor(targets, {5, 3}),
                                 {test::tensor(plus, {3}), test::tensor(minus, {3}), gamma});
        },
        [&](const auto& v) {
          return Doubles{reference::bce<double>(5, 3, gamma, v[0], test::to_double(targets), test::to_double(plus),
                                                test::to_double(minus))
                             .loss};
        });
}

TEST_CASE("engine: shapes that do not fit are refused with the operation and the shapes") {
  const Tensor series = test::zeros({2, 5, 3}), rows = test::zeros({4, 3});
  const auto sentence = [](const auto& action) { return test::sentence_of<Error>(action); };
  CHECK(sentence([&] {
          conv1d(series, test::zeros({3, 4, 2}), {}, {});
        }) == "conv1d: expected a weight [K, 3, C_out], found the shape [3, 4, 2]");
  CHECK(sentence([&] { conv1d(series, test::zeros({9, 3, 2}), {}, {}); }).find("5") != std::string::npos);
  CHECK(sentence([&] { linear(series, rows, {}); }).find("linear: expected an input [M, D]") == 0);
  CHECK(sentence([&] { linear(rows, test::zeros({3, 2}), test::zeros({3})); }).find("a bias [2]") != std::string::npos);
  CHECK(sentence([&] { add(series, rows); }).find("[2, 5, 3]") != std::string::npos);
  CHECK(sentence([&] { systole::rows(rows, 3, 2); }) ==
        "rows: expected at least 5 rows [M, D], found the shape [4, 3]");
  CHECK(sentence([&] { max_pool(series, 7, 1); }).find("7") != std::string::npos);
  CHECK(sentence([&] { dropout(rows, {1}, Mode::train()); }).find("[0, 1)") != std::string::npos);
  if (test::device() != Device::cpu)
    CHECK(sentence([&] {
            add(rows, Tensor::zeros({4, 3}));
          }) == fmt::format("add: a tensor of shape [4, 3] lies on cpu, another on {}", name(test::device())));
  Norm norm(3);
  const Tensor gamma = test::zeros({3});
  CHECK(sentence([&] { batch_norm(series, norm.with(gamma, gamma), Mode::train(3)); }).find("3 views") !=
        std::string::npos);
  CHECK(sentence([&] {
          batch_norm(test::zeros({1, 3}), norm.with(gamma, gamma), Mode::train());
        }).find("at least two values") != std::string::npos);
}

TEST_CASE("engine: every operation says what it expected where it is given something else") {
  const Tensor vector = test::zeros({4}), rows = test::zeros({4, 3}), series = test::zeros({4, 5, 3});
  Tensor signals = test::zeros({4, 5, 3});
  make_leaf(signals, test::zeros({4, 5, 3}));
  Norm norm(3);
  const Tensor gamma = test::zeros({3}), weight = test::zeros({3, 3, 2});
  Tensor trained = test::zeros({3, 2});
  make_leaf(trained, test::zeros({3, 2}));
  const std::pair<std::string, std::function<void()>> cases[] = {
      {"conv1d: expected an input [N, L, C], found the shape [4, 3]", [&] { conv1d(rows, weight, {}, {}); }},
      {"batch_norm: expected an input [N, L, C] or [N, C], found the shape [4]",
       [&] { batch_norm(vector, norm.with(gamma, gamma), Mode::train()); }},
      {"batch_norm: expected 3 channels, found the shape [4, 2]",
       [&] {
         batch_norm(test::zeros({4, 2}), norm.with(gamma, gamma), Mode::train());
       }},
      {"batch_norm: 4 records cannot be split into 3 views",
       [&] { batch_norm(rows, norm.with(gamma, gamma), Mode::train(3)); }},
      {"concatenate: expected the rows of [4, 3], found the shape [2, 3]",
       [&] {
         concatenate(rows, test::zeros({2, 3}));
       }},
      {"split_leads: expected 3 views of records [N, L, C], found the shape [4, 5, 3]",
       [&] { split_leads(series, 3); }},
      {"split_leads: no gradient flows through it; expected signals", [&] { split_leads(signals, 1); }},
      {"join_slots: expected 3 views of records [N, D], found the shape [4, 3]", [&] { join_slots(rows, rows, 3); }},
      {"join_slots: expected the shape [4, 3], found the shape [2, 3]",
       [&] {
         join_slots(rows, test::zeros({2, 3}), 2);
       }},
      {"mean_over_leads: expected 2 views of 3 leads of records [N, D], found the shape [4, 3]",
       [&] { mean_over_leads(rows, 3, 2); }},
      {"linear: expected a weight [3, D_out], found the shape [2, 3]",
       [&] {
         linear(rows, test::zeros({2, 3}), {});
       }},
      {"linear: a weight and its bias are trained together or not at all",
       [&] { linear(rows, trained, test::zeros({2})); }},
      {"mean_over_time: expected an input [N, L, C], found the shape [4, 3]", [&] { mean_over_time(rows); }},
      {"max_pool: expected an input [N, L, C], found the shape [4, 3]", [&] { max_pool(rows, 2, 2); }},
      {"max_over_time: expected an input [N, L, C], found the shape [4, 3]", [&] { max_over_time(rows); }},
      {"bce_with_logits: expected logits [N, C], found the shape [4]",
       [&] {
         bce_with_logits(vector, vector, {gamma, gamma, 0});
       }},
      {"bce_with_logits: expected targets of the shape [4, 3], found the shape [4]",
       [&] {
         bce_with_logits(rows, vector, {gamma, gamma, 0});
       }},
      {"residual: expected a shortcut of the shape [4, 5, 3], found the shape [4, 5, 2]",
       [&] {
         residual({series}, {test::zeros({4, 5, 2})}, {}, Mode::train());
       }},
      {"l2_normalize: expected an input [M, D], found the shape [4]", [&] { l2_normalize(vector); }},
      {"conv_transpose1d: expected an input [N, L, C], found the shape [4, 3]",
       [&] { conv_transpose1d(rows, weight, gamma, {}); }},
      {"conv_transpose1d: expected a weight [K, C_out, 3], found the shape [3, 3, 2]",
       [&] { conv_transpose1d(series, weight, gamma, {}); }},
      {"mask_blocks: expected an input [N, L, C], found the shape [4, 3]", [&] { mask_blocks(rows, 2, 0.5f, 1, 0); }},
      {"mask_blocks: no gradient flows through it; expected signals", [&] { mask_blocks(signals, 2, 0.5f, 1, 0); }},
      {"mean_squared_error: expected a target of the shape [4, 3], found the shape [4]",
       [&] { mean_squared_error(rows, vector); }}};
  for (const auto& [expected, action] : cases) CHECK(test::sentence_of<Error>(action) == expected);
}
