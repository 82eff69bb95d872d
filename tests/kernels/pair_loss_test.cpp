// Losses over pairs of rows: every one that is defined by them, against the formulas with the whole matrix, finite
// differences, NT-Xent's own kernels, in blocks, and where rows or temperatures are extreme.

#include "kernels/contrastive/pair_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/common/bf16.h"
#include "kernels/common/error.h"
#include "kernels/contrastive/contrastive.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/contrastive.h"
#include "tests/reference/pair_loss.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

const PairLossKernels& pair_losses() {
  return pair_loss_kernels(device());
}

bool small() {
  return device() != Device::cpu;
}

/// One direction of a loss: rows, columns, and who belongs to whom.
struct Batch {
  std::string what;
  PairShape shape;
  PairMean mean;
  std::vector<float> x, y;  // [A, D], [B, D]
  std::vector<int32_t> row_ids, column_ids;
};

Batch exchanged(const Batch& b) {
  return {b.what + " from the columns", transposed(b.shape), b.mean, b.y, b.x, b.column_ids, b.row_ids};
}

std::vector<float> unit_rows(std::vector<float> x, int D) {
  return reference::l2_normalize<float>(static_cast<int>(x.size()) / D, D, x);
}

/// `count` rows in groups, row i being of group i % groups: near positives, near negatives and far ones.
std::vector<float> grouped_rows(int count, int D, int groups, uint32_t which) {
  const std::vector<float> centres = random_normal(size_t(groups / 4 + 1) * D, 20),
                           records = random_normal(size_t(groups) * D, 21);
  std::vector<float> x = random_normal(size_t(count) * D, which, 0.3f);
  for (int i = 0; i < count; ++i)
    for (int d = 0; d < D; ++d)
      x[size_t(i) * D + d] += centres[i % groups / 4 * D + d] + 0.5f * records[i % groups * D + d];
  return unit_rows(x, D);
}

/// i % groups.
std::vector<int32_t> group_ids(int count, int groups) {
  std::vector<int32_t> ids(count);
  for (int i = 0; i < count; ++i) ids[i] = i % groups;
  return ids;
}

Batch one_set(const std::string& what, int M, int D, int groups, float temperature) {
  const std::vector<float> z = grouped_rows(M, D, groups, 1);
  const std::vector<int32_t> ids = group_ids(M, groups);
  return {what, {M, M, D, temperature, true}, PairMean::rows, z, z, ids, ids};
}

// The losses.

Batch nt_xent(int M, int D, float temperature) {
  return one_set("NT-Xent", M, D, std::max(M / 2, 1), temperature);
}

Batch supcon(int M, int D, float temperature) {  // patients with several records; some with one view, which has no loss
  Batch b = one_set("SupCon", M, D, std::max(M / 5, 1), temperature);
  for (int i = 0; i < M; i += 7) b.row_ids[i] = b.column_ids[i] = 1000 + i;
  return b;
}

Batch dcl(int M, int D, float temperature) {
  Batch b = nt_xent(M, D, temperature);
  b.what = "DCL";
  b.shape.positives_in_denominator = false;
  return b;
}

Batch info_nce(int A, int D, float temperature) {
  const std::vector<int32_t> ids = group_ids(A, A);
  return {"InfoNCE", {A, A, D, temperature}, PairMean::rows, grouped_rows(A, D, A, 1), grouped_rows(A, D, A, 2), ids,
          ids};
}

Batch moco(int A, int B, int D, float temperature) {  // the keys of the rows, then a queue that is nobody's positive
  std::vector<int32_t> keys = group_ids(B, B);
  for (int j = A; j < B; ++j) keys[j] = -1;
  return {"MoCo",
          {A, B, D, temperature},
          PairMean::rows,
          grouped_rows(A, D, B, 1),
          grouped_rows(B, D, B, 2),
          group_ids(A, B),
          keys};
}

