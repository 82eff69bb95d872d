// BatchNorm: against the book in double, against finite differences, and what its contract allows.

#include "kernels/batch_norm/batch_norm.h"

#include <cmath>
#include <limits>

#include "kernels/batch_norm/cases.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/batch_norm.h"
#include "tests/reference/conv1d.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr float kEps = 1e-5f;
constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

const BatchNormKernels& bn() {
  return batch_norm_kernels(test::device());
}

/// Channels and lengths around every border of vectors, runs and pieces, in one or two groups, and the cases that a
/// plain loop can afford.
std::vector<BatchNormShape> shapes() {
  std::vector<BatchNormShape> result;
  for (int C : {1, 3, 5, 12, 64, 250})
    for (int L : {1, 2, 7, 13, 127, 129, 1000, 1001}) {
      const int G = 1 + static_cast<int>(result.size() + result.size() / 8) % 2;
      result.push_back({.groups = G, .N = L < 100 ? 16 : 2, .L = L, .C = C});
    }
  for (int C : {257, 1001, 1028}) result.push_back({.groups = 2, .N = 4, .L = 13, .C = C});  // wider than a block
  for (const BatchNormCase& c : batch_norm_cases())
    if (c.shape.size() <= 300000) result.push_back(c.shape);
  return result;
}

/// A layer in training on random input: x around `centre`, everything up to scale and shift by the kernels themselves.
struct Layer {
  explicit Layer(const BatchNormShape& shape, float centre = 0.5f) : s(shape), x(random_normal(s.size(), 1, 2.0f)) {
    for (float& value : x) value += centre;
    for (float& value : gamma = random_normal(s.C, 2, 0.5f)) value += 1;
    beta = random_normal(s.C, 3, 0.5f);
    mean = var = scale = shift = std::vector<float>(size_t(s.groups) * s.C);
    measure();
    fold();
  }
  void measure() {
    OnDevice d;
    bn().statistics(d.queue(), s, d.in(x), d.out(mean), d.out(var));
  }
  void fold() {
    OnDevice d;
    bn().fold(d.queue(), s, d.in(mean), d.in(var), d.in(gamma), d.in(beta), kEps, d.out(scale), d.out(shift));
  }

  std::vector<float> apply(bool relu) const {
    std::vector<float> y(x.size());
    {
      OnDevice d;
      bn().apply(d.queue(), s, d.in(x), d.in(scale), d.in(shift), relu, d.out(y));
    }
    return y;
  }

  /// A random dy, zero at the corner of the ReLU, where rounding decides which side an element is on.
  std::vector<float> random_dy() const {
    std::vector<float> dy = random_normal(x.size(), 4);
    const std::vector<float> y = apply(false);
    for (size_t i = 0; i < y.size(); ++i)
      if (std::abs(y[i]) < 1e-3f) dy[i] = 0;
    return dy;
  }

  BatchNormShape s;
  std::vector<float> x, gamma, beta, mean, var, scale, shift;
};

struct Gradient {
  std::vector<float> dx, dgamma, dbeta;
};

/// `into`: what the gradients hold before. dy null: it is what into.dx holds.
Gradient backward(const Layer& l, const std::vector<float>* dy, bool relu, bool training, Gradient into,
                  GradientMode dx_mode = kOverwrite, GradientMode parameters = kOverwrite) {
  {
    OnDevice d;
    float* const dx = d.out(into.dx);
    const float* const from = dy ? d.in(*dy) : dx;
    const auto run = [&](const auto& entry) {
      entry(d.queue(), l.s, d.in(l.x), from, d.in(l.mean), d.in(l.var), kEps, d.in(l.scale), d.in(l.shift), relu, dx,
            dx_mode, d.out(into.dgamma), d.out(into.dbeta), parameters);
    };
    training ? run(bn().backward) : run(bn().backward_evaluation);
  }
  return into;
}
Gradient backward(const Layer& l, const std::vector<float>& dy, bool relu, bool training, Gradient into,
                  GradientMode dx_mode = kOverwrite, GradientMode parameters = kOverwrite) {
  return backward(l, &dy, relu, training, std::move(into), dx_mode, parameters);
}

