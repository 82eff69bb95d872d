// The sigmoid loss over pairs of rows (SigLIP): against the formulas with the whole matrix, finite differences, values
// known without either, in blocks, and where rows, logits or ids are extreme.

#include "kernels/contrastive/sigmoid_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/common/bf16.h"
#include "kernels/common/error.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/contrastive.h"
#include "tests/reference/sigmoid_loss.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;
constexpr float kTemperature = 0.1f, kBias = -10;  // the paper's at the start

bool small() {
  return device() != Device::cpu;
}

struct Batch {
  std::string what;
  SigmoidShape shape;
  std::vector<float> x, y;  // [A, D], [B, D]
  std::vector<int32_t> row_ids, column_ids;
};

Batch batch_of(const std::string& what, const PairShape& pairs, float bias, const std::vector<float>& x,
               const std::vector<float>& y, const std::vector<int32_t>& row_ids,
               const std::vector<int32_t>& column_ids) {
  return {what, {pairs, bias, pair_count(pairs)}, x, y, row_ids, column_ids};
}

Batch exchanged(const Batch& b) {
  return {b.what + " from the columns",
          {transposed(b.shape.pairs), b.shape.bias, b.shape.count},
          b.y,
          b.x,
          b.column_ids,
          b.row_ids};
}

/// `count` unit rows in groups, row i being of group i % groups: near positives and far negatives.
std::vector<float> grouped_rows(int count, int D, int groups, uint32_t which) {
  const std::vector<float> centres = random_normal(size_t(groups) * D, 20);
  std::vector<float> x = random_normal(size_t(count) * D, which, 0.5f);
  for (int i = 0; i < count; ++i)
    for (int d = 0; d < D; ++d) x[size_t(i) * D + d] += centres[i % groups * D + d];
  return reference::l2_normalize<float>(count, D, x);
}

/// i % groups.
std::vector<int32_t> group_ids(int count, int groups) {
  std::vector<int32_t> ids(count);
  for (int i = 0; i < count; ++i) ids[i] = i % groups;
  return ids;
}

/// Two sets, row i and column j of one record where i and j are equal modulo `records`.
Batch two_sets(int A, int B, int D, int records, float temperature = kTemperature, float bias = kBias) {
  return batch_of("two sets", {A, B, D, temperature}, bias, grouped_rows(A, D, records, 1),
                  grouped_rows(B, D, records, 2), group_ids(A, records), group_ids(B, records));
}

/// Two views of M / 2 records, one after the other.
Batch one_set(int M, int D, float temperature = kTemperature, float bias = kBias) {
  const int records = std::max(M / 2, 1);
  const std::vector<float> z = grouped_rows(M, D, records, 1);
  const std::vector<int32_t> ids = group_ids(M, records);
  return batch_of("one set", {M, M, D, temperature, true}, bias, z, z, ids, ids);
}

// The kernels.

void add_loss(const Batch& b, float& loss, GradientMode mode, Precision precision = Precision::f32) {
  OnDevice d(precision);
  sigmoid_loss_kernels(device()).loss(d.queue(), b.shape, d.in(b.x), d.in(b.y), d.in(b.row_ids), d.in(b.column_ids),
                                      d.out(&loss, 1), mode);
}

float loss_of(const Batch& b, Precision precision = Precision::f32) {
  float loss = NAN;
  add_loss(b, loss, kOverwrite, precision);
  return loss;
}

/// dbias may be null.
void add_gradient(const Batch& b, float upstream, std::vector<float>& dx, float* dbias, GradientMode mode,
                  Precision precision = Precision::f32) {
  OnDevice d(precision);
  const std::vector<float> scale{upstream};
  sigmoid_loss_kernels(device()).gradient(d.queue(), b.shape, d.in(b.x), d.in(b.y), d.in(b.row_ids), d.in(b.column_ids),
                                          d.in(scale), d.out(dx), dbias ? d.out(dbias, 1) : nullptr, mode);
}

float temperature_gradient(const Batch& b, const std::vector<float>& dx) {
  const PairShape& s = b.shape.pairs;
  float result = NAN;
  OnDevice d;
  pair_loss_kernels(device()).temperature(d.queue(), {s.A, s.D, s.temperature, s.same_rows}, d.in(b.x), d.in(dx),
                                          d.out(&result, 1), kOverwrite);
  d.finish();
  return result;
}

