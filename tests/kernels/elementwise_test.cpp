// Elementwise kernels: values, gradients, aliasing, and the exact mask of dropout.

#include "kernels/elementwise/elementwise.h"

#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/elementwise/cases.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/elementwise.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

const ElementwiseKernels& ew() {
  return elementwise_kernels(test::device());
}

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
  {
    OnDevice d;
    ew().dropout(d.queue(), s, d.in(x), d.out(y), kOverwrite);
  }
  return y;
}

std::vector<float> relu(const std::vector<float>& x) {
  std::vector<float> y(x.size(), NAN);
  {
    OnDevice d;
    ew().relu(d.queue(), static_cast<int64_t>(x.size()), d.in(x), d.out(y));
  }
  return y;
}

/// `into`: what dx holds before.
std::vector<float> relu_backward(const std::vector<float>& y, const std::vector<float>& dy, std::vector<float> into,
                                 GradientMode mode) {
  {
    OnDevice d;
    ew().relu_backward(d.queue(), static_cast<int64_t>(y.size()), d.in(y), d.in(dy), d.out(into), mode);
  }
  return into;
}

std::vector<float> scale(float factor, const std::vector<float>& x, std::vector<float> into, GradientMode mode) {
  {
    OnDevice d;
    ew().scale(d.queue(), static_cast<int64_t>(x.size()), factor, d.in(x), d.out(into), mode);
  }
  return into;
}

std::vector<float> concatenate(const ConcatenateShape& s, const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> y(a.size() + b.size(), NAN);
  {
    OnDevice d;
    ew().concatenate(d.queue(), s, d.in(a), d.in(b), d.out(y));
  }
  return y;
}

/// da or db null: it is not asked for.
void concatenate_backward(const ConcatenateShape& s, const std::vector<float>& dy, std::vector<float>* da,
                          GradientMode da_mode, std::vector<float>* db, GradientMode db_mode) {
  OnDevice d;
  ew().concatenate_backward(d.queue(), s, d.in(dy), da ? d.out(*da) : nullptr, da_mode, db ? d.out(*db) : nullptr,
                            db_mode);
}

}  // namespace

TEST_CASE("elementwise: relu is max(x, 0), in place too, and keeps a NaN") {
  for (int64_t count : counts()) {
    std::vector<float> x = random_normal(count, 1);
    const std::vector<float> y = relu(x);
    CHECK(y == reference::relu(x));
    {
      OnDevice d;
      float* const in_place = d.out(x);
      ew().relu(d.queue(), count, in_place, in_place);
    }
    CHECK(x == y);
  }
  CHECK(std::isnan(relu({NAN})[0]));
}

TEST_CASE("elementwise: relu's gradient is its finite difference; dx may be dy") {
  const int64_t count = 129;
  std::vector<float> x = random_normal(count, 1);
  const std::vector<float> dy = random_normal(count, 2);
  for (float& value : x)
    if (std::abs(value) < 1e-3f) value = 0.5f;
  const std::vector<float> y = relu(x);
  const std::vector<float> dx = relu_backward(y, dy, std::vector<float>(count, NAN), kOverwrite);
  const auto loss = [&](const std::vector<double>& v) {
    const std::vector<double> out = reference::relu(v);
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy[i];
    return sum;
  };
  check_close(dx, finite_differences(loss, to_double(x)), 1e-7, "dx");

  CHECK(relu_backward(y, dy, dx, kAccumulate) == scaled(dx, 2));
  std::vector<float> in_place = dy;
  {
    OnDevice d;
    float* const both = d.out(in_place);
    ew().relu_backward(d.queue(), count, d.in(y), both, both, kOverwrite);
  }
  CHECK(in_place == dx);
}

TEST_CASE("elementwise: relu passes no gradient at zero") {
  const std::vector<float> y = {0, -0.0f, 1}, dy = {5, 5, 5};
  CHECK(relu_backward(y, dy, std::vector<float>(3), kOverwrite) == std::vector<float>{0, 0, 5});
}

TEST_CASE("elementwise: add, into either operand too") {
  for (int64_t count : counts()) {
    const std::vector<float> a = random_normal(count, 1), b = random_normal(count, 2);
    std::vector<float> expected(count), y(count), in_a = a, in_b = b;
    for (int64_t i = 0; i < count; ++i) expected[i] = a[i] + b[i];
    {
      OnDevice d;
      float *const to_a = d.out(in_a), *const to_b = d.out(in_b);
      ew().add(d.queue(), count, d.in(a), d.in(b), d.out(y));
      ew().add(d.queue(), count, to_a, d.in(b), to_a);
      ew().add(d.queue(), count, d.in(a), to_b, to_b);
    }
    CHECK(y == expected);
    CHECK(in_a == expected);
    CHECK(in_b == expected);
  }
}

