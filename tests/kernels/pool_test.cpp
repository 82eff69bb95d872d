// Pooling: against the book, against finite differences, ties, NaN and padding.

#include "kernels/pool/pool.h"

#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/error.h"
#include "kernels/pool/cases.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/pool.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

const PoolKernels& pool() {
  return pool_kernels(test::device());
}

size_t size(const MeanShape& s) {
  return size_t(s.N) * s.L * s.C;
}
size_t size(const MaxPoolShape& s) {
  return size_t(s.N) * s.L * s.C;
}

std::vector<MeanShape> mean_shapes() {
  std::vector<MeanShape> result;
  for (int C : {1, 3, 5, 12, 64, 250})
    for (int L : {1, 2, 7, 13, 127, 129, 1000, 1001}) result.push_back({.N = 4, .L = L, .C = C});
  for (int C : {257, 1001, 1028}) result.push_back({.N = 2, .L = 13, .C = C});  // wider than a block
  for (const MeanCase& c : mean_cases())
    if (size(c.shape) < 300000) result.push_back(c.shape);
  return result;
}

/// A pending normalisation of two groups on random input.
struct Pending {
  Pending(int C, bool relu_) : scale(random_normal(2 * C, 2)), shift(random_normal(2 * C, 3)), relu(relu_) {}
  std::vector<float> scale, shift;
  bool relu;
};

std::vector<float> mean_forward(const MeanShape& s, const std::vector<float>& x, const Pending* pending = nullptr) {
  std::vector<float> y(size_t(s.N) * s.C, NAN);
  {
    OnDevice d;
    PendingAffine affine;
    if (pending) affine = {d.in(pending->scale), d.in(pending->shift), 2, pending->relu};
    pool().mean_forward(d.queue(), s, d.in(x), affine, d.out(y));
  }
  return y;
}

reference::MaxPoolResult<float> max_forward(const MaxPoolShape& s, const std::vector<float>& x) {
  const size_t outputs = size_t(s.N) * s.L_out() * s.C;
  reference::MaxPoolResult<float> result{std::vector<float>(outputs, NAN), std::vector<int32_t>(outputs, -1)};
  {
    OnDevice d;
    pool().max_forward(d.queue(), s, d.in(x), d.out(result.y), d.out(result.index));
  }
  return result;
}

std::vector<MaxPoolShape> max_shapes() {
  std::vector<MaxPoolShape> result;
  for (int C : {1, 5, 64})
    for (int L : {1, 2, 13, 129})
      for (int window : {1, 2, 3, 7})
        for (int stride : {1, 2, 4})
          for (int padding : {0, window / 2})
            if (L + 2 * padding >= window)
              result.push_back({.N = 2, .L = L, .C = C, .window = window, .stride = stride, .padding = padding});
  for (int C : {257, 1001, 1028})  // wider than a block
    result.push_back({.N = 2, .L = 13, .C = C, .window = 3, .stride = 2, .padding = 1});
  for (const PoolCase& c : max_pool_cases())
    if (size(c.shape) < 300000) result.push_back(c.shape);
  return result;
}

/// `into`: what the gradient holds before.
std::vector<float> mean_backward(const MeanShape& s, const std::vector<float>& dy, std::vector<float> into,
                                 GradientMode mode) {
  {
    OnDevice d;
    pool().mean_backward(d.queue(), s, d.in(dy), d.out(into), mode, {});
  }
  return into;
}

std::vector<float> max_backward(const MaxPoolShape& s, const std::vector<float>& dy, const std::vector<int32_t>& index,
                                std::vector<float> into, GradientMode mode) {
  {
    OnDevice d;
    pool().max_backward(d.queue(), s, d.in(dy), d.in(index), d.out(into), mode);
  }
  return into;
}

}  // namespace

TEST_CASE("pool: the mean is as good as a plain sum") {
  for (const MeanShape& s : mean_shapes()) {
    const std::vector<float> x = random_normal(size(s), 1);
    const std::vector<float> none;
    check_as_good_as_plain(mean_forward(s, x), reference::mean_over_time(s, x, none, none, 1, false),
                           reference::mean_over_time<double>(s, to_double(x), {}, {}, 1, false),
                           fmt::format("L={} C={}", s.L, s.C));
    for (bool relu : {false, true}) {
      const Pending p(s.C, relu);
      check_as_good_as_plain(
          mean_forward(s, x, &p), reference::mean_over_time(s, x, p.scale, p.shift, 2, relu),
          reference::mean_over_time(s, to_double(x), to_double(p.scale), to_double(p.shift), 2, relu),
          fmt::format("pending L={} C={} relu={}", s.L, s.C, relu));
    }
  }
}

