// The kernels of the losses on features: against the formulas, finite differences, and where rows are zero, equal or
// extreme, columns dead, and matrices of one element. The losses as a whole are tests/engine/feature_losses_test.cpp.

#include "kernels/contrastive/feature_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/error.h"
#include "tests/device.h"
#include "tests/kernels/any_schedule.h"
#include "tests/reference/feature_loss.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

const FeatureLossKernels& feature_losses() {
  return feature_loss_kernels(device());
}

// ---- cosine

/// Writes the gradients, or adds to them.
void cosine_backward(const CosineShape& s, const std::vector<float>& p, const std::vector<float>& t, float upstream,
                     std::vector<float>& dp, GradientMode dp_mode, std::vector<float>& dt, GradientMode dt_mode) {
  OnDevice d;
  const std::vector<float> scale{upstream};
  feature_losses().cosine_backward(d.queue(), s, d.in(p), d.in(t), d.in(scale), dp.empty() ? nullptr : d.out(dp),
                                   dp_mode, dt.empty() ? nullptr : d.out(dt), dt_mode);
}

reference::Cosine<float> cosine(const CosineShape& s, const std::vector<float>& p, const std::vector<float>& t) {
  reference::Cosine<float> result{NAN, std::vector<float>(p.size(), NAN), std::vector<float>(t.size(), NAN)};
  {
    OnDevice d;
    feature_losses().cosine_forward(d.queue(), s, d.in(p), d.in(t), d.out(&result.loss, 1));
  }
  cosine_backward(s, p, t, 1, result.dp, kOverwrite, result.dt, kOverwrite);
  return result;
}

/// Targets near their predictions, as late in a training, or far from them.
std::vector<float> targets_of(const std::vector<float>& p, float distance) {
  std::vector<float> t = random_normal(p.size(), 2, distance);
  for (size_t k = 0; k < t.size(); ++k) t[k] += p[k];
  return t;
}

/// All arithmetic is in double, so a result has the rounding of its last step; the doubles' own is seen where they
/// cancel.
void check_one_rounding(const std::vector<float>& kernel, const std::vector<double>& exact, const std::string& what) {
  REQUIRE(kernel.size() == exact.size());
  double worst = 0;
  for (size_t k = 0; k < kernel.size(); ++k)
    worst = std::max(worst, std::abs(kernel[k] - exact[k]) - 1.01 * 0x1p-24 * std::abs(exact[k]));
  CHECK_MESSAGE(worst <= 1e-11 * max_magnitude(exact),
                fmt::format("{}: off by {:.3g} more than a rounding, SYSTOLE_TEST_SEED={}", what, worst, seed()));
}

TEST_CASE("feature loss: the cosine and its gradients have one rounding") {
  for (int N : {1, 2, 3, 8, 129})
    for (int D : {2, 3, 31, 32, 130, 256})
      for (float distance : {0.001f, 3.0f}) {
        const std::vector<float> p = random_normal(size_t(N) * D, 1, 2), t = targets_of(p, distance);
        const auto kernel = cosine({N, D}, p, t);
        const auto exact = reference::cosine_loss<double>(N, D, to_double(p), to_double(t));
        const std::string what = fmt::format("N {}, D {}, distance {}", N, D, distance);
        // 1 − cos is off by the roundings of cos in double, of either code.
        CHECK_MESSAGE(std::abs(kernel.loss - exact.loss) <= 1.01 * 0x1p-24 * exact.loss + 1e-14, what);
        check_one_rounding(kernel.dp, exact.dp, what + ", dp");
        check_one_rounding(kernel.dt, exact.dt, what + ", dt");
      }
}

TEST_CASE("feature loss: the cosine's gradients agree with finite differences") {
  const int N = 3, D = 4;
  const std::vector<float> p = random_normal(N * D, 1), t = targets_of(p, 0.5f);
  const auto kernel = cosine({N, D}, p, t);
  const auto loss_of = [](const auto& a, const auto& b) { return reference::cosine_loss<double>(N, D, a, b).loss; };
  const std::vector<double> p_exact = to_double(p), t_exact = to_double(t);
  check_close(kernel.dp, finite_differences([&](const auto& a) { return loss_of(a, t_exact); }, p_exact), 1e-6, "dp");
  check_close(kernel.dt, finite_differences([&](const auto& b) { return loss_of(p_exact, b); }, t_exact), 1e-6, "dt");
}