/// Everything that the loss of a batch has: reference::SigmoidLoss of floats, but for one set dx has both roles, dy
/// none.
reference::SigmoidLoss<float> sigmoid_loss(const Batch& b, Precision precision = Precision::f32) {
  reference::SigmoidLoss<float> result;
  result.loss = loss_of(b, precision);
  result.dbias = NAN;
  result.dx.assign(b.x.size(), NAN);
  add_gradient(b, 1, result.dx, &result.dbias, kOverwrite, precision);
  result.dtemperature = temperature_gradient(b, result.dx);
  if (b.shape.pairs.same_rows) return result;
  result.dy.assign(b.y.size(), NAN);
  add_gradient(exchanged(b), 1, result.dy, nullptr, kOverwrite, precision);
  return result;
}

/// The same of the reference.
template <class T>
reference::SigmoidLoss<T> reference_of(const Batch& b) {
  auto result =
      reference::sigmoid_loss<T>(b.shape, {b.x.begin(), b.x.end()}, {b.y.begin(), b.y.end()}, b.row_ids, b.column_ids);
  if (!b.shape.pairs.same_rows) return result;
  for (size_t k = 0; k < result.dx.size(); ++k) result.dx[k] += result.dy[k];
  result.dy.clear();
  return result;
}

std::string name_of(const Batch& b) {
  return fmt::format("{}, {}", b.what, text(b.shape));
}

/// At most twice the error of the plain float code, or `rounding` where that code is right by luck.
void check_error(const std::vector<float>& kernel, const std::vector<float>& plain, const std::vector<double>& exact,
                 double rounding, const std::string& what) {
  const double error = max_error(kernel, exact), allowed = std::max(2 * max_error(plain, exact), rounding);
  CHECK_MESSAGE(error <= allowed,
                fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error, allowed, seed()));
}

/// What may be wrong in any case. A logit is, by four roundings of what it is made of; softplus then is by σ(a) times
/// that, and so is σ itself at most. Equal rows have equal terms, which round to the same side each time they are
/// added. 2^-126 is where numbers end.
struct Rounding {
  double loss, dx, dbias, dtemperature;

  template <class Exact>
  Rounding(const Batch& b, const Exact& exact, bool equal_rows, double roundings = 4) {
    const PairShape& s = b.shape.pairs;
    const double t = 1 / double{s.temperature}, roles = s.same_rows ? 2 : 1;
    const double logit = roundings * 0x1p-24 * (1 + t + std::abs(b.shape.bias));
    const double share = logit + (equal_rows ? std::max(s.A, s.B) * 0x1p-25 : 0);
    loss = 0x1p-126 + exact.pull * share + roundings * 0x1p-24 * exact.loss;
    dx = t * (0x1p-126 + roles * exact.row_pull * share);
    dbias = 0x1p-126 + exact.pull * share;
    dtemperature = t * t * dbias;
  }
};

void check_against_the_matrix(const Batch& b, bool equal_rows = false) {
  const std::string what = name_of(b);
  const auto kernel = sigmoid_loss(b);
  const auto plain = reference_of<float>(b);
  const auto exact = reference_of<double>(b);
  const Rounding rounding(b, exact, equal_rows);
  check_error({kernel.loss}, {plain.loss}, {exact.loss}, rounding.loss, what + ", loss");
  check_error(kernel.dx, plain.dx, exact.dx, rounding.dx, what + ", dx");
  check_error(kernel.dy, plain.dy, exact.dy, rounding.dx, what + ", dy");
  check_error({kernel.dbias}, {plain.dbias}, {exact.dbias}, rounding.dbias, what + ", dbias");
  check_error({kernel.dtemperature}, {plain.dtemperature}, {exact.dtemperature}, rounding.dtemperature,
              what + ", dtemperature");
}