Gradient empty_gradient(const BatchNormShape& s) {
  const float unset = std::numeric_limits<float>::quiet_NaN();  // overwrite must not read it
  return {std::vector<float>(s.size(), unset), std::vector<float>(s.C, unset), std::vector<float>(s.C, unset)};
}

template <class T>
reference::BatchNormGradient<T> plain_backward(const Layer& l, const std::vector<float>& dy, bool relu, bool training) {
  const auto as = [](const std::vector<float>& v) { return std::vector<T>(v.begin(), v.end()); };
  return reference::batch_norm_backward<T>(l.s, as(l.x), as(dy), {as(l.mean), as(l.var)}, kEps, as(l.scale),
                                           as(l.shift), relu, training);
}

/// Σ weight · y of the layer in double, as a function of x, γ and β: its moments are those of x, or the given ones.
double weighted_output(const Layer& l, const std::vector<double>& x, const std::vector<double>& gamma,
                       const std::vector<double>& beta, const std::vector<double>& weight, bool relu, bool training) {
  const reference::Moments<double> moments = training ? reference::batch_norm_statistics(l.s, x)
                                                      : reference::Moments<double>{to_double(l.mean), to_double(l.var)};
  const std::vector<double> y = reference::batch_norm_forward<double>(l.s, x, moments, gamma, beta, kEps, relu);
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += weight[i] * y[i];
  return sum;
}

/// As check_as_good_as_plain, for a sum over the rows: it passes through values of about sqrt(rows) terms, and may end
/// near 0.
void check_sum(const std::vector<float>& got, const std::vector<float>& plain, const std::vector<double>& exact,
               double rows, const std::string& what) {
  const double allowed = std::max(2 * max_error(plain, exact), 4 * 0x1p-24 * 4 * std::sqrt(rows));
  CHECK_MESSAGE(max_error(got, exact) <= allowed, fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}",
                                                              what, max_error(got, exact), allowed, seed()));
}

void check_finite_differences(const Layer& l, bool relu, bool training) {
  const std::vector<float> dy = l.random_dy();
  const Gradient got = backward(l, dy, relu, training, empty_gradient(l.s));
  const std::vector<double> x = to_double(l.x), gamma = to_double(l.gamma), beta = to_double(l.beta), w = to_double(dy);
  const auto f = [&](const auto& x_, const auto& gamma_, const auto& beta_) {
    return weighted_output(l, x_, gamma_, beta_, w, relu, training);
  };
  const std::string what = fmt::format("{} relu={} training={}", text(l.s), relu, training);
  check_close(got.dx, finite_differences([&](const auto& v) { return f(v, gamma, beta); }, x), 1e-5, what + " dx");
  check_close(got.dgamma, finite_differences([&](const auto& v) { return f(x, v, beta); }, gamma), 1e-5,
              what + " dgamma");
  check_close(got.dbeta, finite_differences([&](const auto& v) { return f(x, gamma, v); }, beta), 1e-5,
              what + " dbeta");
}

}  // namespace

TEST_CASE("batch_norm: mean and variance are as good as the plain two passes") {
  for (float centre : {0.5f, 1000.0f})
    for (const BatchNormShape& s : shapes()) {
      const Layer l(s, centre);
      const auto exact = reference::batch_norm_statistics(s, to_double(l.x));
      const auto plain = reference::batch_norm_statistics(s, l.x);
      check_as_good_as_plain(l.mean, plain.mean, exact.mean, text(s) + " mean");
      check_as_good_as_plain(l.var, plain.var, exact.var, text(s) + " var");
    }
}

TEST_CASE("batch_norm: the variance survives a mean of 1000 deviations") {
  const BatchNormShape s{.groups = 1, .N = 64, .L = 1000, .C = 5};
  std::vector<float> x = random_normal(s.size(), 1), mean(s.C), var(s.C);
  for (float& value : x) value += 1000;
  {
    OnDevice d;
    bn().statistics(d.queue(), s, d.in(x), d.out(mean), d.out(var));
  }
  const auto exact = reference::batch_norm_statistics(s, to_double(x));
  check_close(mean, exact.mean, 0x1p-24, "mean, to its last bit");
  check_close(var, exact.var, 1e-6, "var");
}

/// Mean and M2 of the pieces of a layer's records, piece_rows each.
struct PieceMoments {
  std::vector<float> mean, m2;