Batch clocs(int A, int D, float temperature) {
  const int patients = A / 3 + 1;
  const std::vector<int32_t> ids = group_ids(A, patients);
  return {"CLOCS",
          {A, A, D, temperature},
          PairMean::positives,
          grouped_rows(A, D, patients, 1),
          grouped_rows(A, D, patients, 2),
          ids,
          ids};
}

std::vector<Batch> all_losses(int M, int D, float temperature) {
  return {nt_xent(M, D, temperature),  supcon(M, D, temperature),          dcl(M, D, temperature),
          info_nce(M, D, temperature), moco(M, 2 * M + 5, D, temperature), clocs(M, D, temperature)};
}

// The kernels.

std::vector<PairSums> sums_of(const Batch& b, Precision precision = Precision::f32) {
  std::vector<PairSums> sums(b.shape.A, PairSums{NAN, NAN, NAN, -1});
  OnDevice d(precision);
  pair_losses().sums(d.queue(), b.shape, d.in(b.x), d.in(b.y), d.in(b.row_ids), d.in(b.column_ids), d.out(sums),
                     kOverwrite);
  return sums;
}

struct Forward {
  float loss = NAN;
  std::vector<PairRow> rows;
  int32_t left_out = -1;
};

Forward forward_of(const Batch& b, const std::vector<PairSums>& sums) {
  Forward result{NAN, std::vector<PairRow>(sums.size(), PairRow{NAN, NAN, NAN}), -1};
  OnDevice d;
  pair_losses().loss(d.queue(), {static_cast<int>(sums.size()), b.shape.temperature, b.mean}, d.in(sums),
                     d.out(&result.loss, 1), d.out(result.rows), d.out(&result.left_out, 1));
  return result;
}

/// dx of a batch; rows and columns as pair_loss.h has them, empty for null.
void add_gradient(const Batch& b, const std::vector<PairRow>& rows, const std::vector<PairRow>& columns, float upstream,
                  std::vector<float>& dx, GradientMode mode, Precision precision = Precision::f32) {
  OnDevice d(precision);
  const std::vector<float> scale{upstream};
  pair_losses().gradient(d.queue(), b.shape, d.in(b.x), d.in(b.y), d.in(b.row_ids), d.in(b.column_ids),
                         rows.empty() ? nullptr : d.in(rows), columns.empty() ? nullptr : d.in(columns), d.in(scale),
                         d.out(dx), mode);
}

std::vector<float> gradient_of(const Batch& b, const std::vector<PairRow>& rows, const std::vector<PairRow>& columns,
                               Precision precision = Precision::f32) {
  std::vector<float> dx(b.x.size(), NAN);
  add_gradient(b, rows, columns, 1, dx, kOverwrite, precision);
  return dx;
}

float temperature_gradient(const Batch& b, const std::vector<float>& dx, bool both_roles = false) {
  float result = NAN;
  OnDevice d;
  pair_losses().temperature(d.queue(), {b.shape.A, b.shape.D, b.shape.temperature, both_roles}, d.in(b.x), d.in(dx),
                            d.out(&result, 1), kOverwrite);
  d.finish();
  return result;
}

/// Everything that a direction of a loss has: reference::PairLoss of floats.
reference::PairLoss<float> pair_loss(const Batch& b, Precision precision = Precision::f32) {
  const Forward forward = forward_of(b, sums_of(b, precision));
  reference::PairLoss<float> result;
  result.loss = forward.loss;
  result.left_out = forward.left_out;
  for (const PairRow& row : forward.rows) result.log_sum.push_back(row.log_sum);
  result.dx = gradient_of(b, forward.rows, {}, precision);
  result.dy = gradient_of(exchanged(b), {}, forward.rows, precision);
  result.dtemperature = temperature_gradient(b, result.dx);
  return result;
}

template <class T>
reference::PairLoss<T> reference_of(const Batch& b) {
  return reference::pair_loss<T>(b.shape, b.mean, {b.x.begin(), b.x.end()}, {b.y.begin(), b.y.end()}, b.row_ids,
                                 b.column_ids);
}