TEST_CASE("sigmoid loss: it agrees with the whole matrix for every kind of shape") {
  const std::vector<int> counts =
      small() ? std::vector<int>{1, 2, 3, 6, 64, 127, 129} : std::vector<int>{1, 2, 3, 6, 64, 127, 129, 1000};
  for (int A : counts)
    for (int B : counts)
      for (int D : {8, 31, 128, 200}) {
        if (A > 6 && B > 6 && (small() ? D != 31 && !(A == 129 && B == 127) : A + B >= 1000 && D != 31)) continue;
        check_against_the_matrix(two_sets(A, B, D, std::max(A, B)));
        if (D == 31) check_against_the_matrix(two_sets(A, B, D, A / 5 + 1));  // patients with several records
      }
  for (int M : counts)
    for (int D : {8, 31, 128, 200})
      if (M > 1 && (M < 64 || D == 31 || (M == 127 && D == 200) || (!small() && M < 1000)))
        check_against_the_matrix(one_set(M, D));
}

TEST_CASE("sigmoid loss: it agrees with the whole matrix at every temperature and bias") {
  for (float temperature : {0.005f, 0.01f, 0.02f, 0.07f, 0.5f, 1.0f, 10.0f})
    for (float bias : {-10.0f, -1.0f, 0.0f, 7.0f, 150.0f})
      for (const Batch& b : {two_sets(67, 70, 16, 70, temperature, bias), one_set(67, 16, temperature, bias)})
        check_against_the_matrix(b);
}

TEST_CASE("sigmoid loss: softplus and its slope keep their relative accuracy, however small they are") {
  // One pair of rows of zeros: its logit is the bias.
  const int biases = small() ? 48 : 471;  // from −87 to 87
  for (bool positive : {true, false})
    for (int i = 0; i < biases; ++i) {
      const float bias = -87 + 174 * static_cast<float>(i) / static_cast<float>(biases - 1);
      const Batch b = batch_of("zeros", {1, 1, 3, 1.0f}, bias, {0, 0, 0}, {0, 0, 0}, {4}, {positive ? 4 : 5});
      const double against = positive ? -double{bias} : double{bias};
      const double loss = std::log1p(std::exp(against)), slope = 1 / (1 + std::exp(-against));
      std::vector<float> dx(3, NAN);
      float dbias = NAN;
      add_gradient(b, 1, dx, &dbias, kOverwrite);
      const double allowed = (2 + std::abs(bias)) * 0x1p-23;  // that of e^a itself where a has one rounding
      CHECK_MESSAGE(std::abs(loss_of(b) / loss - 1) <= allowed, name_of(b));
      CHECK_MESSAGE(std::abs(dbias / (positive ? -slope : slope) - 1) <= allowed, name_of(b));
      CHECK(max_magnitude(dx) == 0);
    }
}

TEST_CASE("sigmoid loss: logits of 200 on either side are right") {
  // Rows and columns are +1 or −1: s is exactly 1 or −1, the logit 200 or −200.
  const int M = 130;
  for (bool positive : {true, false})
    for (bool alike : {true, false}) {
      std::vector<float> x(M), y(M);
      for (int i = 0; i < M; ++i) x[i] = i % 2 ? 1.0f : -1.0f, y[i] = alike ? 1.0f : -1.0f;
      const std::vector<float> ones(M, 1.0f);
      const Batch b = batch_of("far", {M, M, 1, 0.005f}, 0, ones, y, std::vector<int32_t>(M, 1),
                               std::vector<int32_t>(M, positive ? 1 : 2));
      const auto result = sigmoid_loss(b);
      const double wrong = positive == alike ? 0 : 1, sign = alike ? 1 : -1;
      CHECK(result.loss == doctest::Approx(wrong * 200).epsilon(1e-6));
      CHECK(result.dbias == doctest::Approx(wrong * sign).epsilon(1e-6));
      for (float dx : result.dx) CHECK(dx == doctest::Approx(wrong * 200 / M).epsilon(1e-6));  // away from y's sign
      CHECK(result.dtemperature == doctest::Approx(-wrong * 200 * 200).epsilon(1e-6));
    }
}