  PieceMoments(const Layer& l, int piece_rows) {
    const BatchNormShape& s = l.s;
    for (int n = 0; n < s.N; ++n)
      for (int first = 0; first < s.L; first += piece_rows) {
        const int rows = std::min(piece_rows, s.L - first);
        const auto begin = l.x.begin() + (ptrdiff_t{n} * s.L + first) * s.C;
        const auto moments = reference::batch_norm_statistics({.groups = 1, .N = 1, .L = rows, .C = s.C},
                                                              to_double({begin, begin + ptrdiff_t{rows} * s.C}));
        for (int c = 0; c < s.C; ++c) {
          mean.push_back(static_cast<float>(moments.mean[c]));
          m2.push_back(static_cast<float>(moments.var[c] * rows));
        }
      }
  }
};

TEST_CASE("batch_norm: a layer is finished from moments of records or their pieces: statistics, scale and shift") {
  for (const BatchNormShape& s : shapes())
    for (int piece_rows : {s.L, 5}) {
      CAPTURE(text(s));
      CAPTURE(piece_rows);
      const Layer l(s, 1000);
      const PieceMoments pieces(l, piece_rows);
      const bool moves = s.rows_per_group() > 1;  // one row has no variance
      const std::vector<float> before = random_normal(s.C, 5);
      std::vector<float> mean(l.mean.size()), var(mean), scale(mean), shift(mean), running_mean(before),
          running_var(before);
      {
        OnDevice d;
        bn().finish_statistics(
            d.queue(), s, d.in(pieces.mean), d.in(pieces.m2), piece_rows,
            {d.in(l.gamma), d.in(l.beta), kEps, 0.1f, d.out(mean), d.out(var), d.out(scale), d.out(shift),
             moves ? d.out(running_mean) : nullptr, moves ? d.out(running_var) : nullptr});
      }
      Layer by_parts(l);
      by_parts.mean = mean;
      by_parts.var = var;
      by_parts.fold();
      CHECK(scale == by_parts.scale);
      CHECK(shift == by_parts.shift);
      std::vector<float> expected_mean(before), expected_var(before);
      if (moves) {
        OnDevice d;
        bn().update_running(d.queue(), s, d.in(mean), d.in(var), 0.1f, d.out(expected_mean), d.out(expected_var));
      }
      CHECK(running_mean == expected_mean);
      CHECK(running_var == expected_var);
      const auto exact = reference::batch_norm_statistics(s, to_double(l.x));
      check_close(mean, exact.mean, 2e-7, "mean");
      check_close(var, exact.var, 1e-4, "var");  // means near 1000 are rounded to 3e-5
    }
}

TEST_CASE("batch_norm: two groups move the running statistics like two forward passes, with the unbiased variance") {
  const BatchNormShape s{.groups = 2, .N = 4, .L = 3, .C = 3};
  const Layer l(s);
  std::vector<float> running_mean = random_normal(s.C, 5), running_var(s.C, 2.0f);
  std::vector<double> expected_mean = to_double(running_mean), expected_var = to_double(running_var);
  {
    OnDevice d;
    bn().update_running(d.queue(), s, d.in(l.mean), d.in(l.var), 0.1f, d.out(running_mean), d.out(running_var));
  }
  for (int g = 0; g < 2; ++g)
    for (int c = 0; c < s.C; ++c) {
      expected_mean[c] = 0.9 * expected_mean[c] + 0.1 * l.mean[g * s.C + c];
      expected_var[c] = 0.9 * expected_var[c] + 0.1 * l.var[g * s.C + c] * 6 / 5;  // six rows per group
    }
  check_close(running_mean, expected_mean, 3e-7, "running_mean");
  check_close(running_var, expected_var, 3e-7, "running_var");
}