TEST_CASE("pool: the mean of a long record does not drift") {
  const MeanShape s{.N = 1, .L = 200000, .C = 3};
  std::vector<float> x = random_normal(size(s), 1);
  for (float& value : x) value += 100;
  check_close(mean_forward(s, x), reference::mean_over_time<double>(s, to_double(x), {}, {}, 1, false), 2e-7, "mean");
}

TEST_CASE("pool: the mean's gradient is dy / L at every position, added or stored") {
  for (const MeanShape& s : mean_shapes()) {
    const std::vector<float> dy = random_normal(size_t(s.N) * s.C, 1);
    std::vector<float> expected(size(s));
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] = dy[i / (s.L * s.C) * s.C + i % s.C] / static_cast<float>(s.L);
    std::vector<float> dz = mean_backward(s, dy, std::vector<float>(size(s), NAN), kOverwrite);
    CHECK(dz == expected);
    dz = mean_backward(s, dy, dz, kAccumulate);
    for (float& value : dz) value /= 2;
    CHECK(dz == expected);
  }
}

TEST_CASE("pool: the mean's gradient has the sums of its records with it, those of BatchNorm's own pass") {
  for (const MeanShape& s : mean_shapes()) {
    const std::vector<float> dy = random_normal(size_t(s.N) * s.C, 1), y = random_normal(size(s), 2);
    const std::vector<float> mean = random_normal(2 * s.C, 3), scale = random_normal(2 * s.C, 4),
                             shift = random_normal(2 * s.C, 5);
    const size_t records = size_t(s.N) * s.C;
    std::vector<float> dz(size(s), NAN), g(records, NAN), gd(records, NAN), plain_g(records), plain_gd(records);
    {
      OnDevice d;
      const NormalizedOutput output{d.in(y), d.in(mean), d.in(scale), d.in(shift), 2, true};
      const float* const upstream = d.in(dy);
      float* const to = d.out(dz);
      pool().mean_backward(d.queue(), s, upstream, to, kOverwrite, {output, d.out(g), d.out(gd)});
      batch_norm_kernels(test::device())
          .backward_sums(d.queue(), {2, s.N, s.L, s.C}, to, {output, d.out(plain_g), d.out(plain_gd)});
    }
    CHECK(dz == mean_backward(s, dy, std::vector<float>(size(s), NAN), kOverwrite));
    check_close(g, to_double(plain_g), 1e-5, text(s) + " g");
    check_close(gd, to_double(plain_gd), 1e-5, text(s) + " gd");
  }
}