/// Batches that go wrong where a kernel overflows, or counts what is no pair.
std::vector<Batch> extreme_batches(float temperature, float bias) {
  const int M = small() ? 70 : 132, D = 5;  // more than one tile
  std::vector<Batch> batches;
  const auto add = [&](const std::string& what, const auto& change) {
    for (bool same : {true, false}) {
      Batch b = one_set(M, D, temperature, bias);
      change(b);
      b.y = b.x, b.column_ids = b.row_ids;
      b.what = what + (same ? ", one set" : ", two sets");
      b.shape.pairs.same_rows = same, b.shape.count = pair_count(b.shape.pairs);
      batches.push_back(b);
    }
  };
  const auto make_identical = [&](Batch& b) {
    for (int i = 1; i < M; ++i) std::copy_n(b.x.begin(), D, b.x.begin() + i * D);
  };
  add("identical rows", make_identical);
  add("identical rows of one patient", [&](Batch& b) {
    make_identical(b);
    std::fill(b.row_ids.begin(), b.row_ids.end(), 3);
  });
  add("rows of zeros", [&](Batch& b) {
    std::fill_n(b.x.begin(), D, 0.0f);
    std::fill_n(b.x.begin() + 40 * D, 3 * D, 0.0f);
  });
  add("nothing but zeros", [&](Batch& b) { std::fill(b.x.begin(), b.x.end(), 0.0f); });
  add("one patient", [&](Batch& b) { std::fill(b.row_ids.begin(), b.row_ids.end(), -5); });
  add("no positives", [&](Batch& b) { std::iota(b.row_ids.begin(), b.row_ids.end(), 0); });
  add("each opposite to its positive", [&](Batch& b) {
    for (int i = 0; i < M; ++i)
      for (int d = 0; d < D; ++d) b.x[i * D + d] = d > 0 ? 0.0f : i < M / 2 ? 1.0f : -1.0f;
  });
  return batches;
}

TEST_CASE("sigmoid loss: extreme batches are finite and right") {
  for (const auto& [temperature, bias] : {std::pair{0.005f, 0.0f}, {0.005f, -10.0f}, {0.1f, -10.0f}, {10.0f, 3.0f}})
    for (const Batch& b : extreme_batches(temperature, bias)) {
      const auto kernel = sigmoid_loss(b);
      for (float value : {kernel.loss, kernel.dbias, kernel.dtemperature})
        CHECK_MESSAGE(std::isfinite(value), name_of(b));
      CHECK_MESSAGE(std::all_of(kernel.dx.begin(), kernel.dx.end(), [](float v) { return std::isfinite(v); }),
                    name_of(b));
      check_against_the_matrix(b, true);
    }
}

TEST_CASE("sigmoid loss: a number that is none in a row is one in the loss") {
  for (int row : {0, 63, 129}) {
    Batch b = two_sets(130, 140, 31, 140);
    b.x[row * 31 + 30] = NAN;
    CHECK(std::isnan(loss_of(b)));
  }
}

/// Rows [first, first + count).
template <class T>
std::vector<T> part(const std::vector<T>& values, int first, int count, int width = 1) {
  const auto begin = values.begin() + int64_t{first} * width;
  return {begin, begin + int64_t{count} * width};
}

/// Block (i, j) of 4 × 4; the count stays that of the whole.
Batch block_of(const Batch& b, int i, int j) {
  const PairShape& whole = b.shape.pairs;
  const int row = whole.A * i / 4, column = whole.B * j / 4;
  Batch result = b;
  PairShape& shape = result.shape.pairs;
  shape.A = whole.A * (i + 1) / 4 - row, shape.B = whole.B * (j + 1) / 4 - column;
  shape.first_row = row, shape.first_column = column;
  result.x = part(b.x, row, shape.A, whole.D), result.y = part(b.y, column, shape.B, whole.D);
  result.row_ids = part(b.row_ids, row, shape.A);
  result.column_ids = part(b.column_ids, column, shape.B);
  return result;
}