TEST_CASE("batch_norm: one row per group has no variance, and a sentence says so") {
  const BatchNormShape s{.groups = 2, .N = 2, .L = 1, .C = 1};
  std::vector<float> values(2), running(1);
  OnDevice d;
  const std::string sentence = sentence_of<Error>(
      [&] { bn().update_running(d.queue(), s, d.in(values), d.in(values), 0.1f, d.out(running), d.out(running)); });
  CHECK(sentence.find("2 records of length 1 in 2 groups") != std::string::npos);
  CHECK_THROWS_WITH_AS(bn().finish_statistics(d.queue(), s, d.in(values), d.in(values), 1,
                                              {d.in(values), d.in(values), kEps, 0.1f, d.out(values), d.out(values),
                                               d.out(values), d.out(values), d.out(running), d.out(running)}),
                       doctest::Contains("2 records of length 1 in 2 groups"), Error);
}

TEST_CASE("batch_norm: the output of every group has mean beta and deviation gamma") {
  Layer l({.groups = 2, .N = 8, .L = 129, .C = 12}, 1000);
  const auto moments = reference::batch_norm_statistics(l.s, to_double(l.apply(false)));
  for (size_t i = 0; i < moments.mean.size(); ++i) {
    CHECK(moments.mean[i] == doctest::Approx(l.beta[i % l.s.C]).epsilon(1e-3));
    CHECK(std::sqrt(moments.var[i]) == doctest::Approx(std::abs(l.gamma[i % l.s.C])).epsilon(1e-3));
  }
}

TEST_CASE("batch_norm: apply is the book's forward pass, and works in place") {
  for (const BatchNormShape& s : shapes()) {
    const Layer l(s);
    const reference::Moments<double> moments{to_double(l.mean), to_double(l.var)};
    for (bool relu : {false, true}) {
      const std::vector<float> y = l.apply(relu);
      check_close(y,
                  reference::batch_norm_forward<double>(s, to_double(l.x), moments, to_double(l.gamma),
                                                        to_double(l.beta), kEps, relu),
                  1e-6, text(s));
      std::vector<float> in_place = l.x;
      {
        OnDevice d;
        float* const x = d.out(in_place);
        bn().apply(d.queue(), s, x, d.in(l.scale), d.in(l.shift), relu, x);
      }
      CHECK(in_place == y);
    }
  }
}

TEST_CASE("batch_norm: tensors may start anywhere") {
  const Layer l({.groups = 2, .N = 4, .L = 129, .C = 12});
  const std::vector<float> expected = l.apply(true), dy = l.random_dy();
  const Gradient expected_gradient = backward(l, dy, true, true, empty_gradient(l.s));
  const auto behind_one = [](std::vector<float> values) {
    values.insert(values.begin(), 0.0f);
    return values;
  };
  const std::vector<float> x = behind_one(l.x), dy_behind = behind_one(dy);
  std::vector<float> y = x, dx = x, mean(l.mean.size()), var(l.var.size()), dgamma(l.s.C), dbeta(l.s.C);
  {
    OnDevice d;
    bn().apply(d.queue(), l.s, d.in(x) + 1, d.in(l.scale), d.in(l.shift), true, d.out(y) + 1);
    bn().statistics(d.queue(), l.s, d.in(x) + 1, d.out(mean), d.out(var));
    bn().backward(d.queue(), l.s, d.in(x) + 1, d.in(dy_behind) + 1, d.in(l.mean), d.in(l.var), kEps, d.in(l.scale),
                  d.in(l.shift), true, d.out(dx) + 1, kOverwrite, d.out(dgamma), d.out(dbeta), kOverwrite);
  }
  CHECK(y == behind_one(expected));
  check_close(mean, l.mean, 3e-7, "mean");
  check_close(var, l.var, 3e-7, "var");
  check_close(dx, behind_one(expected_gradient.dx), 1e-6, "dx");
  check_close(dgamma, expected_gradient.dgamma, 1e-6, "dgamma");
  check_close(dbeta, expected_gradient.dbeta, 1e-6, "dbeta");
}

TEST_CASE("batch_norm: apply does not hide a NaN behind the ReLU") {
  Layer l({.groups = 1, .N = 2, .L = 7, .C = 3});
  l.x[20] = NAN;
  const std::vector<float> y = l.apply(true);
  for (size_t i = 0; i < y.size(); ++i) CHECK(std::isnan(y[i]) == (i == 20));
}