TEST_CASE("feature loss: a row of zeros has cosine 0 and gradient zero, also for the row that it is compared with") {
  const int N = 40, D = 33;
  std::vector<float> p = random_normal(N * D, 1), t = targets_of(p, 1);
  std::fill_n(p.begin() + 3 * D, D, 0.0f);
  std::fill_n(t.begin() + 17 * D, D, 0.0f);
  std::fill_n(p.begin() + 39 * D, D, 0.0f), std::fill_n(t.begin() + 39 * D, D, 0.0f);
  const auto kernel = cosine({N, D}, p, t);
  const auto exact = reference::cosine_loss<double>(N, D, to_double(p), to_double(t));
  CHECK(kernel.loss == doctest::Approx(exact.loss).epsilon(1e-7));
  for (int i : {3, 17, 39})
    for (int k = i * D; k < (i + 1) * D; ++k) CHECK((kernel.dp[k] == 0 && kernel.dt[k] == 0));
  check_one_rounding(kernel.dp, exact.dp, "dp");

  const std::vector<float> nothing(N * D, 0.0f);
  const auto none = cosine({N, D}, nothing, nothing);
  CHECK(none.loss == 2);
  CHECK(max_magnitude(none.dp) == 0);
}

TEST_CASE("feature loss: equal rows have loss 0 and gradient zero, opposite ones loss 4, whatever their length") {
  for (int D : {1, 3, 200})
    for (float length : {0x1p-100f, 1.0f, 0x1p100f}) {
      const std::vector<float> p = random_normal(size_t(5) * D, 1);
      std::vector<float> t = p, opposite = p;
      for (float& v : t) v *= length;
      for (float& v : opposite) v *= -2;
      const auto same = cosine({5, D}, t, t), scaled = cosine({5, D}, p, t);
      for (const auto* one : {&same, &scaled}) CHECK(one->loss == 0);
      for (const auto* gradient : {&same.dp, &same.dt, &scaled.dp, &scaled.dt}) CHECK(max_magnitude(*gradient) == 0);
      CHECK(cosine({5, D}, p, opposite).loss == 4);
    }
}

TEST_CASE("feature loss: the cosine's gradients are scaled, added on request, and left out where nobody wants them") {
  const CosineShape s{9, 37};
  const std::vector<float> p = random_normal(9 * 37, 1), t = targets_of(p, 1), start = random_normal(9 * 37, 5);
  const auto once = cosine(s, p, t);
  std::vector<float> dp = start, dt(start.size(), NAN), expected(start.size()), none;
  cosine_backward(s, p, t, -2, dp, kAccumulate, dt, kOverwrite);
  for (size_t k = 0; k < dp.size(); ++k) expected[k] = start[k] - 2 * once.dp[k];
  check_close(dp, expected, 1e-6, "dp");
  for (size_t k = 0; k < dt.size(); ++k) expected[k] = -2 * once.dt[k];
  CHECK(dt == expected);

  std::vector<float> alone(start.size(), NAN);
  cosine_backward(s, p, t, 1, alone, kOverwrite, none, kAccumulate);
  CHECK(alone == once.dp);
  cosine_backward(s, p, t, 1, none, kAccumulate, alone, kOverwrite);
  CHECK(alone == once.dt);
}

// ---- losses of a matrix

/// A loss of a matrix, and G as the kernel writes it.
struct OfMatrix {
  float loss = NAN;
  std::vector<float> slopes;
};

OfMatrix barlow_twins(const BarlowTwinsShape& s, const std::vector<float>& sums, float upstream = 1) {
  OfMatrix result{NAN, std::vector<float>(sums.size(), NAN)};
  OnDevice d;
  const std::vector<float> scale{upstream};
  feature_losses().barlow_twins_forward(d.queue(), s, d.in(sums), d.out(&result.loss, 1));
  feature_losses().barlow_twins_backward(d.queue(), s, d.in(sums), d.in(scale), d.out(result.slopes));
  d.finish();
  return result;
}