TEST_CASE("sigmoid loss: four blocks of columns and four of rows are the whole") {
  for (const Batch& b : {one_set(150, 31), two_sets(130, 170, 31, 170), two_sets(130, 150, 8, 30, 0.02f, -5),
                         one_set(130, 16, 0.01f, 3)}) {
    const PairShape& shape = b.shape.pairs;
    float loss = 0, dbias = 0;
    int64_t pairs = 0;
    std::vector<float> dx, dy(shape.same_rows ? 0 : b.y.size());
    for (int i = 0; i < 4; ++i) {
      std::vector<float> own(block_of(b, i, 0).x.size(), 0.0f);
      for (int j = 0; j < 4; ++j) {
        const Batch one = block_of(b, i, j);
        pairs += pair_count(one.shape.pairs);
        add_loss(one, loss, kAccumulate);
        add_gradient(one, 1, own, &dbias, kAccumulate);
        if (shape.same_rows) continue;
        const int column = one.shape.pairs.first_column;
        std::vector<float> columns = part(dy, column, one.shape.pairs.B, shape.D);
        add_gradient(exchanged(one), 1, columns, nullptr, kAccumulate);
        std::copy(columns.begin(), columns.end(), dy.begin() + column * shape.D);
      }
      dx.insert(dx.end(), own.begin(), own.end());
    }
    CHECK(pairs == b.shape.count);
    const auto plain = reference_of<float>(b);
    const auto exact = reference_of<double>(b);
    const std::string what = name_of(b) + ", in blocks";
    const Rounding rounding(b, exact, false);
    check_error({loss}, {plain.loss}, {exact.loss}, rounding.loss, what + ", loss");
    check_error(dx, plain.dx, exact.dx, rounding.dx, what + ", dx");
    check_error(dy, plain.dy, exact.dy, rounding.dx, what + ", dy");
    check_error({dbias}, {plain.dbias}, {exact.dbias}, rounding.dbias, what + ", dbias");
    check_error({temperature_gradient(b, dx)}, {plain.dtemperature}, {exact.dtemperature}, rounding.dtemperature,
                what + ", dtemperature");
  }
}

TEST_CASE("sigmoid loss: gradients are scaled by upstream and added on request, with the bias's or without") {
  for (const Batch& b : {one_set(130, 13), two_sets(70, 130, 140, 130)}) {
    std::vector<float> once(b.x.size(), NAN), alone = once;
    float dbias_once = NAN, dbias = 3;
    add_gradient(b, 1, once, &dbias_once, kOverwrite);
    add_gradient(b, 1, alone, nullptr, kOverwrite);
    CHECK(alone == once);

    const std::vector<float> start = random_normal(once.size(), 9);
    std::vector<float> dx = start, expected(start.size());
    add_gradient(b, -2, dx, &dbias, kAccumulate);
    for (size_t k = 0; k < dx.size(); ++k) expected[k] = start[k] - 2 * once[k];
    check_close(dx, expected, 1e-6, "dx");
    CHECK(dbias == doctest::Approx(3 - 2 * dbias_once).epsilon(1e-6));
  }
}

TEST_CASE("sigmoid loss: the reference's gradients agree with finite differences") {
  for (const Batch& b : {two_sets(5, 6, 4, 6, 0.3f, -2), two_sets(6, 4, 3, 2, 0.5f, 1), one_set(6, 4, 0.3f, -1)}) {
    const auto exact =
        reference::sigmoid_loss<double>(b.shape, to_double(b.x), to_double(b.y), b.row_ids, b.column_ids);
    const auto loss = [&](const SigmoidShape& shape, const std::vector<double>& x, const std::vector<double>& y) {
      return reference::sigmoid_loss<double>(shape, x, y, b.row_ids, b.column_ids).loss;
    };
    const std::vector<double> x = to_double(b.x), y = to_double(b.y);
    check_close(exact.dx, finite_differences([&](const auto& rows) { return loss(b.shape, rows, y); }, x), 1e-7,
                b.what + ", dx");
    check_close(exact.dy, finite_differences([&](const auto& columns) { return loss(b.shape, x, columns); }, y), 1e-7,
                b.what + ", dy");
    // Temperature and bias are floats.
    const auto slope = [&](const auto& number_of) {
      SigmoidShape above = b.shape, below = b.shape;
      number_of(above) += 0x1p-12f, number_of(below) -= 0x1p-12f;
      return (loss(above, x, y) - loss(below, x, y)) / (double{number_of(above)} - number_of(below));
    };
    CHECK(exact.dtemperature ==
          doctest::Approx(slope([](auto& s) -> float& { return s.pairs.temperature; })).epsilon(1e-5));
    CHECK(exact.dbias == doctest::Approx(slope([](auto& s) -> float& { return s.bias; })).epsilon(1e-5));
  }
}