/// At most twice the error of the plain float code, or `rounding` where that code is right by luck.
void check_error(const std::vector<float>& kernel, const std::vector<float>& plain, const std::vector<double>& exact,
                 double rounding, const std::string& what) {
  const double error = max_error(kernel, exact), allowed = std::max(2 * max_error(plain, exact), rounding);
  CHECK_MESSAGE(error <= allowed,
                fmt::format("{}: error {:.3g}, allowed {:.3g}, SYSTOLE_TEST_SEED={}", what, error, allowed, seed()));
}

std::string name_of(const Batch& b) {
  return fmt::format("{}, {}", b.what, text(b.shape));
}

/// a + b.
template <class T>
std::vector<T> sum_of(std::vector<T> a, const std::vector<T>& b) {
  for (size_t k = 0; k < a.size(); ++k) a[k] += b[k];
  return a;
}

/// What may be wrong in any case: a logit by four roundings, and with it the softmax, which is half of all parts of
/// weights: of `pull` in a row's gradient, of 2 in all of them. Equal rows have equal terms, which round to the same
/// side each time they are added.
struct Rounding {
  double logit, gradient, temperature;

  Rounding(const Batch& b, double pull, bool equal_rows) {
    const double c = 1 / double{b.shape.temperature};
    logit = 4 * 0x1p-24 * (1 + c);
    const double share = logit / 2 + (equal_rows ? std::max(b.shape.A, b.shape.B) * 0x1p-25 : 0);
    gradient = c * pull * (equal_rows ? share : logit / 4);
    temperature = c * c * 2 * share;
  }
};

void check_against_the_matrix(const Batch& b, bool equal_rows = false) {
  const std::string what = name_of(b);
  const auto kernel = pair_loss(b);
  const auto plain = reference_of<float>(b);
  const auto exact = reference_of<double>(b);
  const Rounding rounding(b, exact.pull, equal_rows);
  check_error({kernel.loss}, {plain.loss}, {exact.loss}, rounding.logit, what + ", loss");
  check_error(kernel.log_sum, plain.log_sum, exact.log_sum, rounding.logit, what + ", log_sum");
  check_error(kernel.dx, plain.dx, exact.dx, rounding.gradient, what + ", dx");
  check_error(kernel.dy, plain.dy, exact.dy, rounding.gradient, what + ", dy");
  check_error({kernel.dtemperature}, {plain.dtemperature}, {exact.dtemperature}, rounding.temperature,
              what + ", dtemperature");
  CHECK(kernel.left_out == exact.left_out);
  if (!b.shape.same_rows) return;

  // One call gives what a pair gets from its row and from its column.
  const std::vector<PairRow> rows = forward_of(b, sums_of(b)).rows;
  const std::vector<float> both = gradient_of(b, rows, rows);
  check_error(both, sum_of(plain.dx, plain.dy), sum_of(exact.dx, exact.dy), 2 * rounding.gradient,
              what + ", both roles");
  check_error({temperature_gradient(b, both, true)}, {plain.dtemperature}, {exact.dtemperature}, rounding.temperature,
              what + ", dtemperature of both roles");
}

TEST_CASE("pair loss: every loss agrees with the whole matrix for every kind of shape") {
  for (int M : {2, 3, 6, 64, 127, 129})
    for (int D : {8, 31, 128, 200})
      if (M < 64 || D == 31 || (M == 127 && D == 200) || !small())
        for (const Batch& b : all_losses(M, D, 0.07f)) check_against_the_matrix(b);
  for (const Batch& b : all_losses(300, 31, 0.07f)) check_against_the_matrix(b);
  if (!small())
    for (const Batch& b : {supcon(1000, 8, 0.07f), clocs(1000, 8, 0.1f)}) check_against_the_matrix(b);
  for (const auto& [A, B] : {std::pair{1, 1}, {1, 300}, {300, 1}, {2, 129}, {129, 3}, {64, 127}}) {
    Batch b = moco(std::min(A, B), std::max(A, B), 31, 0.07f);
    check_against_the_matrix(A <= B ? b : exchanged(b));
  }
}

