// The resampler against what it approximates: sinusoids known at any instant.

#include "data/resample.h"

#include <algorithm>
#include <numbers>
#include <numeric>

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;

struct Rates {
  double from, to;
};
constexpr Rates kRates[] = {{360, 100}, {360, 500}, {400, 100}, {500, 100}, {100, 500}, {257, 100}, {128.5, 250}};

std::vector<double> tone(double frequency_hz, double rate_hz, size_t length) {
  std::vector<double> x(length);
  for (size_t i = 0; i < length; ++i)
    x[i] = std::sin(2 * std::numbers::pi * frequency_hz * static_cast<double>(i) / rate_hz + 0.7);
  return x;
}

// The largest difference away from the ends, where a reflection stands for what is not known.
double worst_inside(const std::vector<double>& a, const std::vector<double>& b, double rate_hz) {
  const auto edge = static_cast<size_t>(rate_hz);
  double worst = 0;
  REQUIRE(a.size() > 3 * edge);
  for (size_t i = edge; i + edge < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

TEST_CASE("resample: in the pass band a tone is itself at the new instants, to 0.1 %") {
  for (const Rates& rates : kRates) {
    const double nyquist = std::min(rates.from, rates.to) / 2;
    for (const double part : {0.02, 0.3, 0.7, 0.9}) {
      CAPTURE(rates.from);
      CAPTURE(rates.to);
      CAPTURE(part);
      const auto x = tone(part * nyquist, rates.from, static_cast<size_t>(10 * rates.from));
      const std::vector<double> y = Resampler(rates.from, rates.to)(x);
      REQUIRE(y.size() == static_cast<size_t>(10 * rates.to));
      CHECK(worst_inside(y, tone(part * nyquist, rates.to, y.size()), rates.to) < 1e-3);
    }
  }
}

TEST_CASE("resample: a tone from the new Nyquist frequency on is gone by 60 dB, and cannot fold back") {
  for (const Rates& rates : kRates) {
    if (rates.to > rates.from) continue;
    for (const double part : {1.0, 1.02, 1.1, 1.5, 1.9, 2.2}) {
      const double frequency_hz = part * rates.to / 2;
      if (frequency_hz >= rates.from / 2) continue;
      CAPTURE(rates.from);
      CAPTURE(part);
      const auto x = tone(frequency_hz, rates.from, static_cast<size_t>(10 * rates.from));
      const std::vector<double> y = Resampler(rates.from, rates.to)(x);
      CHECK(worst_inside(y, std::vector<double>(y.size()), rates.to) < 1e-3);
    }
  }
}

TEST_CASE("resample: a constant and a line stay what they are, up to both ends") {
  for (const Rates& rates : kRates) {
    const size_t length = static_cast<size_t>(3 * rates.from);
    std::vector<double> line(length);
    for (size_t i = 0; i < length; ++i) line[i] = 4 - 0.5 * static_cast<double>(i) / rates.from;
    const Resampler resampler(rates.from, rates.to);
    for (const double y : resampler(std::vector<double>(length, 1234.5)))
      REQUIRE(y == doctest::Approx(1234.5).epsilon(1e-12));
    const std::vector<double> y = resampler(line);
    for (size_t k = 0; k < y.size(); ++k)
      if (static_cast<double>(k) / rates.to <= static_cast<double>(length - 1) / rates.from)
        REQUIRE(y[k] == doctest::Approx(4 - 0.5 * static_cast<double>(k) / rates.to).epsilon(1e-4));
  }
}

TEST_CASE("resample: what is symmetric about a sample stays so: no delay") {
  const std::vector<float> noise = test::random_normal(900, 3);
  std::vector<double> x(1801);
  for (size_t i = 0; i < 900; ++i) x[900 - i - 1] = x[900 + i + 1] = noise[i];
  x[900] = 2;
  for (const double to : {100.0, 500.0, 250.0}) {
    const std::vector<double> y = Resampler(360, to)(x);
    const auto centre = static_cast<size_t>(900 * to / 360);
    for (size_t k = 0; k < centre && centre + k < y.size(); ++k)
      REQUIRE(y[centre - k] == doctest::Approx(y[centre + k]).epsilon(1e-9));
  }
}

TEST_CASE("resample: equal rates change nothing, and lengths are rounded") {
  const std::vector<double> x = {3, -1, 4, 1, -5};
  CHECK(Resampler(360, 360)(x) == x);
  CHECK(Resampler(500, 100)(std::vector<double>{}).empty());
  CHECK(Resampler(500, 100)(std::vector<double>(7, 2.0)).size() == 1);
  CHECK(resampled_length(650000, 360, 100) == 180556);
  CHECK(resampled_length(4096, 400, 100) == 1024);
  CHECK(resampled_length(2934, 400, 100) == 734);
  CHECK(resampled_length(1000, 100, 360) == 3600);
}

TEST_CASE("resample: rates that make no sense are refused") {
  CHECK(sentence_of<Error>([] { Resampler(0, 100); }) ==
        "A sampling rate of 0 Hz cannot be resampled; from 1 Hz to 1 MHz were expected.");
  CHECK(sentence_of<Error>([] { Resampler(99999.97, 100); }) ==
        "99999.97 Hz cannot be resampled to 100 Hz: their ratio is 10000 / 9999997, a simpler one was expected.");
}

}  // namespace
}  // namespace systole::data
