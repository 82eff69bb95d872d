// The distributions of all variates, by Kolmogorov and Smirnov's test against distribution functions that are computed
// here: the incomplete gamma and beta functions by series and continued fractions (Press et al., Numerical Recipes, 6.2
// and 6.4).

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms in its AVX-512 intrinsics, GCC bug 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "kernels/common/variates.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/philox_batch.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::test;

namespace {

constexpr uint32_t kDraws = 20000;
constexpr uint64_t kSeed = 20240229;  // fixed: a statistical test of a fixed sequence passes always or never
constexpr double kCritical = 1.949;   // of Kolmogorov's distance times √n, p = 0.001

/// The regularised lower incomplete gamma function P(a, x).
double gamma_distribution(double a, double x) {
  if (x <= 0) return 0;
  const double front = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (double n = a + 1; term > 1e-17 * sum; ++n) sum += term *= x / n;
    return front * sum;
  }
  // Lentz's method for the continued fraction of the complement.
  double b = x + 1 - a, c = 1e300, d = 1 / b, fraction = d;
  for (int i = 1; i < 500; ++i) {
    const double an = -i * (i - a);
    b += 2;
    d = 1 / (an * d + b);
    c = b + an / c;
    fraction *= c * d;
    if (std::abs(c * d - 1) < 1e-15) break;
  }
  return 1 - front * fraction;
}

/// The regularised incomplete beta function I_x(a, a), for x ≤ ½ by its continued fraction; beyond, by symmetry.
double beta_distribution(double a, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > 0.5) return 1 - beta_distribution(a, 1 - x);
  const double front = std::exp(a * std::log(x) + a * std::log1p(-x) + std::lgamma(2 * a) - 2 * std::lgamma(a)) / a;
  double c = 1, d = 1 / (1 - 2 * a * x / (a + 1)), fraction = d;
  const auto step = [&](double numerator) {
    d = 1 / (1 + numerator * d);
    c = 1 + numerator / c;
    fraction *= c * d;
  };
  for (int m = 1; m < 500; ++m) {
    step(m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m)));
    step(-(a + m) * (2 * a + m) * x / ((a + 2 * m) * (a + 2 * m + 1)));
    if (std::abs(c * d - 1) < 1e-15) break;
  }
  return front * fraction;
}

/// Kolmogorov's distance between the draws and a distribution function, times √n. A draw was rounded to float: it
/// stands for all numbers within half a step. (Of Beta(0.2, 0.2), 2 % are nearer to 1 than any other float.)
template <class Distribution>
double kolmogorov(std::vector<float> draws, const Distribution& distribution) {
  std::sort(draws.begin(), draws.end());
  const auto count = static_cast<double>(draws.size());
  double largest = 0;
  for (size_t i = 0; i < draws.size(); ++i) {
    const double x = draws[i], least = (x + std::nextafter(draws[i], -INFINITY)) / 2,
                 most = (x + std::nextafter(draws[i], INFINITY)) / 2;
    largest = std::max({largest, distribution(least) - static_cast<double>(i) / count,
                        static_cast<double>(i + 1) / count - distribution(most)});
  }
  return largest * std::sqrt(count);
}

RandomStream stream_of(uint32_t record, uint32_t detail) {
  return RandomStream(kSeed, Purpose::test, 9, record, 0, detail);
}

std::vector<float> gamma_draws(double shape) {
  std::vector<float> draws;
  for (uint32_t i = 0; i < kDraws; ++i)
    draws.push_back(static_cast<float>(std::exp(log_gamma_variate(stream_of(i, 1), 0, shape))));
  return draws;
}
std::vector<float> beta_draws(double shape) {
  std::vector<float> draws;
  for (uint32_t i = 0; i < kDraws; ++i) draws.push_back(beta_variate(stream_of(i, 2), shape));
  return draws;
}

}  // namespace

TEST_CASE("variates: the reference distributions are right where they are known") {
  for (double x : {0.1, 0.9, 1.5, 3.0, 20.0}) {
    CHECK(gamma_distribution(1, x) == doctest::Approx(1 - std::exp(-x)).epsilon(1e-12));
    CHECK(gamma_distribution(0.5, x) == doctest::Approx(std::erf(std::sqrt(x))).epsilon(1e-12));
  }
  for (double x : {0.01, 0.3, 0.5, 0.8}) {
    CHECK(beta_distribution(1, x) == doctest::Approx(x).epsilon(1e-12));
    CHECK(beta_distribution(2, x) == doctest::Approx(x * x * (3 - 2 * x)).epsilon(1e-12));
    CHECK(beta_distribution(0.5, x) == doctest::Approx(2 / M_PI * std::asin(std::sqrt(x))).epsilon(1e-12));
  }
}