TEST_CASE("pair loss: NT-Xent has the values of its own kernels") {
  for (float temperature : {0.01f, 0.02f, 0.07f, 0.5f})
    for (int M : {4, 130, 300}) {
      const Batch b = nt_xent(M, 31, temperature);
      const NtXentShape s{M, 31, temperature};
      reference::NtXent<float> own{NAN, std::vector<float>(M, NAN), std::vector<float>(b.x.size(), NAN)};
      {
        OnDevice d;
        const float* z = d.in(b.x);
        float *loss = d.out(&own.loss, 1), *log_sum = d.out(own.log_sum);
        contrastive_kernels(device()).nt_xent_forward(d.queue(), s, z, loss, log_sum);
        const std::vector<float> one{1};
        contrastive_kernels(device()).nt_xent_backward(d.queue(), s, z, log_sum, d.in(one), d.out(own.dz), kOverwrite);
      }
      const Forward forward = forward_of(b, sums_of(b));
      const std::string what = name_of(b);
      const double c = 1 / double{temperature}, logit = 4 * 0x1p-24 * (1 + c);
      CHECK_MESSAGE(std::abs(forward.loss - own.loss) <= logit, what);
      for (int i = 0; i < M; ++i) CHECK_MESSAGE(std::abs(forward.rows[i].log_sum - own.log_sum[i]) <= logit, what);
      CHECK_MESSAGE(max_error(gradient_of(b, forward.rows, forward.rows), own.dz) <= 2 * c / M * logit, what);
    }
}

TEST_CASE("pair loss: a symmetric loss is the sum of its two directions, whose gradients one call can have") {
  for (const Batch& b : {info_nce(129, 31, 0.07f), clocs(129, 31, 0.1f), clocs(64, 8, 0.015f)}) {
    const Batch back = exchanged(b);
    check_against_the_matrix(back);
    const Forward there = forward_of(b, sums_of(b)), here = forward_of(back, sums_of(back));
    const auto first = reference_of<double>(b), second = reference_of<double>(back);
    check_close(gradient_of(b, there.rows, here.rows), sum_of(first.dx, second.dy), 2e-5, name_of(b) + ", dx");
    check_close(gradient_of(back, here.rows, there.rows), sum_of(first.dy, second.dx), 2e-5, name_of(b) + ", dy");
    CHECK(there.loss + here.loss == doctest::Approx(first.loss + second.loss).epsilon(1e-5));
  }
}

/// Both sides of each border of the softmax offset, and temperatures far from them.
std::vector<float> temperatures() {
  return {0.005f, 0.0127f, 0.0129f, 0.022f, 0.024f, 0.07f, 1.0f, 10.0f};
}

TEST_CASE("pair loss: every loss agrees with the whole matrix at every temperature") {
  for (float temperature : temperatures())
    for (const Batch& b : all_losses(67, 16, temperature)) check_against_the_matrix(b);
}

