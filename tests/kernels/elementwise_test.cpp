// Elementwise kernels on the CPU: values, gradients, aliasing, and the exact mask of dropout.

#include "kernels/elementwise/elementwise.h"

#include <cmath>

#include "kernels/elementwise/cases.h"
#include "tests/kernels/same_bits.h"
#include "tests/reference/elementwise.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;
const ElementwiseKernels& ew = cpu::elementwise;
Queue queue;

std::vector<int64_t> counts() {
  std::vector<int64_t> result = {1, 2, 7, 13, 127, 129, 1000, 1001, 16383, 16384, 16385, 50000};
  for (const ElementwiseCase& c : elementwise_cases())
    if (c.count() <= 100000) result.push_back(c.count());
  return result;
}

std::vector<float> scaled(std::vector<float> x, float factor) {
  for (float& value : x) value *= factor;
  return x;
}

std::vector<float> dropout(const DropoutShape& s, const std::vector<float>& x) {
  std::vector<float> y(x.size(), NAN);
  ew.dropout(queue, s, x.data(), y.data(), kOverwrite);
  return y;
}

}  // namespace

TEST_CASE("elementwise: relu is max(x, 0), in place too, and keeps a NaN") {
  for (int64_t count : counts()) {
    std::vector<float> x = random_normal(count, 1), y(count);
    ew.relu(queue, count, x.data(), y.data());
    CHECK(y == reference::relu(x));
    ew.relu(queue, count, x.data(), x.data());
    CHECK(x == y);
  }
  const float nan = NAN;
  float y = 0;
  ew.relu(queue, 1, &nan, &y);
  CHECK(std::isnan(y));
}

TEST_CASE("elementwise: relu's gradient is its finite difference; dx may be dy") {
  const int64_t count = 129;
  std::vector<float> x = random_normal(count, 1), y(count), dy = random_normal(count, 2), dx(count, NAN);
  for (float& value : x)
    if (std::abs(value) < 1e-3f) value = 0.5f;
  ew.relu(queue, count, x.data(), y.data());
  ew.relu_backward(queue, count, y.data(), dy.data(), dx.data(), kOverwrite);
  const auto loss = [&](const std::vector<double>& v) {
    const std::vector<double> out = reference::relu(v);
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy[i];
    return sum;
  };
  check_close(dx, finite_differences(loss, to_double(x)), 1e-7, "dx");

  std::vector<float> twice = dx, in_place = dy;
  ew.relu_backward(queue, count, y.data(), dy.data(), twice.data(), kAccumulate);
  CHECK(twice == scaled(dx, 2));
  ew.relu_backward(queue, count, y.data(), in_place.data(), in_place.data(), kOverwrite);
  CHECK(in_place == dx);
}

TEST_CASE("elementwise: relu passes no gradient at zero") {
  const std::vector<float> y = {0, -0.0f, 1}, dy = {5, 5, 5};
  std::vector<float> dx(3);
  ew.relu_backward(queue, 3, y.data(), dy.data(), dx.data(), kOverwrite);
  CHECK(dx == std::vector<float>{0, 0, 5});
}

TEST_CASE("elementwise: add, into either operand too") {
  for (int64_t count : counts()) {
    const std::vector<float> a = random_normal(count, 1), b = random_normal(count, 2);
    std::vector<float> expected(count), y(count), in_a = a, in_b = b;
    for (int64_t i = 0; i < count; ++i) expected[i] = a[i] + b[i];
    ew.add(queue, count, a.data(), b.data(), y.data());
    ew.add(queue, count, in_a.data(), b.data(), in_a.data());
    ew.add(queue, count, a.data(), in_b.data(), in_b.data());
    CHECK(y == expected);
    CHECK(in_a == expected);
    CHECK(in_b == expected);
  }
}

TEST_CASE("elementwise: scale overwrites or accumulates") {
  for (int64_t count : counts()) {
    const std::vector<float> x = random_normal(count, 1);
    std::vector<float> y(count, NAN);
    ew.scale(queue, count, -0.25f, x.data(), y.data(), kOverwrite);
    CHECK(y == scaled(x, -0.25f));
    ew.scale(queue, count, 0.25f, x.data(), y.data(), kAccumulate);
    CHECK(y == std::vector<float>(count));
  }
}

TEST_CASE("elementwise: concatenate joins rows, and its gradient takes them apart") {
  std::vector<ConcatenateShape> shapes = {{.rows = 5, .C_a = 1, .C_b = 12}, {.rows = 7, .C_a = 250, .C_b = 3}};
  for (const ConcatenateCase& c : concatenate_cases())
    if (c.shape.rows < 10000) shapes.push_back(c.shape);
  for (const ConcatenateShape& s : shapes) {
    const std::vector<float> a = random_normal(s.rows * s.C_a, 1), b = random_normal(s.rows * s.C_b, 2);
    std::vector<float> y(a.size() + b.size(), NAN), da(a.size(), NAN), db(b.size(), NAN);
    ew.concatenate(queue, s, a.data(), b.data(), y.data());
    CHECK(y == reference::concatenate(s, a, b));
    ew.concatenate_backward(queue, s, y.data(), da.data(), kOverwrite, db.data(), kOverwrite);
    CHECK(da == a);
    CHECK(db == b);
    ew.concatenate_backward(queue, s, y.data(), nullptr, kOverwrite, db.data(), kAccumulate);
    ew.concatenate_backward(queue, s, y.data(), da.data(), kAccumulate, nullptr, kOverwrite);
    CHECK(da == scaled(a, 2));
    CHECK(db == scaled(b, 2));
  }
}

