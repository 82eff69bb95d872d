// A residual block as encoders build it: convolutions with a bias or without a ReLU, their pending BatchNorm applied,
// dropout, the shortcut. Value and all gradients against plain references in double.

#include "engine/operations.h"
#include "tests/engine/operation_check.h"
#include "tests/reference/batch_norm.h"
#include "tests/reference/conv1d.h"
#include "tests/reference/elementwise.h"

using namespace systole;
using test::check_operation, test::Doubles, test::Input;
namespace reference = systole::test::reference;

namespace {

constexpr double kEps = 1e-5;

struct Buffers {
  Tensor mean, var;
  int64_t tracked = 0;
  explicit Buffers(int C)
      : mean(test::tensor(test::random_normal(static_cast<size_t>(C), 51), {C})),
        var(test::tensor(std::vector<float>(static_cast<size_t>(C), 1.7f), {C})) {}
  BatchNorm norm(const Tensor& gamma, const Tensor& beta) { return {gamma, beta, mean, var, &tracked}; }
};

Doubles sum(Doubles a, const Doubles& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

}  // namespace

TEST_CASE("engine: a convolution with bias and BatchNorm, in evaluation") {
  const kernels::Conv1dShape conv{4, 9, 2, 3, 3, 1, 1, 1};
  for (const bool relu : {false, true}) {
    Buffers buffers(3);
    const reference::Moments<double> moments{test::to_double(buffers.mean.to_vector()),
                                             test::to_double(buffers.var.to_vector())};
    check_operation(
        fmt::format("conv_bn, relu {}", relu), {{{4, 9, 2}, 1}, {{3, 2, 3}, 2}, {{3}, 5}, {{3}, 3, 1, 0.2f}, {{3}, 4}},
        [&](const auto& t) {
          return value_of(
              conv_bn({.raw = t[0]}, t[1], t[2], buffers.norm(t[3], t[4]), {1, 1, 1}, relu, Mode::evaluation()));
        },
        [&](const auto& v) {
          return reference::batch_norm_forward<double>({1, 4, 9, 3}, reference::conv1d_forward(conv, v[0], v[1], v[2]),
                                                       moments, v[3], v[4], kEps, relu);
        });
  }
}

TEST_CASE("engine: in training BatchNorm takes a bias away again, and the running mean follows it") {
  const kernels::Conv1dShape conv{4, 9, 2, 3, 3, 1, 1, 1};
  const kernels::BatchNormShape shape{2, 4, 9, 3};
  const Input bias({3}, 5);
  for (const bool relu : {false, true}) {
    const Tensor leaf_bias = test::leaf(bias);
    std::vector<std::vector<float>> running_mean;
    for (const Tensor& b : {leaf_bias, Tensor()}) {
      Buffers buffers(3);
      check_operation(
          fmt::format("conv_bn in training, relu {}", relu),
          {{{4, 9, 2}, 1}, {{3, 2, 3}, 2}, {{3}, 3, 1, 0.2f}, {{3}, 4}},
          [&](const auto& t) {
            return value_of(conv_bn({.raw = t[0]}, t[1], b, buffers.norm(t[2], t[3]), {1, 1, 1}, relu, Mode::train(2)));
          },
          [&](const auto& v) {
            const Doubles y = reference::conv1d_forward(conv, v[0], v[1], {});
            return reference::batch_norm_forward(shape, y, reference::batch_norm_statistics(shape, y), v[2], v[3], kEps,
                                                 relu);
          });
      running_mean.push_back(buffers.mean.to_vector());
    }
    CHECK(test::max_magnitude(gradient_of(leaf_bias).to_vector()) < 1e-5);
    for (size_t c = 0; c < 3; ++c)  // two views of momentum 0.1
      CHECK(running_mean[0][c] - running_mean[1][c] == doctest::Approx(0.19 * bias.values[c]).epsilon(1e-4));
  }
}

TEST_CASE("engine: the end of a residual block, its shortcut as it is or convolved, with and without dropout") {
  const kernels::Conv1dShape conv{4, 9, 2, 3, 3, 1, 1, 1}, one{4, 9, 2, 3, 1, 1, 0, 1};
  const kernels::BatchNormShape shape{2, 4, 9, 3};
  const Dropout half{0.5f, 3};
  for (const bool drops : {false, true}) {
    const Mode mode = drops ? Mode::train(2).with_dropout(7, 2) : Mode::train(2);
    const auto masked = [&](const Doubles& x) {
      return drops ? reference::dropout<double>({4, 27, 0.5f, 7, 2, 3}, x) : x;
    };
    const auto normalized = [&](const Doubles& y, const Doubles& gamma, const Doubles& beta) {
      return reference::batch_norm_forward(shape, y, reference::batch_norm_statistics(shape, y), gamma, beta, kEps,
                                           false);
    };
    Buffers first(3), second(3);
    check_operation(
        fmt::format("residual, convolved shortcut, dropout {}", drops),
        {{{4, 9, 2}, 1}, {{3, 2, 3}, 2}, {{3}, 3, 1, 0.2f}, {{3}, 4}, {{1, 2, 3}, 5}, {{3}, 6, 1, 0.2f}, {{3}, 7}},
        [&](const auto& t) {
          const Activation main = conv_bn({.raw = t[0]}, t[1], {}, first.norm(t[2], t[3]), {1, 1, 1}, false, mode);
          const Activation shortcut = conv_bn({.raw = t[0]}, t[4], {}, second.norm(t[5], t[6]), {1, 0, 1}, false, mode);
          return residual(main, shortcut, half, mode);
        },
        [&](const auto& v) {
          const Doubles main = normalized(reference::conv1d_forward(conv, v[0], v[1], {}), v[2], v[3]);
          const Doubles shortcut = normalized(reference::conv1d_forward(one, v[0], v[4], {}), v[5], v[6]);
          return reference::relu(sum(masked(main), shortcut));
        });
    check_operation(
        fmt::format("residual of plain tensors, dropout {}", drops), {{{4, 9, 3}, 1}, {{4, 9, 3}, 2}},
        [&](const auto& t) { return residual({.raw = t[0]}, {.raw = t[1]}, half, mode); },
        [&](const auto& v) { return reference::relu(sum(masked(v[0]), v[1])); });
    check_operation(
        fmt::format("residual of one tensor, dropout {}", drops), {{{4, 9, 3}, 1}},
        [&](const auto& t) { return residual({.raw = t[0]}, {.raw = t[0]}, half, mode); },
        [&](const auto& v) { return reference::relu(sum(masked(v[0]), v[0])); });
  }
  const Tensor x = test::zeros({2, 9, 3});
  CHECK(test::sentence_of<Error>([&] {
          residual({.raw = x}, {.raw = test::zeros({2, 8, 3})}, {}, {});
        }) == "residual: expected a shortcut of the shape [2, 9, 3], found the shape [2, 8, 3]");
}