OfMatrix vicreg(const VicregShape& s, const std::vector<float>& x, const std::vector<float>& sums, float upstream = 1) {
  OfMatrix result{NAN, std::vector<float>(sums.size(), NAN)};
  OnDevice d;
  const std::vector<float> scale{upstream};
  feature_losses().vicreg_forward(d.queue(), s, d.in(x), d.in(sums), d.out(&result.loss, 1));
  feature_losses().vicreg_backward(d.queue(), s, d.in(sums), d.in(scale), d.out(result.slopes));
  d.finish();
  return result;
}

/// factor · values.
std::vector<double> scaled(const std::vector<float>& values, double factor) {
  std::vector<double> result = to_double(values);
  for (double& v : result) v *= factor;
  return result;
}

/// Sums over N products of columns as a loss meets them: the diagonal near `diagonal` · N, the rest about as far from
/// zero as chance takes it; a dead column's are zeros.
std::vector<float> sums_like(int N, int D, float diagonal, uint32_t which) {
  std::vector<float> sums = random_normal(size_t(D) * D, which, std::sqrt(static_cast<float>(N)));
  for (int d = 0; d < D; ++d) {
    float& s = sums[size_t(d) * D + d];
    s = diagonal * N + 0.3f * s;
    if (s < 0) s = 0;
  }
  if (D > 2)
    for (int e = 0; e < D; ++e) sums[size_t(1) * D + e] = sums[size_t(e) * D + 1] = 0;
  return sums;
}

constexpr int kSizes[] = {1, 2, 3, 31, 130, 257};

TEST_CASE("feature loss: Barlow Twins of a matrix and its slopes have one rounding") {
  for (int D : kSizes)
    for (int N : {2, 3, 129})
      for (float diagonal : {0.2f, 1.0f})
        for (float off_diagonal : {0.0f, 0.0051f, 1.0f}) {
          const std::vector<float> sums = sums_like(N, D, diagonal, 1);
          const auto kernel = barlow_twins({N, D, off_diagonal}, sums);
          auto exact = reference::barlow_twins_of<double>(D, scaled(sums, 1.0 / N), off_diagonal);
          for (double& slope : exact.slope) slope /= N;  // by the sum
          const std::string what = fmt::format("N {}, D {}, diagonal {}, λ {}", N, D, diagonal, off_diagonal);
          check_one_rounding({kernel.loss}, {exact.loss}, what + ", loss");
          check_one_rounding(kernel.slopes, exact.slope, what + ", slopes");
        }
}

TEST_CASE("feature loss: VICReg of two matrices and its slopes have one rounding") {
  for (int D : kSizes)
    for (int N : {2, 3, 129})
      for (float diagonal : {0.3f, 1.0f, 2.0f}) {  // of the standard deviations all, half and none are below 1
        const VicregShape s{N, D, 25, 20, 3};
        const std::vector<float> x = random_normal(size_t(2) * N * D, 3);
        std::vector<float> sums = sums_like(N, D, diagonal, 1), second = sums_like(N, D, diagonal, 2);
        sums.insert(sums.end(), second.begin(), second.end());
        const auto kernel = vicreg(s, x, sums);

        reference::MatrixLoss<double> exact(0);
        for (size_t k = 0; k < x.size() / 2; ++k) {
          const double difference = double{x[k]} - x[x.size() / 2 + k];
          exact.loss += s.invariance * difference * difference / (double(N) * D);
        }
        for (int view : {0, 1}) {
          const auto begin = sums.begin() + view * int64_t{D} * D;
          const auto of_view = reference::vicreg_of<double>(D, scaled({begin, begin + int64_t{D} * D}, 1.0 / (N - 1)),
                                                            s.variance, s.covariance);
          exact.loss += of_view.loss;
          for (double slope : of_view.slope) exact.slope.push_back(2 * slope / (N - 1));
        }
        const std::string what = fmt::format("N {}, D {}, diagonal {}", N, D, diagonal);
        check_one_rounding({kernel.loss}, {exact.loss}, what + ", loss");
        check_one_rounding(kernel.slopes, exact.slope, what + ", slopes");
      }
}