/// Batches that go wrong where a kernel divides by what is not there, or overflows.
std::vector<Batch> extreme_batches(float temperature) {
  const int M = small() ? 70 : 132, D = 5;  // more than one tile
  std::vector<Batch> batches;
  for (bool in_denominator : {true, false}) {
    const auto add = [&](const std::string& what, const auto& change) {
      Batch b = nt_xent(M, D, temperature);
      b.what = in_denominator ? what : what + " out of the denominator";
      b.shape.positives_in_denominator = in_denominator;
      change(b);
      b.y = b.x, b.column_ids = b.row_ids;
      batches.push_back(b);
    };
    add("identical rows", [&](Batch& b) {
      for (int i = 1; i < M; ++i) std::copy_n(b.x.begin(), D, b.x.begin() + i * D);
    });
    add("identical rows of one patient", [&](Batch& b) {
      for (int i = 1; i < M; ++i) std::copy_n(b.x.begin(), D, b.x.begin() + i * D);
      std::fill(b.row_ids.begin(), b.row_ids.end(), 3);
    });
    add("rows of zeros", [&](Batch& b) {
      std::fill_n(b.x.begin(), D, 0.0f);
      std::fill_n(b.x.begin() + 40 * D, 3 * D, 0.0f);
    });
    add("nothing but zeros", [&](Batch& b) { std::fill(b.x.begin(), b.x.end(), 0.0f); });
    add("one patient", [&](Batch& b) { std::fill(b.row_ids.begin(), b.row_ids.end(), -5); });
    add("one patient and one stranger", [&](Batch& b) {
      std::fill(b.row_ids.begin(), b.row_ids.end(), 3);
      b.row_ids[M - 4] = 4;
    });
    add("no positives", [&](Batch& b) { std::iota(b.row_ids.begin(), b.row_ids.end(), 0); });
    add("one pair with positives", [&](Batch& b) {
      std::iota(b.row_ids.begin(), b.row_ids.end(), 0);
      b.row_ids[M - 2] = 2;
    });
    add("one pair opposite to all others", [&](Batch& b) {
      std::iota(b.row_ids.begin(), b.row_ids.end(), 0);
      b.row_ids[M - 2] = 2;
      for (int i = 0; i < M; ++i)
        for (int d = 0; d < D; ++d) b.x[i * D + d] = d > 0 ? 0.0f : i == 2 || i == M - 2 ? 1.0f : -1.0f;
    });
    add("each opposite to its positive", [&](Batch& b) {
      for (int i = 0; i < M; ++i)
        for (int d = 0; d < D; ++d) b.x[i * D + d] = d > 0 ? 0.0f : i < M / 2 ? 1.0f : -1.0f;
    });
  }
  return batches;
}

TEST_CASE("pair loss: extreme batches are finite and right at every temperature") {
  PairMean mean = PairMean::positives;
  for (float temperature : temperatures()) {
    mean = mean == PairMean::rows ? PairMean::positives : PairMean::rows;  // in turn: both on either side of a border
    for (const Batch& one : extreme_batches(temperature)) {
      Batch b = one;
      b.mean = mean;
      const auto kernel = pair_loss(b);
      CHECK_MESSAGE(std::isfinite(kernel.loss), name_of(b));
      CHECK_MESSAGE(std::isfinite(kernel.dtemperature), name_of(b));
      for (const auto* values : {&kernel.log_sum, &kernel.dx, &kernel.dy})
        CHECK_MESSAGE(std::all_of(values->begin(), values->end(), [](float v) { return std::isfinite(v); }),
                      name_of(b));
      check_against_the_matrix(b, true);
    }
  }
}

TEST_CASE("pair loss: where no row has a loss, loss and gradients are zero and all rows are counted") {
  for (bool alone : {true, false}) {
    Batch b = nt_xent(70, 16, 0.07f);
    if (alone)
      std::iota(b.row_ids.begin(), b.row_ids.end(), 0);  // no positives
    else
      std::fill(b.row_ids.begin(), b.row_ids.end(), 0), b.shape.positives_in_denominator = false;  // no negatives
    b.column_ids = b.row_ids;
    const auto result = pair_loss(b);
    CHECK(result.left_out == 70);
    CHECK(result.loss == 0);
    CHECK(max_magnitude(result.dx) == 0);
    CHECK(max_magnitude(result.dy) == 0);
    CHECK(result.dtemperature == 0);
  }
}

/// Rows [first, first + count).
template <class T>
std::vector<T> part(const std::vector<T>& values, int first, int count, int width = 1) {
  const auto begin = values.begin() + int64_t{first} * width;
  return {begin, begin + int64_t{count} * width};
}