std::vector<float> everything(const Batch& b) {
  const auto result = sigmoid_loss(b);
  std::vector<float> all = result.dx;
  all.insert(all.end(), result.dy.begin(), result.dy.end());
  all.insert(all.end(), {result.loss, result.dbias, result.dtemperature});
  return all;
}

TEST_CASE("sigmoid loss: every result has the same bits under any schedule, and in twenty repeats") {
  for (int M : {10, small() ? 260 : 1000})
    for (const Batch& b : {one_set(M, 64), two_sets(M / 2, M + 3, 130, M)})
      check_same_bits_for_any_schedule([&] { return everything(b); }, name_of(b));
  const Batch b = one_set(small() ? 66 : 400, 20);
  const std::vector<float> first = everything(b);
  for (int repeat = 1; repeat < 20; ++repeat) CHECK(everything(b) == first);
}

/// With rows rounded to the precision the first product is exact but for its sums; the gradient's second product rounds
/// the weights too. The bias has them before.
void check_rounded(Batch b, Precision precision) {
  const std::string what = fmt::format("{} in {}", name_of(b), name(precision));
  const auto kernel = sigmoid_loss(b, precision);
  const std::vector<float> rows = b.x;
  for (auto* values : {&b.x, &b.y})
    for (float& v : *values) v = precision == Precision::tf32 ? to_tf32(v) : to_float(to_bf16(v));
  const auto exact = reference_of<double>(b);
  const Rounding rounding(b, exact, false, 32);
  CHECK_MESSAGE(std::abs(kernel.loss - exact.loss) <= rounding.loss, what);
  CHECK_MESSAGE(std::abs(kernel.dbias - exact.dbias) <= rounding.dbias, what);
  const double u = precision == Precision::tf32 ? 0x1p-11 : 0x1p-8;
  const double roles = b.shape.pairs.same_rows ? 2 : 1;
  const double allowed = rounding.dx + u * roles * exact.row_pull / b.shape.pairs.temperature;
  CHECK_MESSAGE(max_error(kernel.dx, exact.dx) <= allowed, what);
  CHECK_MESSAGE(max_error(kernel.dy, exact.dy) <= allowed, what);
}

TEST_CASE("sigmoid loss: in tf32 and bf16 it is that of rounded rows") {
  if (device() == Device::cpu) return;  // it has f32 alone
  for (Precision precision : {Precision::tf32, Precision::bf16}) {
    for (const auto& [M, D] : {std::pair{3, 3}, {127, 64}, {130, 200}})
      for (const Batch& b : {one_set(M, D), two_sets(M, M + 5, D, M)}) check_rounded(b, precision);
    for (float temperature : {0.005f, 0.02f, 0.5f})
      for (float bias : {-10.0f, 2.0f})
        for (const Batch& b : {one_set(67, 16, temperature, bias), two_sets(67, 64, 16, 67, temperature, bias)})
          check_rounded(b, precision);
  }
}

TEST_CASE("sigmoid loss: the number of pairs leaves out a row with itself, wherever a block lies") {
  CHECK(pair_count({7, 9, 3, 0.1f}) == 63);
  CHECK(pair_count({7, 7, 3, 0.1f, true}) == 42);
  CHECK(pair_count({4, 6, 3, 0.1f, true, 2, 5}) == 24 - 1);  // row 5
  CHECK(pair_count({4, 6, 3, 0.1f, true, 0, 4}) == 24);
  CHECK(pair_count({100'000, 100'000, 3, 0.1f, true}) == 9'999'900'000);
}

TEST_CASE("sigmoid loss: an impossible shape, bias or count is refused with its value") {
  const auto refuses = [](const SigmoidShape& shape, const char* words) {
    CHECK(sentence_of<Error>([&] { check(shape); }).find(words) != std::string::npos);
  };
  refuses({{0, 4, 8, 0.1f}, 0, 4}, "0 rows");
  refuses({{4, 4, 8, -1.0f}, 0, 16}, "temperature");
  for (float bias : {NAN, INFINITY}) refuses({{4, 4, 8, 0.1f}, bias, 16}, "bias");
  refuses({{1, 1, 8, 0.1f, true}, 0, pair_count({1, 1, 8, 0.1f, true})}, "0 pairs");
}

}  // namespace