TEST_CASE("pool: the mean's gradient behind a pending normalisation is the finite difference") {
  const MeanShape s{.N = 4, .L = 7, .C = 3};
  const Pending p(s.C, true);
  std::vector<float> x = random_normal(size(s), 1), dz(size(s));
  const std::vector<float> dy = random_normal(size_t(s.N) * s.C, 4);
  const auto slope = [&](size_t i) {  // of z as a function of x
    const size_t gc = i / (s.L * s.C) / 2 * s.C + i % s.C;
    const float z = x[i] * p.scale[gc] + p.shift[gc];
    if (std::abs(z) < 1e-3f) x[i] += 0.01f / p.scale[gc];  // away from the corner
    return x[i] * p.scale[gc] + p.shift[gc] > 0 ? p.scale[gc] : 0.0f;
  };
  dz = mean_backward(s, dy, dz, kOverwrite);
  for (size_t i = 0; i < dz.size(); ++i) dz[i] *= slope(i);
  const auto loss = [&](const std::vector<double>& v) {
    const auto y = reference::mean_over_time(s, v, to_double(p.scale), to_double(p.shift), 2, true);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  check_close(dz, finite_differences(loss, to_double(x)), 1e-6, "dx");
}

TEST_CASE("pool: the maximum, its position and its gradient are the book's") {
  for (const MaxPoolShape& s : max_shapes()) {
    std::vector<float> x = random_normal(size(s), 1);
    for (float& value : x) value = std::round(2 * value);  // many ties
    const auto got = max_forward(s, x);
    const auto expected = reference::max_pool(s, x);
    CHECK_MESSAGE(got.y == expected.y, text(s));
    CHECK_MESSAGE(got.index == expected.index, text(s));

    const std::vector<float> dy = random_normal(got.y.size(), 2), before = random_normal(x.size(), 3);
    const std::vector<float> dx = max_backward(s, dy, got.index, std::vector<float>(x.size(), NAN), kOverwrite);
    CHECK_MESSAGE(dx == reference::max_pool_backward(s, dy, got.index), text(s));
    std::vector<float> sum = max_backward(s, dy, got.index, before, kAccumulate);
    for (size_t i = 0; i < dx.size(); ++i) sum[i] -= before[i];
    CHECK_MESSAGE(max_error(sum, dx) < 5e-6, text(s));
  }
}

TEST_CASE("pool: the maximum's gradient is the finite difference") {
  const MaxPoolShape s{.N = 2, .L = 13, .C = 3, .window = 4, .stride = 2, .padding = 2};
  std::vector<float> x(size(s)), dx(size(s));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % x.size()) / 10;  // no two are equal
  const auto forward = max_forward(s, x);
  const std::vector<float> dy = random_normal(forward.y.size(), 2);
  dx = max_backward(s, dy, forward.index, dx, kOverwrite);
  const auto loss = [&](const std::vector<double>& v) {
    const auto y = reference::max_pool(s, v).y;
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  check_close(dx, finite_differences(loss, to_double(x)), 1e-7, "dx");
}

TEST_CASE("pool: the first of equal maxima is taken, and padding never is") {
  const MaxPoolShape s{.N = 1, .L = 4, .C = 1, .window = 3, .stride = 1, .padding = 1};
  const auto equal = max_forward(s, {-7, -7, -7, -7});
  CHECK(equal.y == std::vector<float>{-7, -7, -7, -7});
  CHECK(equal.index == std::vector<int32_t>{0, 0, 1, 2});
  const auto lowest = max_forward(s, {-INFINITY, -INFINITY, -INFINITY, -INFINITY});
  CHECK(lowest.index == std::vector<int32_t>{0, 0, 1, 2});
}

TEST_CASE("pool: a NaN wins, the first one of several") {
  const MaxPoolShape s{.N = 1, .L = 6, .C = 1, .window = 3, .stride = 3};
  const auto got = max_forward(s, {5, NAN, 9, NAN, NAN, INFINITY});
  CHECK(std::isnan(got.y[0]));
  CHECK(std::isnan(got.y[1]));
  CHECK(got.index == std::vector<int32_t>{1, 3});
}

TEST_CASE("pool: an impossible shape is refused with its numbers") {
  const MaxPoolShape good{.N = 1, .L = 8, .C = 2, .window = 3, .stride = 2, .padding = 1};
  check(good);
  const auto refused = [&](auto change) {
    MaxPoolShape s = good;
    change(s);
    return sentence_of<Error>([&] { check(s); });
  };
  CHECK(refused([](auto& s) { s.padding = 2; }).find("window 3, stride 2 and padding 2") != std::string::npos);
  CHECK(refused([](auto& s) { s.window = 11; }).find("1 records of 8 positions") != std::string::npos);
  CHECK_FALSE(refused([](auto& s) { s.stride = 0; }).empty());
  CHECK_FALSE(refused([](auto& s) { s.padding = -1; }).empty());
  CHECK_FALSE(refused([](auto& s) { s.L = 0; }).empty());
}

TEST_CASE("pool: the same bits for any schedule") {
  const MaxPoolShape s{.N = 7, .L = 129, .C = 12, .window = 3, .stride = 2, .padding = 1};
  const MeanShape m{.N = 7, .L = 129, .C = 12};
  const std::vector<float> x = random_normal(size(s), 1);
  check_same_bits_for_any_schedule(
      [&] {
        const auto forward = max_forward(s, x);
        std::vector<float> dx = max_backward(s, forward.y, forward.index, x, kAccumulate);
        const std::vector<float> mean = mean_forward(m, x);
        dx.insert(dx.end(), mean.begin(), mean.end());
        return dx;
      },
      "max and mean");
}