TEST_CASE("variates: uniform and normal numbers are distributed as they should be") {
  const RandomStream stream = stream_of(0, 3);
  std::vector<float> uniform, normal;
  for (uint32_t i = 0; i < kDraws; ++i) {
    uniform.push_back(stream.uniform(i));
    normal.push_back(stream.normal(i));
  }
  CHECK(kolmogorov(uniform, [](double x) { return std::clamp(x, 0.0, 1.0); }) < kCritical);
  CHECK(kolmogorov(normal, [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }) < kCritical);
  // The test notices a small difference in place or in size.
  CHECK(kolmogorov(uniform, [](double x) { return std::clamp(x + 0.02, 0.0, 1.0); }) > kCritical);
  CHECK(kolmogorov(normal, [](double x) { return std::erfc(-x * 1.05 / std::sqrt(2.0)) / 2; }) > kCritical);
}

TEST_CASE("variates: normal numbers in batches are those of the stream, bit for bit") {
  const RandomStream stream = stream_of(5, 4);
  for (uint32_t first : {0u, 3u, 1000u, 0xFFFFFFF0u})  // the last runs over the end of the counter's first word
    for (uint32_t stride : {1u, 3u, 75u}) {
      float batch[4][kernels::cpu::kPhiloxBatch];
      kernels::cpu::normal_batch(stream, first, stride, batch);
      bool same = true;
      for (uint32_t i = 0; i < kernels::cpu::kPhiloxBatch; ++i) {
        float four[4];
        RandomStream::to_normals(stream.block(first + i * stride), four);
        for (int k = 0; k < 4; ++k) same &= batch[k][i] == four[k];
      }
      CHECK(same);
    }
  float batch[4][kernels::cpu::kPhiloxBatch];
  kernels::cpu::normal_batch(stream, 0, 1, batch);
  for (uint32_t i = 0; i < 4 * kernels::cpu::kPhiloxBatch; ++i) CHECK(batch[i % 4][i / 4] == stream.normal(i));
}

TEST_CASE("variates: gamma variates have their distribution") {
  for (double shape : {0.2, 1.0, 3.5}) {
    const double distance = kolmogorov(gamma_draws(shape), [&](double x) { return gamma_distribution(shape, x); });
    CHECK_MESSAGE(distance < kCritical, fmt::format("shape {}: {}", shape, distance));
    // Of another shape they would not.
    CHECK(kolmogorov(gamma_draws(shape), [&](double x) { return gamma_distribution(shape * 1.1, x); }) > kCritical);
  }
}

TEST_CASE("variates: beta variates have their distribution, lie in [0, 1] and on no side more often") {
  for (double shape : {0.2, 1.0, 2.0}) {
    const std::vector<float> draws = beta_draws(shape);
    CHECK(*std::min_element(draws.begin(), draws.end()) >= 0);
    CHECK(*std::max_element(draws.begin(), draws.end()) <= 1);
    const double distance = kolmogorov(draws, [&](double x) { return beta_distribution(shape, x); });
    CHECK_MESSAGE(distance < kCritical, fmt::format("shape {}: {}", shape, distance));
    CHECK(kolmogorov(draws, [&](double x) { return beta_distribution(shape * 1.2, x); }) > kCritical);
    const auto above = static_cast<double>(std::count_if(draws.begin(), draws.end(), [](float x) { return x > 0.5f; }));
    CHECK(std::abs(above - kDraws / 2.0) < 4 * std::sqrt(kDraws / 4.0));
  }
}

TEST_CASE("variates: extreme shapes stay finite") {
  for (double shape : {0.01, 100.0})
    for (uint32_t i = 0; i < 2000; ++i) {
      CHECK(std::isfinite(log_gamma_variate(stream_of(i, 5), 0, shape)));
      const float x = beta_variate(stream_of(i, 6), shape);
      CHECK((x >= 0 && x <= 1));
      if (shape == 100) CHECK(std::abs(x - 0.5f) < 0.25f);  // seven standard deviations of 0.035
    }
}