TEST_CASE("feature loss: a standard deviation of 1 or more is not pushed, a dead column is, and both are finite") {
  const VicregShape s{11, 1, 0, 25, 1};
  const std::vector<float> x(22, 0.0f);
  const auto wide = vicreg(s, x, {10, 1e6f});
  CHECK(wide.loss == 0);
  CHECK(max_magnitude(wide.slopes) == 0);
  const auto dead = vicreg(s, x, {0, 10});
  CHECK(dead.loss == doctest::Approx(25.0 / 2 * (1 - 0.01)));
  CHECK(dead.slopes[0] == doctest::Approx(-25.0 / (2 * 10 * 0.01)));  // −w_v / (2 D (N−1) s)
  CHECK(dead.slopes[1] == 0);
}

TEST_CASE("feature loss: slopes may overwrite the sums, and are scaled by upstream") {
  const int N = 20, D = 70;
  const std::vector<float> sums = sums_like(N, D, 0.5f, 1);
  std::vector<float> both = sums;
  both.insert(both.end(), sums.begin(), sums.end());
  const std::vector<float> x(size_t(2) * N * D), scale{-2};
  std::vector<float> of_twins = sums, of_vicreg = both;
  {
    OnDevice d;
    float *in_place = d.out(of_twins), *both_in_place = d.out(of_vicreg);
    feature_losses().barlow_twins_backward(d.queue(), {N, D, 0.1f}, in_place, d.in(scale), in_place);
    feature_losses().vicreg_backward(d.queue(), {N, D, 25, 25, 1}, both_in_place, d.in(scale), both_in_place);
  }
  auto expected = barlow_twins({N, D, 0.1f}, sums, 1).slopes;
  for (float& slope : expected) slope *= -2;
  CHECK(of_twins == expected);
  expected = vicreg({N, D, 25, 25, 1}, x, both, 1).slopes;
  for (float& slope : expected) slope *= -2;
  CHECK(of_vicreg == expected);
}

TEST_CASE("feature loss: the gradient of the invariance pulls the views together") {
  for (int N : {2, 3, 129})
    for (int D : {1, 130}) {
      const size_t size = size_t(N) * D;
      const std::vector<float> x = random_normal(2 * size, 1), start = random_normal(2 * size, 2), scale{-2};
      const VicregShape s{N, D, 25, 1, 1};
      std::vector<float> added = start, written(2 * size, NAN);
      {
        OnDevice d;
        const float *from = d.in(x), *upstream = d.in(scale);
        feature_losses().vicreg_invariance_backward(d.queue(), s, from, upstream, d.out(added), kAccumulate);
        feature_losses().vicreg_invariance_backward(d.queue(), s, from, upstream, d.out(written), kOverwrite);
      }
      std::vector<double> exact(2 * size), sum(2 * size);
      for (size_t k = 0; k < size; ++k) {
        exact[k] = -2.0 * 2 * 25 * (double{x[k]} - x[size + k]) / static_cast<double>(size);
        exact[size + k] = -exact[k];
      }
      for (size_t k = 0; k < 2 * size; ++k) sum[k] = start[k] + exact[k];
      check_one_rounding(written, exact, fmt::format("N {}, D {}", N, D));
      check_one_rounding(added, sum, fmt::format("N {}, D {}, added", N, D));
    }
}

/// x [2N, D] after batch_norm.apply with column_affine's scale and shift.
std::vector<float> normalize_columns(int N, int D, const std::vector<float>& x, bool standardize) {
  std::vector<float> y(x.size(), NAN), mean(2 * D), var(2 * D), scale(2 * D), shift(2 * D);
  const BatchNormShape s{2, 2 * N, 1, D};
  OnDevice d;
  float *means = d.out(mean), *vars = d.out(var), *scales = d.out(scale), *shifts = d.out(shift);
  const float* from = d.in(x);
  batch_norm_kernels(device()).statistics(d.queue(), s, from, means, vars);
  feature_losses().column_affine(d.queue(), 2 * D, means, standardize ? vars : nullptr, 1e-5f, scales, shifts);
  batch_norm_kernels(device()).apply(d.queue(), s, from, scales, shifts, false, d.out(y));
  d.finish();
  return y;
}

