// The operations of masked reconstruction: values and gradients against their definitions in double.

#include "engine/reconstruction.h"

#include <cmath>

#include "tests/engine/operation_check.h"

using namespace systole;
using test::check_operation, test::Doubles;

namespace {

struct Transposed {
  int N, L, C_in, C_out, K;
  Conv1dOptions options;
  int L_out() const { return (L - 1) * options.stride - 2 * options.padding + options.dilation * (K - 1) + 1; }
};

Doubles conv_transpose(const Transposed& s, const Doubles& x, const Doubles& w, const Doubles& bias) {
  const int L_out = s.L_out();
  Doubles y;
  for (int i = 0; i < s.N * L_out; ++i) y.insert(y.end(), bias.begin(), bias.end());
  for (int n = 0; n < s.N; ++n)
    for (int l = 0; l < s.L; ++l)
      for (int k = 0; k < s.K; ++k) {
        const int i = l * s.options.stride + k * s.options.dilation - s.options.padding;
        if (i < 0 || i >= L_out) continue;
        for (int o = 0; o < s.C_out; ++o)
          for (int c = 0; c < s.C_in; ++c)
            y[(size_t(n) * L_out + i) * s.C_out + o] +=
                x[(size_t(n) * s.L + l) * s.C_in + c] * w[(size_t(k) * s.C_out + o) * s.C_in + c];
      }
  return y;
}

}  // namespace

TEST_CASE("conv_transpose1d is the convolution turned around") {
  for (const Transposed& s : {Transposed{2, 5, 3, 2, 4, {.stride = 2, .padding = 1}}, Transposed{1, 1, 1, 1, 1, {}},
                              Transposed{2, 7, 2, 4, 3, {.stride = 3, .padding = 0}},
                              Transposed{2, 6, 2, 2, 3, {.stride = 1, .padding = 2, .dilation = 2}}})
    check_operation(
        "conv_transpose1d", {{{s.N, s.L, s.C_in}, 1}, {{s.K, s.C_out, s.C_in}, 2}, {{s.C_out}, 3}},
        [&](const std::vector<Tensor>& t) { return conv_transpose1d(t[0], t[1], t[2], s.options); },
        [&](const std::vector<Doubles>& v) { return conv_transpose(s, v[0], v[1], v[2]); });
}

TEST_CASE("conv_transpose1d adds to a gradient that is there") {
  const Transposed s{2, 5, 3, 2, 4, {.stride = 2, .padding = 1}};
  check_operation(
      "conv_transpose1d twice", {{{s.N, s.L, s.C_in}, 1}, {{s.K, s.C_out, s.C_in}, 2}, {{s.C_out}, 3}},
      [&](const std::vector<Tensor>& t) {
        return add(conv_transpose1d(t[0], t[1], t[2], s.options), conv_transpose1d(t[0], t[1], t[2], s.options));
      },
      [&](const std::vector<Doubles>& v) {
        Doubles y = conv_transpose(s, v[0], v[1], v[2]);
        for (double& value : y) value *= 2;
        return y;
      });
}

TEST_CASE("mean_squared_error: value and gradient") {
  const Tensor target = test::tensor(test::random_normal(24, 5), {4, 6});
  const std::vector<float> t = target.to_vector();
  check_operation(
      "mean_squared_error", {{{4, 6}, 1}},
      [&](const std::vector<Tensor>& x) { return mean_squared_error(x[0], target); },
      [&](const std::vector<Doubles>& x) {
        double sum = 0;
        for (size_t i = 0; i < t.size(); ++i) sum += std::pow(x[0][i] - t[i], 2);
        return Doubles{sum / static_cast<double>(t.size())};
      });
}

TEST_CASE("reconstruction: wrong shapes are named") {
  CHECK_THROWS_WITH_AS(conv_transpose1d(test::zeros({2, 5, 3}), test::zeros({4, 2, 2}), test::zeros({2}), {}),
                       doctest::Contains("expected a weight [K, C_out, 3]"), Error);
  CHECK_THROWS_WITH_AS(mean_squared_error(test::zeros({2, 3}), test::zeros({3, 2})),
                       doctest::Contains("a target of the shape"), Error);
  CHECK_THROWS_WITH_AS(mask_blocks(test::zeros({2, 5, 3}), 0, 0.3f, 1, 1), doctest::Contains("at least one sample"),
                       Error);
}
