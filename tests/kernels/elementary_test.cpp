// log, exp, sine and cosine against libm in a wider type.

#include "kernels/common/elementary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "tests/support.h"

using namespace systole;
using namespace systole::test;

namespace {

constexpr uint32_t kPoints = 200000;

/// |value − exact| in distances between neighbouring numbers of value's type. `exact` is of a wider type.
template <class T, class Wide>
double error_in_ulp(T value, Wide exact) {
  const T size = std::abs(static_cast<T>(exact));
  return static_cast<double>(std::abs(value - exact) / (Wide{std::nextafter(size, T{INFINITY})} - Wide{size}));
}

/// 2^e · m with e and m uniform: all magnitudes alike.
double of_any_magnitude(uint32_t i, double least_exponent, double most_exponent) {
  const RandomStream stream(seed(), Purpose::test, 0, 77);
  return std::exp2(least_exponent +
                   (most_exponent - least_exponent) * (stream.uniform(2 * i) + stream.uniform(2 * i + 1) * 0x1p-24));
}

}  // namespace

TEST_CASE("elementary: log in float is within 1 ulp of libm's") {
  double worst = 0;
  const auto compare = [&](float x) {
    const double error = error_in_ulp(elementary::log(x), std::log(double{x}));
    if (!(error <= worst)) worst = error;
  };
  for (uint32_t i = 0; i < kPoints; ++i) {
    compare(static_cast<float>(of_any_magnitude(i, -125, 127)));
    compare(static_cast<float>(of_any_magnitude(i, -1, 1)));
  }
  // All that 1 − uniform gives near one, where the logarithm nearly vanishes; and the seam of the polynomial.
  for (uint32_t i = 1; i < 4096; ++i) compare(1.0f - static_cast<float>(i) * 0x1p-24f);
  const float seam = std::sqrt(0.5f);
  for (float x : {std::nextafter(seam, 0.0f), seam, std::nextafter(seam, 1.0f), std::numeric_limits<float>::min(),
                  std::numeric_limits<float>::max(), 0x1p-24f, 2.0f, 0.5f})
    compare(x);
  CHECK_MESSAGE(worst < 1, worst);
  CHECK(elementary::log(1.0f) == 0);
}

TEST_CASE("elementary: log in double is within 3 ulp of libm's") {
  double worst = 0;
  const auto compare = [&](double x) {
    const double error = error_in_ulp(elementary::log(x), std::log(static_cast<long double>(x)));
    if (!(error <= worst)) worst = error;
  };
  for (uint32_t i = 0; i < kPoints; ++i) {
    compare(of_any_magnitude(i, -1020, 1020));
    compare(of_any_magnitude(i, -1, 1));
    compare((i + 0.5) * 0x1p-32);
    compare(1 - (i + 0.5) * 0x1p-32);
  }
  for (double x : {std::numeric_limits<double>::min(), std::numeric_limits<double>::max(), std::sqrt(0.5),
                   std::nextafter(std::sqrt(0.5), 0.0)})
    compare(x);
  CHECK_MESSAGE(worst < 3, worst);
  CHECK(elementary::log(1.0) == 0);
}

TEST_CASE("elementary: exp in double is within 2 ulp of libm's") {
  const RandomStream stream(seed(), Purpose::test, 0, 78);
  double worst = 0;
  const auto compare = [&](double x) {
    const double error = error_in_ulp(elementary::exp(x), std::exp(static_cast<long double>(x)));
    if (!(error <= worst)) worst = error;
  };
  for (uint32_t i = 0; i < kPoints; ++i) {
    compare(stream.uniform(i) * 1400.0 - 700);
    compare(stream.uniform(i) * 2.0 - 1);
  }
  for (double x : {-700.0, 700.0, 0.34657359027997264, -0.34657359027997264, 1e-300, -1e-17}) compare(x);
  CHECK_MESSAGE(worst < 2, worst);
  CHECK(elementary::exp(0.0) == 1);
}

TEST_CASE("elementary: sine and cosine of turns are within 1.1e-7, at quarters exact") {
  const RandomStream stream(seed(), Purpose::test, 0, 79);
  double worst = 0, worst_circle = 0;
  const auto compare = [&](float u) {
    float sine, cosine;
    elementary::sin_cos_turns(u, sine, cosine);
    const double turn = double{u} - std::floor(double{u});  // exact
    const double error =
        std::max(std::abs(sine - std::sin(2 * M_PI * turn)), std::abs(cosine - std::cos(2 * M_PI * turn)));
    if (!(error <= worst)) worst = error;
    worst_circle = std::max(worst_circle, std::abs(double{sine} * sine + double{cosine} * cosine - 1));
  };
  for (uint32_t i = 0; i < kPoints; ++i) {
    const float x = stream.uniform(i);
    compare(x);
    compare(-x);
    compare(1000 * x);
    compare((x - 0.5f) * 0x1p22f);
    compare(static_cast<float>(of_any_magnitude(i, -60, 0)));
  }
  for (int eighth = -16; eighth <= 16; ++eighth) {
    const float x = static_cast<float>(eighth) / 8;
    compare(std::nextafter(x, -100.0f));
    compare(x);
    compare(std::nextafter(x, 100.0f));
  }
  CHECK_MESSAGE(worst < 1.1e-7, worst);
  CHECK(worst_circle < 2.5e-7);
  for (int quarter = -8; quarter <= 8; ++quarter) {
    float sine, cosine;
    elementary::sin_cos_turns(static_cast<float>(quarter) / 4, sine, cosine);
    const std::array<float, 4> sines{0, 1, 0, -1};
    const auto q = static_cast<size_t>(quarter & 3);
    CHECK(sine == sines[q]);
    CHECK(cosine == sines[(q + 1) % 4]);
  }
}

TEST_CASE("elementary: the same bits in a loop that becomes vector code and one at a time") {
  const RandomStream stream(seed(), Purpose::test, 0, 80);
  std::vector<float> x, logs, sines, cosines;
  for (uint32_t i = 0; i < 1003; ++i) x.push_back(1 - stream.uniform(i));
  logs = sines = cosines = x;
#pragma omp simd
  for (size_t i = 0; i < x.size(); ++i) {
    logs[i] = elementary::log(x[i]);
    elementary::sin_cos_turns(x[i], sines[i], cosines[i]);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    volatile float alone = x[i];
    float sine, cosine;
    elementary::sin_cos_turns(alone, sine, cosine);
    CHECK((logs[i] == elementary::log(alone) && sines[i] == sine && cosines[i] == cosine));
  }
}