TEST_CASE("batch_norm: gradients are as good as the plain formula") {
  for (bool training : {true, false})
    for (const BatchNormShape& s : shapes()) {
      const bool relu = s.L % 2;
      const Layer l(s, s.C == 5 ? 1000.0f : 0.5f);
      const std::vector<float> dy = l.random_dy();
      const Gradient got = backward(l, dy, relu, training, empty_gradient(s));
      const auto exact = plain_backward<double>(l, dy, relu, training);
      const auto plain = plain_backward<float>(l, dy, relu, training);
      const std::string what = fmt::format("{} relu={} training={}", text(s), relu, training);
      check_as_good_as_plain(got.dx, plain.dx, exact.dx, what + " dx");
      check_sum(got.dgamma, plain.dgamma, exact.dgamma, s.N * s.L, what + " dgamma");
      check_sum(got.dbeta, plain.dbeta, exact.dbeta, s.N * s.L, what + " dbeta");
    }
}

TEST_CASE("batch_norm: gradients are the finite differences of the forward pass") {
  for (int G : {1, 2})
    for (bool relu : {false, true}) {
      const Layer l({.groups = G, .N = 4, .L = 7, .C = 3});
      check_finite_differences(l, relu, true);
    }
  for (bool relu : {false, true}) {
    Layer l({.groups = 1, .N = 4, .L = 7, .C = 3});
    l.mean = {0.1f, 0.9f, -0.4f};  // running statistics, not those of x
    l.var = {1.5f, 0.3f, 4.0f};
    l.fold();
    check_finite_differences(l, relu, false);
  }
}

TEST_CASE("batch_norm: gradients accumulate where asked to, and dx may be dy") {
  const Layer l({.groups = 2, .N = 4, .L = 129, .C = 12});
  const std::vector<float> dy = l.random_dy();
  for (bool training : {true, false}) {
    const Gradient fresh = backward(l, dy, true, training, empty_gradient(l.s));
    const Gradient before{random_normal(l.s.size(), 6), random_normal(l.s.C, 7), random_normal(l.s.C, 8)};
    const auto sum = [](const std::vector<float>& a, const std::vector<float>& b) {
      std::vector<double> result = to_double(a);
      for (size_t i = 0; i < b.size(); ++i) result[i] += b[i];
      return result;
    };
    Gradient got = backward(l, dy, true, training, before, kAccumulate, kOverwrite);
    check_close(got.dx, sum(before.dx, fresh.dx), 2e-7, "dx");
    CHECK(got.dgamma == fresh.dgamma);
    got = backward(l, dy, true, training, before, kOverwrite, kAccumulate);
    CHECK(got.dx == fresh.dx);
    check_close(got.dgamma, sum(before.dgamma, fresh.dgamma), 2e-7, "dgamma");
    check_close(got.dbeta, sum(before.dbeta, fresh.dbeta), 2e-7, "dbeta");

    Gradient in_place = fresh;
    in_place.dx = dy;
    in_place = backward(l, nullptr, true, training, in_place);
    CHECK(in_place.dx == fresh.dx);
    CHECK(in_place.dgamma == fresh.dgamma);
  }
}

TEST_CASE("batch_norm: the same bits for any schedule") {
  const BatchNormShape s{.groups = 2, .N = 14, .L = 129, .C = 64};
  for (bool training : {true, false})
    check_same_bits_for_any_schedule(
        [&] {
          const Layer l(s);
          Gradient got = backward(l, l.random_dy(), true, training, empty_gradient(s));
          for (const auto& part : {got.dgamma, got.dbeta, l.mean, l.var, l.apply(true)})
            got.dx.insert(got.dx.end(), part.begin(), part.end());
          return got.dx;
        },
        "statistics, apply and backward");
}