TEST_CASE("feature loss: columns are centred and standardised in each view by itself") {
  for (int N : {2, 3, 129})
    for (int D : {1, 130}) {
      std::vector<float> x = random_normal(size_t(2) * N * D, 1);
      for (size_t k = 0; k < x.size(); ++k) x[k] += (k < x.size() / 2 ? 1.0f : 30.0f) * static_cast<float>(k % D);
      std::vector<double> centred, standardised;
      for (int view : {0, 1}) {
        const std::vector<double> exact = to_double(x),
                                  rows = reference::centered(N, D, exact.data() + size_t(view) * N * D);
        centred.insert(centred.end(), rows.begin(), rows.end());
        std::vector<double> var(D);
        for (size_t k = 0; k < rows.size(); ++k) var[k % D] += rows[k] * rows[k] / N;
        for (size_t k = 0; k < rows.size(); ++k) standardised.push_back(rows[k] / std::sqrt(var[k % D] + 1e-5));
      }
      const std::string what = fmt::format("N {}, D {}", N, D);
      const double mean = max_magnitude(x);  // the means have its rounding
      CHECK_MESSAGE(max_error(normalize_columns(N, D, x, false), centred) <= 2 * 0x1p-24 * mean, what);
      const double narrowest = std::sqrt(1e-5);
      CHECK_MESSAGE(max_error(normalize_columns(N, D, x, true), standardised) <= 4 * 0x1p-24 * mean / narrowest, what);
    }
}

TEST_CASE("feature loss: a column without variance is centred to zeros") {
  const int N = 129, D = 5;
  std::vector<float> x = random_normal(size_t(2) * N * D, 1);
  for (int i = 0; i < 2 * N; ++i) x[i * D + 2] = 1234.567f;
  const std::vector<float> centred = normalize_columns(N, D, x, false), standard = normalize_columns(N, D, x, true);
  for (int i = 0; i < 2 * N; ++i) {
    CHECK(centred[i * D + 2] == 0);
    // scale 1 / sqrt(1e-5), and the rounding of shift
    CHECK(std::abs(standard[i * D + 2]) <= 2 * 0x1p-24 * 1234.567 / std::sqrt(1e-5));
  }
}

TEST_CASE("feature loss: every result has the same bits under any schedule") {
  for (const auto& [N, D] : {std::pair{3, 5}, {129, 130}, {40, 300}}) {
    const std::vector<float> x = random_normal(size_t(2) * N * D, 1);
    std::vector<float> sums = sums_like(N, D, 0.7f, 1), t = targets_of(x, 1);
    const auto everything = [&, N = N, D = D] {
      const auto angles = cosine({2 * N, D}, x, t);
      const auto twins = barlow_twins({N, D, 0.0051f}, sums);
      std::vector<float> both = sums;
      both.insert(both.end(), sums.begin(), sums.end());
      const auto of_vicreg = vicreg({N, D, 25, 25, 1}, x, both);
      std::vector<float> all{angles.loss, twins.loss, of_vicreg.loss};
      for (const auto* values : {&angles.dp, &angles.dt, &twins.slopes, &of_vicreg.slopes})
        all.insert(all.end(), values->begin(), values->end());
      return all;
    };
    check_same_bits_for_any_schedule(everything, fmt::format("N {}, D {}", N, D));
  }
}

TEST_CASE("feature loss: an impossible shape or weight is refused with its value") {
  const auto says = [](const auto& shape, const char* words) {
    return sentence_of<Error>([&] { check(shape); }).find(words) != std::string::npos;
  };
  CHECK(says(CosineShape{0, 8}, "0 rows"));
  CHECK(says(CosineShape{8, 0}, "0 numbers"));
  CHECK(says(BarlowTwinsShape{1, 8, 0.1f}, "1 rows per view"));
  CHECK(says(BarlowTwinsShape{2, 0, 0.1f}, "0 numbers"));
  CHECK(says(VicregShape{1, 8, 25, 25, 1}, "1 rows per view"));
  for (float weight : {-1.0f, NAN, INFINITY}) {
    CHECK(says(BarlowTwinsShape{2, 8, weight}, "off the diagonal is"));
    CHECK(says(VicregShape{2, 8, weight, 25, 1}, "invariance is"));
    CHECK(says(VicregShape{2, 8, 25, weight, 1}, "variance is"));
    CHECK(says(VicregShape{2, 8, 25, 25, weight}, "covariance is"));
  }
  check(VicregShape{2, 1, 0, 0, 0});
}

}  // namespace