TEST_CASE("elementwise: concatenate's gradient is its finite difference") {
  const ConcatenateShape s{.rows = 4, .C_a = 3, .C_b = 5};
  const std::vector<float> a = random_normal(12, 1), b = random_normal(20, 2), dy = random_normal(32, 3);
  std::vector<float> da(12), db(20);
  ew.concatenate_backward(queue, s, dy.data(), da.data(), kOverwrite, db.data(), kOverwrite);
  const auto loss = [&](const std::vector<double>& a_, const std::vector<double>& b_) {
    const std::vector<double> y = reference::concatenate(s, a_, b_);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  check_close(da, finite_differences([&](const auto& v) { return loss(v, to_double(b)); }, to_double(a)), 1e-7, "da");
  check_close(db, finite_differences([&](const auto& v) { return loss(to_double(a), v); }, to_double(b)), 1e-7, "db");
}

TEST_CASE("elementwise: dropout keeps exactly the elements of its definition") {
  for (int64_t elements : {1, 2, 3, 4, 5, 63, 64, 65, 1001, 16384, 16385, 33000})
    for (float p : {0.0f, 0.1f, 0.5f, 0.9f}) {
      const DropoutShape s{
          .N = 3, .elements = elements, .p = p, .seed = seed(), .step = 7, .layer = 2, .first_record = 5};
      std::vector<float> x = random_normal(s.N * elements, 1);
      const std::vector<float> y = dropout(s, x);
      const std::vector<float> expected = reference::dropout(s, x);
      bool same_mask = true;
      for (size_t i = 0; i < x.size(); ++i) same_mask &= (y[i] == 0) == (expected[i] == 0);
      CHECK(same_mask);
      check_close(y, reference::dropout(s, to_double(x)), 2e-7, fmt::format("elements={} p={}", elements, p));
      ew.dropout(queue, s, x.data(), x.data(), kOverwrite);
      CHECK(x == y);
    }
}

TEST_CASE("elementwise: dropout keeps a draw that equals p, and drops it for the next larger p") {
  DropoutShape s{.N = 1, .elements = 8, .p = 0, .seed = seed(), .step = 1, .layer = 0};
  const RandomStream stream(s.seed, Purpose::dropout, s.step, 0, 0, s.layer);
  for (uint32_t i = 0; i < 8; ++i) {
    s.p = stream.uniform(i);
    CHECK(dropout(s, std::vector<float>(8, 1.0f))[i] != 0);
    s.p = std::nextafter(s.p, 1.0f);
    CHECK(dropout(s, std::vector<float>(8, 1.0f))[i] == 0);
  }
}

TEST_CASE("elementwise: dropout's gradient is its finite difference, and accumulates") {
  const DropoutShape s{.N = 2, .elements = 37, .p = 0.4f, .seed = seed(), .step = 1, .layer = 0};
  const std::vector<float> x = random_normal(74, 1), dy = random_normal(74, 2);
  const std::vector<float> dx = dropout(s, dy);
  const auto loss = [&](const std::vector<double>& v) {
    const std::vector<double> y = reference::dropout(s, v);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  check_close(dx, finite_differences(loss, to_double(x)), 1e-6, "dx");
  std::vector<float> sum = x;
  ew.dropout(queue, s, dy.data(), sum.data(), kAccumulate);
  for (size_t i = 0; i < x.size(); ++i) CHECK(sum[i] == doctest::Approx(x[i] + dx[i]).epsilon(1e-6));
}

TEST_CASE("elementwise: dropout drops at its rate and keeps the mean") {
  const DropoutShape s{.N = 20, .elements = 10000, .p = 0.3f, .seed = seed(), .step = 3, .layer = 1};
  double kept = 0, sum = 0;
  for (float y : dropout(s, std::vector<float>(200000, 1.0f))) {
    kept += y != 0;
    sum += y;
  }
  CHECK(std::abs(kept / 200000 - 0.7) < 0.005);  // five standard errors
  CHECK(std::abs(sum / 200000 - 1.0) < 0.0075);
}

TEST_CASE("elementwise: a record's dropout depends on its name only, not on its batch") {
  const DropoutShape all{.N = 6, .elements = 1001, .p = 0.5f, .seed = seed(), .step = 3, .layer = 1};
  DropoutShape part = all;
  part.N = 2;
  part.first_record = 3;
  const std::vector<float> x(all.N * all.elements, 1.0f), x_part(part.N * part.elements, 1.0f);
  const std::vector<float> y = dropout(all, x);
  CHECK(dropout(all, x) == y);
  CHECK(dropout(part, x_part) == std::vector<float>(y.begin() + 3 * 1001, y.begin() + 5 * 1001));
  DropoutShape other = all;
  other.step = 4;
  CHECK(dropout(other, x) != y);
  other = all;
  other.layer = 2;
  CHECK(dropout(other, x) != y);
  other = all;
  other.seed += 1;
  CHECK(dropout(other, x) != y);
}

TEST_CASE("elementwise: the same bits for any number of threads") {
  const DropoutShape s{.N = 3, .elements = 33000, .p = 0.5f, .seed = seed(), .step = 3, .layer = 1};
  const std::vector<float> x = random_normal(s.N * s.elements, 1);
  check_same_bits_for_any_threads([&] { return dropout(s, x); }, "dropout");
  check_same_bits_for_any_threads(
      [&] {
        std::vector<float> y = x;
        ew.scale(queue, 99000, 1.7f, x.data(), y.data(), kAccumulate);
        ew.relu(queue, 99000, y.data(), y.data());
        return y;
      },
      "scale and relu");
}