TEST_CASE("pair loss: four blocks of columns and four of rows are the whole") {
  for (float temperature : {0.01f, 0.015f, 0.07f})
    for (const Batch& b : {supcon(150, 31, temperature), dcl(150, 31, temperature), clocs(130, 8, temperature),
                           moco(50, 170, 31, temperature)}) {
      const int A = b.shape.A, B = b.shape.B, D = b.shape.D;
      const auto block = [&](int i, int j) {
        const int row = A * i / 4, column = B * j / 4;
        Batch result = b;
        result.shape.A = A * (i + 1) / 4 - row, result.shape.B = B * (j + 1) / 4 - column;
        result.shape.first_row = row, result.shape.first_column = column;
        result.x = part(b.x, row, result.shape.A, D), result.y = part(b.y, column, result.shape.B, D);
        result.row_ids = part(b.row_ids, row, result.shape.A);
        result.column_ids = part(b.column_ids, column, result.shape.B);
        return result;
      };

      std::vector<PairSums> sums;
      for (int i = 0; i < 4; ++i) {
        std::vector<PairSums> own = sums_of(block(i, 0));
        for (int j = 1; j < 4; ++j) {
          const Batch one = block(i, j);
          OnDevice d;
          pair_losses().sums(d.queue(), one.shape, d.in(one.x), d.in(one.y), d.in(one.row_ids), d.in(one.column_ids),
                             d.out(own), kAccumulate);
        }
        sums.insert(sums.end(), own.begin(), own.end());
      }
      const Forward forward = forward_of(b, sums);
      std::vector<float> log_sum, dx, dy(b.y.size(), 0.0f);
      for (const PairRow& row : forward.rows) log_sum.push_back(row.log_sum);
      for (int i = 0; i < 4; ++i) {
        std::vector<float> own(block(i, 0).x.size(), 0.0f);
        for (int j = 0; j < 4; ++j) {
          const Batch one = block(i, j);
          const auto rows = part(forward.rows, A * i / 4, one.shape.A);
          add_gradient(one, rows, {}, 1, own, kAccumulate);
          std::vector<float> columns = part(dy, B * j / 4, one.shape.B, D);
          add_gradient(exchanged(one), {}, rows, 1, columns, kAccumulate);
          std::copy(columns.begin(), columns.end(), dy.begin() + B * j / 4 * D);
        }
        dx.insert(dx.end(), own.begin(), own.end());
      }

      const auto plain = reference_of<float>(b);
      const auto exact = reference_of<double>(b);
      const std::string what = name_of(b) + ", in blocks";
      const Rounding rounding(b, exact.pull, false);
      check_error({forward.loss}, {plain.loss}, {exact.loss}, rounding.logit, what + ", loss");
      check_error(log_sum, plain.log_sum, exact.log_sum, rounding.logit, what + ", log_sum");
      check_error(dx, plain.dx, exact.dx, rounding.gradient, what + ", dx");
      check_error(dy, plain.dy, exact.dy, rounding.gradient, what + ", dy");
      CHECK(forward.left_out == exact.left_out);
    }
}

TEST_CASE("pair loss: gradients are scaled by upstream and added on request") {
  const Batch b = supcon(130, 13, 0.07f);
  const Forward forward = forward_of(b, sums_of(b));
  const std::vector<float> once = gradient_of(b, forward.rows, forward.rows), start = random_normal(once.size(), 9);
  std::vector<float> dx = start, expected(start.size());
  add_gradient(b, forward.rows, forward.rows, -2, dx, kAccumulate);
  for (size_t k = 0; k < dx.size(); ++k) expected[k] = start[k] - 2 * once[k];
  check_close(dx, expected, 1e-6, "dx");

  float dtemperature = 3;
  {
    OnDevice d;
    pair_losses().temperature(d.queue(), {130, 13, 0.07f}, d.in(b.x), d.in(once), d.out(&dtemperature, 1), kAccumulate);
  }
  CHECK(dtemperature == doctest::Approx(3 + temperature_gradient(b, once)).epsilon(1e-6));
}