TEST_CASE("batch_norm: the backward pass in three parts gives what the whole one gives") {
  for (const BatchNormShape& s : shapes())
    for (bool training : {true, false}) {
      const Layer l(s);
      const std::vector<float> dz = l.random_dy();
      const Gradient whole = backward(l, dz, true, training, empty_gradient(s));
      Gradient parts = empty_gradient(s);
      std::vector<float> g(size_t(s.N) * s.C), gd(g.size()), offset(size_t(s.groups) * s.C), slope(offset.size());
      {
        OnDevice d;
        bn().backward_sums(
            d.queue(), s, d.in(dz),
            {{d.in(l.x), d.in(l.mean), d.in(l.scale), d.in(l.shift), s.groups, true}, d.out(g), d.out(gd)});
      }
      {
        OnDevice d;
        bn().backward_finish(d.queue(), s, d.in(g), d.in(gd), 1, d.in(l.var), kEps, d.in(l.scale), training,
                             d.out(offset), d.out(slope), d.out(parts.dgamma), d.out(parts.dbeta), kOverwrite);
      }
      {
        // Of three pieces that have a quarter, a half and a quarter of each sum, which are no roundings.
        const auto in_pieces = [&](const std::vector<float>& sums) {
          std::vector<float> pieces;
          for (size_t n = 0; n < static_cast<size_t>(s.N); ++n)
            for (float share : {0.25f, 0.5f, 0.25f})
              for (size_t c = 0; c < static_cast<size_t>(s.C); ++c) pieces.push_back(share * sums[n * s.C + c]);
          return pieces;
        };
        const std::vector<float> piece_g = in_pieces(g), piece_gd = in_pieces(gd);
        std::vector<float> other_offset(offset.size()), other_slope(slope.size()), dgamma(size_t(s.C)), dbeta(dgamma);
        {
          OnDevice d;
          bn().backward_finish(d.queue(), s, d.in(piece_g), d.in(piece_gd), 3, d.in(l.var), kEps, d.in(l.scale),
                               training, d.out(other_offset), d.out(other_slope), d.out(dgamma), d.out(dbeta),
                               kOverwrite);
        }
        check_close(other_offset, offset, 1e-6, "offset from pieces");
        check_close(other_slope, slope, 1e-6, "slope from pieces");
        check_close(dgamma, parts.dgamma, 1e-6, "dgamma from pieces");
        check_close(dbeta, parts.dbeta, 1e-6, "dbeta from pieces");
      }
      {
        OnDevice d;
        bn().backward_apply(
            d.queue(), s, d.in(dz),
            {{d.in(l.x), d.in(l.mean), d.in(l.scale), d.in(l.shift), s.groups, true}, d.in(offset), d.in(slope)},
            d.out(parts.dx));
      }
      const std::string what = fmt::format("{} training={}", text(s), training);
      const auto exact = plain_backward<double>(l, dz, true, training);
      const auto plain = plain_backward<float>(l, dz, true, training);
      const auto rows = static_cast<double>(s.rows_per_group());
      check_sum(parts.dgamma, plain.dgamma, exact.dgamma, rows, what + " dgamma");
      check_sum(parts.dbeta, plain.dbeta, exact.dbeta, rows, what + " dbeta");
      check_close(parts.dx, whole.dx, 1e-5, what + " dx");
    }
}

TEST_CASE("batch_norm: a pending gradient becomes that of the output") {
  for (const auto& [N, L, C] : {std::tuple{4, 1, 3}, {2, 129, 12}, {4, 1001, 1}, {2, 37, 64}})
    for (int groups : {1, 2})
      for (bool relu : {false, true}) {
        const size_t size = size_t(N) * size_t(L) * size_t(C), columns = size_t(groups) * size_t(C);
        const auto values = [](size_t count, uint32_t which) { return random_normal(count, which); };
        const reference::Normalized<float> o{
            size_t(N),         size_t(L),          size_t(C),          size_t(groups),     relu,
            values(size, 1),   values(columns, 2), values(columns, 3), values(columns, 4), values(columns, 5),
            values(columns, 6)};
        std::vector<float> dz = values(size, 7), dy(size);
        for (size_t i = 0; i < size; ++i)  // rounding decides which side of the corner it is on
          if (std::abs(o.y[i] * o.scale[o.channel(i)] + o.shift[o.channel(i)]) < 1e-3f) dz[i] = 0;
        {
          OnDevice d;
          bn().backward_apply(
              d.queue(), {groups, N, L, C}, d.in(dz),
              {{d.in(o.y), d.in(o.mean), d.in(o.scale), d.in(o.shift), groups, relu}, d.in(o.offset), d.in(o.slope)},
              d.out(dy));
        }
        const auto exact = o.as<double>().dy({dz.begin(), dz.end()});
        check_as_good_as_plain(dy, o.dy(dz), exact, fmt::format("[{}, {}, {}], {} groups", N, L, C, groups));
      }
}