TEST_CASE("elementwise: vectors may start anywhere") {
  const int64_t count = 1001;
  const std::vector<float> a = random_normal(count + 1, 1), b = random_normal(count + 1, 2);
  std::vector<float> y(count + 1, 7.0f);
  {
    OnDevice d;
    ew().add(d.queue(), count, d.in(a) + 1, d.in(b) + 1, d.out(y) + 1);
  }
  CHECK(y[0] == 7);
  for (int64_t i = 1; i <= count; ++i) CHECK(y[i] == a[i] + b[i]);

  const DropoutShape s{.N = 2, .elements = 500, .p = 0.5f, .seed = seed(), .step = 1, .layer = 0};
  const std::vector<float> expected = dropout(s, std::vector<float>(a.begin() + 1, a.end() - 1));
  {
    OnDevice d;
    ew().dropout(d.queue(), s, d.in(a) + 1, d.out(y) + 1, kOverwrite);
  }
  CHECK(std::equal(expected.begin(), expected.end(), y.begin() + 1));
}

TEST_CASE("elementwise: scale overwrites or accumulates") {
  for (int64_t count : counts()) {
    const std::vector<float> x = random_normal(count, 1);
    const std::vector<float> y = scale(-0.25f, x, std::vector<float>(count, NAN), kOverwrite);
    CHECK(y == scaled(x, -0.25f));
    CHECK(scale(0.25f, x, y, kAccumulate) == std::vector<float>(count));
  }
}

TEST_CASE("elementwise: concatenate joins rows, and its gradient takes them apart") {
  std::vector<ConcatenateShape> shapes = {{.rows = 5, .C_a = 1, .C_b = 12},
                                          {.rows = 7, .C_a = 250, .C_b = 3},
                                          {.rows = 9, .C_a = 1001, .C_b = 28},
                                          {.rows = 9, .C_a = 1024, .C_b = 260}};
  for (const ConcatenateCase& c : concatenate_cases())
    if (c.shape.rows < 10000) shapes.push_back(c.shape);
  for (const ConcatenateShape& s : shapes) {
    const std::vector<float> a = random_normal(s.rows * s.C_a, 1), b = random_normal(s.rows * s.C_b, 2);
    std::vector<float> da(a.size(), NAN), db(b.size(), NAN);
    const std::vector<float> y = concatenate(s, a, b);
    CHECK(y == reference::concatenate(s, a, b));
    concatenate_backward(s, y, &da, kOverwrite, &db, kOverwrite);
    CHECK(da == a);
    CHECK(db == b);
    concatenate_backward(s, y, nullptr, kOverwrite, &db, kAccumulate);
    concatenate_backward(s, y, &da, kAccumulate, nullptr, kOverwrite);
    CHECK(da == scaled(a, 2));
    CHECK(db == scaled(b, 2));
  }
}

TEST_CASE("elementwise: concatenate's gradient is its finite difference") {
  const ConcatenateShape s{.rows = 4, .C_a = 3, .C_b = 5};
  const std::vector<float> a = random_normal(12, 1), b = random_normal(20, 2), dy = random_normal(32, 3);
  std::vector<float> da(12), db(20);
  concatenate_backward(s, dy, &da, kOverwrite, &db, kOverwrite);
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
      {
        OnDevice d;
        float* const in_place = d.out(x);
        ew().dropout(d.queue(), s, in_place, in_place, kOverwrite);
      }
      CHECK(x == y);
    }
}