TEST_CASE("pair loss: the reference's gradients agree with finite differences") {
  for (const Batch& b : all_losses(6, 4, 0.3f)) {
    const auto exact = reference_of<double>(b);
    const auto loss_of = [&](const std::vector<double>& x, const std::vector<double>& y) {
      return reference::pair_loss<double>(b.shape, b.mean, x, y, b.row_ids, b.column_ids).loss;
    };
    const std::vector<double> x = to_double(b.x), y = to_double(b.y);
    check_close(exact.dx, finite_differences([&](const auto& rows) { return loss_of(rows, y); }, x), 1e-7,
                b.what + ", dx");
    check_close(exact.dy, finite_differences([&](const auto& columns) { return loss_of(x, columns); }, y), 1e-7,
                b.what + ", dy");

    Batch above = b, below = b;  // the temperature is a float
    above.shape.temperature = 0.3f + 0x1p-12f, below.shape.temperature = 0.3f - 0x1p-12f;
    const double step = double{above.shape.temperature} - below.shape.temperature;
    CHECK(exact.dtemperature ==
          doctest::Approx((reference_of<double>(above).loss - reference_of<double>(below).loss) / step).epsilon(1e-5));
  }
}

TEST_CASE("pair loss: every result has the same bits under any schedule") {
  for (int M : {10, small() ? 260 : 1000})
    for (float temperature : {0.01f, 0.07f})
      for (const Batch& b :
           {supcon(M, 64, temperature), dcl(M, 64, temperature), moco(M / 2, M + 3, 13, temperature)}) {
        const auto everything = [&] {
          const auto loss = pair_loss(b);
          std::vector<float> all = loss.dx;
          all.insert(all.end(), loss.dy.begin(), loss.dy.end());
          all.insert(all.end(), loss.log_sum.begin(), loss.log_sum.end());
          all.push_back(loss.loss);
          all.push_back(loss.dtemperature);
          return all;
        };
        check_same_bits_for_any_schedule(everything, name_of(b));
      }
}

/// With rows rounded to the precision the first product is exact but for its sums; the gradient's second product rounds
/// the weights too, which are pulled apart to at most `pull` per row.
void check_rounded(Batch b, Precision precision) {
  const std::string what = fmt::format("{} in {}", name_of(b), name(precision));
  const auto kernel = pair_loss(b, precision);
  for (auto* values : {&b.x, &b.y})
    for (float& v : *values) v = precision == Precision::tf32 ? to_tf32(v) : to_float(to_bf16(v));
  const auto exact = reference_of<double>(b);
  const double c = 1 / double{b.shape.temperature}, logit = 32 * 0x1p-24 * (1 + c);
  CHECK_MESSAGE(std::abs(kernel.loss - exact.loss) <= logit, what);
  CHECK_MESSAGE(max_error(kernel.log_sum, exact.log_sum) <= logit, what);
  const double u = precision == Precision::tf32 ? 0x1p-11 : 0x1p-8, allowed = c * exact.pull * (u + logit);
  CHECK_MESSAGE(max_error(kernel.dx, exact.dx) <= allowed, what);
  CHECK_MESSAGE(max_error(kernel.dy, exact.dy) <= allowed, what);
}

TEST_CASE("pair loss: in tf32 and bf16 every loss is that of rounded rows") {
  if (device() == Device::cpu) return;  // it has f32 alone
  for (Precision precision : {Precision::tf32, Precision::bf16}) {
    for (const auto& [M, D] : {std::pair{3, 3}, {127, 64}, {130, 200}})
      for (const Batch& b : all_losses(M, D, 0.07f)) check_rounded(b, precision);
    for (float temperature : {0.005f, 0.0127f, 0.015f, 0.024f, 0.5f})
      for (const Batch& b : all_losses(67, 16, temperature)) check_rounded(b, precision);
  }
}

TEST_CASE("pair loss: an impossible shape or temperature is refused with its value") {
  const auto refuses = [](const PairShape& shape, const char* words) {
    CHECK(sentence_of<Error>([&] { check(shape); }).find(words) != std::string::npos);
  };
  refuses({0, 4, 8, 0.1f}, "0 rows");
  refuses({4, 0, 8, 0.1f}, "0 columns");
  refuses({4, 4, 0, 0.1f}, "0 numbers");
  refuses({4, 4, 8, 0.1f, true, -1, 0}, "row -1");
  for (float temperature : {0.0f, -1.0f, NAN, INFINITY}) refuses({4, 4, 8, temperature}, "temperature");
}

}  // namespace