TEST_CASE("elementwise: the end of a residual block is its parts, one after the other") {
  for (const ResidualShape s :
       {ResidualShape{2, 1, 1}, {4, 13, 3}, {2, 1001, 5}, {4, 129, 12}, {2, 700, 64}, {1, 33, 7}})
    for (float p : {0.0f, 0.3f})
      for (bool pends : {false, true}) {
        const int64_t elements = int64_t{s.L} * s.C, count = s.N * elements;
        const int groups = s.N % 2 == 0 ? 2 : 1;
        const std::vector<float> x = random_normal(count, 1), shortcut = random_normal(count, 2),
                                 scale = random_normal(groups * s.C, 3), shift = random_normal(groups * s.C, 4),
                                 dy = random_normal(count, 5), before = random_normal(count, 6);
        const DropoutShape mask{.N = s.N, .elements = elements, .p = p, .seed = 9, .step = 4, .layer = 2};
        const std::string what = fmt::format("{} p={} pends={}", text(s), p, pends);
        std::vector<float> y(count, NAN), a(x), b(shortcut), in_place(shortcut);
        {
          OnDevice d;
          const PendingAffine affine = pends ? PendingAffine{d.in(scale), d.in(shift), groups, true} : PendingAffine{};
          ew().residual(d.queue(), s, d.in(x), affine, d.in(shortcut), {}, mask, d.out(y));
          float* const same = d.out(in_place);
          ew().residual(d.queue(), s, d.in(x), affine, same, {}, mask, same);
          float *const parts = d.out(a), *const sum = d.out(b);
          if (pends)
            batch_norm_kernels(test::device())
                .apply(d.queue(), {groups, s.N, s.L, s.C}, parts, affine.scale, affine.shift, true, parts);
          if (p > 0) ew().dropout(d.queue(), mask, parts, parts, kOverwrite);
          ew().add(d.queue(), count, parts, sum, sum);
          ew().relu(d.queue(), count, sum, sum);
        }
        if (p == 0)
          CHECK_MESSAGE(y == b, what);
        else
          check_close(y, to_double(b), 1e-6,
                      what);  // dropout's factor and the sum may be rounded once instead of twice
        CHECK_MESSAGE(in_place == y, what);

        for (GradientMode mode : {kOverwrite, kAccumulate}) {
          std::vector<float> da(before), db(dy), part_a(before), part_b(dy), both(before), part_both(before),
              gated(count);
          {
            OnDevice d;
            const float *const output = d.in(y), *const upstream = d.in(dy);
            ew().residual_backward(d.queue(), s, output, upstream, mask, d.out(da), mode, d.out(db), kAccumulate);
            float* const to_both = d.out(both);
            ew().residual_backward(d.queue(), s, output, upstream, mask, to_both, kAccumulate, to_both, mode);
            float *const g = d.out(gated), *const to_part_both = d.out(part_both);
            ew().relu_backward(d.queue(), count, output, upstream, g, kOverwrite);
            ew().scale(d.queue(), count, 1, g, d.out(part_b), kAccumulate);
            ew().scale(d.queue(), count, 1, g, to_part_both, mode);
            if (p > 0) {
              ew().dropout(d.queue(), mask, g, d.out(part_a), mode);
              ew().dropout(d.queue(), mask, g, to_part_both, kAccumulate);
            } else {
              ew().scale(d.queue(), count, 1, g, d.out(part_a), mode);
              ew().scale(d.queue(), count, 1, g, to_part_both, kAccumulate);
            }
          }
          CHECK_MESSAGE(da == part_a, what);
          CHECK_MESSAGE(db == part_b, what);
          CHECK_MESSAGE(both == part_both, what);
        }
        std::vector<float> alone(count, NAN), expected(count);
        {
          OnDevice d;
          ew().residual_backward(d.queue(), s, d.in(y), d.in(dy), mask, nullptr, kOverwrite, d.out(alone), kOverwrite);
          ew().relu_backward(d.queue(), count, d.in(y), d.in(dy), d.out(expected), kOverwrite);
        }
        CHECK_MESSAGE(alone == expected, what);
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
  {
    OnDevice d;
    ew().dropout(d.queue(), s, d.in(dy), d.out(sum), kAccumulate);
  }
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

TEST_CASE("elementwise: split_leads puts every sample where its lead, record and view are") {
  for (const SplitLeadsCase& c : split_leads_cases()) {
    const SplitLeadsShape& s = c.shape;
    const std::vector<float> x = random_normal(size_t(s.V) * s.N * s.L * s.C, 1);
    std::vector<float> y(x.size(), NAN);
    {
      OnDevice d;
      ew().split_leads(d.queue(), s, d.in(x), d.out(y));
    }
    std::vector<float> expected(x.size());
    size_t i = 0;
    for (int v = 0; v < s.V; ++v)
      for (int n = 0; n < s.N; ++n)
        for (int l = 0; l < s.L; ++l)
          for (int lead = 0; lead < s.C; ++lead) expected[((size_t(v) * s.C + lead) * s.N + n) * s.L + l] = x[i++];
    CHECK_MESSAGE(y == expected, c.name);
  }
}

TEST_CASE("elementwise: gather takes the rows that it is told, in order and as often") {
  for (const GatherCase& c : gather_cases()) {
    const GatherShape& s = c.shape;
    const std::vector<float> table = random_normal(size_t(c.table_rows) * s.C, 1);
    std::vector<int32_t> rows;
    for (int n = 0; n < s.N; ++n) rows.push_back((n * 31 + c.table_rows - 1) % c.table_rows);
    std::vector<float> y(size_t(s.N) * s.C, NAN), expected;
    {
      OnDevice d;
      ew().gather(d.queue(), s, d.in(table), d.in(rows), d.out(y));
    }
    for (int32_t row : rows)
      expected.insert(expected.end(), table.begin() + row * s.C, table.begin() + (row + 1) * s.C);
    CHECK_MESSAGE(y == expected, c.name);
  }
}

TEST_CASE("elementwise: the same bits for any schedule") {
  const DropoutShape s{.N = 3, .elements = 33000, .p = 0.5f, .seed = seed(), .step = 3, .layer = 1};
  const std::vector<float> x = random_normal(s.N * s.elements, 1);
  check_same_bits_for_any_schedule([&] { return dropout(s, x); }, "dropout");
  check_same_bits_for_any_schedule([&] { return relu(scale(1.7f, x, x, kAccumulate)); }, "scale and relu");
}
