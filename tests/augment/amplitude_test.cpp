// Augmentations of the amplitude and what is added to a view, seen in the difference to the view without them.

#include <complex>

#include "tests/augment/batch.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

constexpr double kRate = 500;

/// Noise of standard deviation 0.1 mV · (1 + c mod 4) on an offset of ½ mV; in normalised values none is zero.
Batch noisy_leads(int R, int L, int C) {
  Batch batch(R, L, C, kRate);
  const std::vector<float> noise = random_normal(batch.samples.size(), 6, 0.1f);
  batch.set_mv(
      [&](int r, int l, int c) { return 0.5 + (1 + c % 4) * noise[static_cast<size_t>((r * L + l) * C + c)]; });
  return batch;
}
Batch silent_leads(int R, int L, int C) {
  return Batch(R, L, C, kRate);
}

NamedRecipe alone(const std::string& name, std::initializer_list<const char*> changes = {}) {
  NamedRecipe recipe{name, "", only(name)};
  for (const char* text : changes) change(recipe, text);
  return recipe;
}

/// Calls check(with, without) with a lead of a view that is augmented, and without augmentation, in mV; and its number.
template <class Check>
void for_each_lead(const Batch& batch, const NamedRecipe& recipe, const Check& check) {
  const std::vector<float> with = batch.views(recipe.recipe), without = batch.views({});
  for (int n = 0; n < batch.N(); ++n)
    for (int c = 0; c < batch.C; ++c)
      check(lead_of(view_of(with, static_cast<size_t>(n), batch.L_in, batch.C), c, batch.C),
            lead_of(view_of(without, static_cast<size_t>(n), batch.L_in, batch.C), c, batch.C), n, c);
}

/// a with b = a · x, if there is one for all values; else NaN.
double factor_of(const std::vector<double>& with, const std::vector<double>& without) {
  double product = 0, squares = 0;
  for (size_t l = 0; l < with.size(); ++l) {
    product += with[l] * without[l];
    squares += without[l] * without[l];
  }
  const double factor = product / squares;
  for (size_t l = 0; l < with.size(); ++l)
    if (std::abs(with[l] - factor * without[l]) > 1e-6) return NAN;
  return factor;
}

std::vector<double> difference(const std::vector<double>& with, const std::vector<double>& without) {
  std::vector<double> d(with.size());
  for (size_t l = 0; l < d.size(); ++l) d[l] = with[l] - without[l];
  return d;
}

double deviation(const std::vector<double>& x) {
  double sum = 0, squares = 0;
  for (double value : x) sum += value;
  const double mean = sum / static_cast<double>(x.size());
  for (double value : x) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(x.size()));
}

/// Frequency, amplitude and phase of a sine without noise. From d[l + k] + d[l − k] = 2 cos(kω) d[l], then least
/// squares.
struct Fit {
  double hz, amplitude, phase, error;
};
Fit fit_sine(const std::vector<double>& d, size_t k) {
  double product = 0, squares = 0;
  for (size_t l = k; l + k < d.size(); ++l) {
    product += (d[l + k] + d[l - k]) * d[l];
    squares += 2 * d[l] * d[l];
  }
  const double omega = std::acos(std::clamp(product / squares, -1.0, 1.0)) / static_cast<double>(k);
  double ss = 0, sc = 0, cc = 0, ds = 0, dc = 0;
  for (size_t l = 0; l < d.size(); ++l) {
    const double s = std::sin(omega * static_cast<double>(l)), c = std::cos(omega * static_cast<double>(l));
    ss += s * s;
    sc += s * c;
    cc += c * c;
    ds += d[l] * s;
    dc += d[l] * c;
  }
  const double determinant = ss * cc - sc * sc, a = (ds * cc - dc * sc) / determinant,
               b = (dc * ss - ds * sc) / determinant;
  Fit fit{omega * kRate / (2 * M_PI), std::hypot(a, b), std::atan2(b, a), 0};
  for (size_t l = 0; l < d.size(); ++l)
    fit.error = std::max(fit.error, std::abs(d[l] - a * std::sin(omega * static_cast<double>(l)) -
                                             b * std::cos(omega * static_cast<double>(l))));
  return fit;
}

/// Correlation between the values of two series; of a series with itself `lag` later.
double correlation(const std::vector<double>& a, const std::vector<double>& b, size_t lag) {
  double sum = 0;
  for (size_t l = 0; l + lag < a.size(); ++l) sum += a[l] * b[l + lag];
  return sum / static_cast<double>(a.size() - lag) / (deviation(a) * deviation(b));
}

}  // namespace

TEST_CASE("amplitude: gain multiplies a view by one factor, its leads by factors of their own") {
  const Batch batch = noisy_leads(20, 60, 8);
  std::vector<double> of_view;
  for_each_lead(batch, alone("gain"), [&](const auto& with, const auto& without, int, int c) {
    const double factor = factor_of(with, without);
    if (c == 0) of_view.push_back(factor);
    CHECK((factor > 0.85 - 1e-6 && factor < 1.15 + 1e-6));
    CHECK(factor == doctest::Approx(of_view.back()).epsilon(1e-5));
  });
  CHECK(deviation(of_view) > 0.05);

  double first = 0, spread = 0;
  for_each_lead(batch, alone("lead_gain"), [&](const auto& with, const auto& without, int, int c) {
    const double factor = factor_of(with, without);
    CHECK((factor > 0.8 - 1e-6 && factor < 1.2 + 1e-6));
    if (c == 0) first = factor;
    spread += std::abs(factor - first) / (20 * 7);
  });
  CHECK(spread > 0.08);  // uniform in ±0.2: a third of the range's width is the mean distance, 0.133
}

TEST_CASE("amplitude: an amplitude scale is positive and uniform in its logarithm") {
  const Batch batch = noisy_leads(400, 4, 1);
  double sum = 0, least = 10, most = 0;
  for_each_lead(batch, alone("amplitude_scale"), [&](const auto& with, const auto& without, int, int) {
    const double factor = factor_of(with, without);
    sum += std::log2(factor);
    least = std::min(least, factor);
    most = std::max(most, factor);
  });
  CHECK((least > 0.5 - 1e-6 && least < 0.52));
  CHECK((most < 2 + 1e-6 && most > 1.92));
  CHECK(std::abs(sum / 400) < 4 * 2 / std::sqrt(12.0 * 400));
}

TEST_CASE("amplitude: lead offsets are constants, a baseline shift is one step at one moment") {
  const Batch batch = noisy_leads(30, 80, 8);
  double largest = 0;
  for_each_lead(batch, alone("lead_offset"), [&](const auto& with, const auto& without, int, int) {
    const std::vector<double> d = difference(with, without);
    CHECK(deviation(d) < 1e-6);
    CHECK(std::abs(d[0]) < 0.05 + 1e-6);
    largest = std::max(largest, std::abs(d[0]));
  });
  CHECK(largest > 0.048);

  size_t earliest = 80, latest = 0, moment = 0;
  largest = 0;
  for_each_lead(batch, alone("baseline_shift"), [&](const auto& with, const auto& without, int, int c) {
    const std::vector<double> d = difference(with, without);
    size_t begin = 0;
    while (begin < d.size() && d[begin] == 0) ++begin;
    REQUIRE(begin < d.size());
    if (c == 0) moment = begin;
    CHECK(begin == moment);
    for (size_t l = begin; l < d.size(); ++l) CHECK(std::abs(d[l] - d[begin]) < 1e-6);
    CHECK(std::abs(d[begin]) < 0.3 + 1e-6);
    earliest = std::min(earliest, begin);
    latest = std::max(latest, begin);
    largest = std::max(largest, std::abs(d[begin]));
  });
  CHECK((earliest < 10 && latest > 70));
  CHECK(largest > 0.29);
}

TEST_CASE("added: a motion artifact is a slow sine, of one frequency, with amplitude and phase of each lead") {
  const Batch batch = silent_leads(20, 1000, 8);
  double lowest_hz = 10, highest_hz = 0, least = 1, most = 0, of_view = 0;
  std::vector<double> phases;
  for_each_lead(batch, alone("motion_artifact"), [&](const auto& with, const auto& without, int, int c) {
    const Fit fit = fit_sine(difference(with, without), 100);
    CHECK(fit.error < 1e-5);
    if (c == 0) of_view = fit.hz;
    CHECK(fit.hz == doctest::Approx(of_view).epsilon(1e-3).scale(0));
    CHECK((fit.hz > 0.499 && fit.hz < 2.001));
    CHECK((fit.amplitude > 0.00999 && fit.amplitude < 0.05001));
    lowest_hz = std::min(lowest_hz, fit.hz);
    highest_hz = std::max(highest_hz, fit.hz);
    least = std::min(least, fit.amplitude);
    most = std::max(most, fit.amplitude);
    phases.push_back(fit.phase);
  });
  CHECK((lowest_hz < 0.75 && highest_hz > 1.75));
  CHECK((least < 0.012 && most > 0.048));
  CHECK(deviation(phases) == doctest::Approx(M_PI / std::sqrt(3.0)).epsilon(0.2).scale(0));  // uniform over the circle
}

TEST_CASE("added: the mains hum at 50 or 60 Hz") {
  const Batch batch = silent_leads(6, 1000, 12);
  for (double hz : {50.0, 60.0}) {
    const std::string frequency = fmt::format("mains.frequency_hz={}", hz);
    for_each_lead(batch, alone("mains", {frequency.c_str()}), [&](const auto& with, const auto& without, int, int) {
      const Fit fit = fit_sine(difference(with, without), 1);
      CHECK(fit.hz == doctest::Approx(hz).epsilon(1e-4));
      CHECK(fit.error < 1e-5);
      CHECK((fit.amplitude > 0.00999 && fit.amplitude < 0.05001));
    });
  }
}

TEST_CASE("added: muscle noise is a burst that swells and fades") {
  const int L = 500;
  const Batch batch = silent_leads(60, L, 4);
  int shortest = L, longest = 0, first = 0, last = 0;
  for_each_lead(batch, alone("muscle_noise"), [&](const auto& with, const auto&, int, int c) {
    int begin = 0, end = L;
    while (begin < L && with[static_cast<size_t>(begin)] == 0) ++begin;
    while (end > 0 && with[static_cast<size_t>(end - 1)] == 0) --end;
    if (c == 0) first = begin, last = end;
    CHECK((begin == first && end == last));  // one burst for all leads
    shortest = std::min(shortest, end - begin);
    longest = std::max(longest, end - begin);
  });
  CHECK((shortest >= 0.2 * L - 1 && shortest < 0.3 * L));
  CHECK((longest <= L && longest > 0.9 * L));

  // A burst as long as the view: its size follows Hann's window.
  const NamedRecipe full = alone("muscle_noise", {"muscle_noise.share=1", "muscle_noise.std_mv=0.04"});
  std::vector<double> squares(static_cast<size_t>(L), 0);
  for_each_lead(batch, full, [&](const auto& with, const auto&, int, int) {
    for (size_t l = 0; l < with.size(); ++l) squares[l] += with[l] * with[l] / (60 * 4);
  });
  const auto std_at = [&](int l) {  // over 20 moments of 240 leads: ±1.5 %
    double sum = 0;
    for (int i = l; i < l + 20; ++i) sum += squares[static_cast<size_t>(i)] / 20;
    return std::sqrt(sum);
  };
  CHECK(std_at(L / 2 - 10) == doctest::Approx(0.04).epsilon(0.06).scale(0));
  CHECK(std_at(L / 4 - 10) == doctest::Approx(0.02).epsilon(0.06).scale(0));
  CHECK(std_at(3 * L / 4 - 10) == doctest::Approx(0.02).epsilon(0.06).scale(0));
  CHECK(std_at(0) < 0.04 * 0.02);
}

TEST_CASE("added: the power of muscle noise rises with frequency") {
  const int L = 500;
  const Batch batch = silent_leads(40, L, 4);
  std::vector<double> power(5, 0);  // at 25, 75, … Hz
  for_each_lead(batch, alone("muscle_noise", {"muscle_noise.share=1", "muscle_noise.std_mv=0.05"}),
                [&](const auto& with, const auto&, int, int) {
                  for (size_t k = 0; k < power.size(); ++k) {
                    const double hz = 25 + 50 * static_cast<double>(k);
                    std::complex<double> sum = 0;
                    for (size_t l = 0; l < with.size(); ++l)
                      sum += with[l] * std::polar(1.0, -2 * M_PI * hz / kRate * static_cast<double>(l));
                    power[k] += std::norm(sum);
                  }
                });
  for (size_t k = 0; k + 1 < power.size(); ++k) CHECK(power[k + 1] > power[k]);
  CHECK(power[4] > 20 * power[0]);  // |1 − e^(−iω)|²: 3.90 and 0.098
}

TEST_CASE("added: white noise is normal, independent, and in standard deviations of the lead over all records") {
  Batch batch = silent_leads(30, 400, 6);
  for (size_t c = 0; c < 6; ++c) batch.std_mv[c] = 0.1f * static_cast<float>(1 + c);
  // Views are in standard deviations themselves.
  std::vector<std::vector<double>> leads(6);
  for_each_lead(batch, alone("additive_noise", {"additive_noise.sd=0.25"}),
                [&](const auto& with, const auto& without, int, int c) {
                  const std::vector<double> d = difference(with, without);
                  leads[static_cast<size_t>(c)].insert(leads[static_cast<size_t>(c)].end(), d.begin(), d.end());
                });
  const double error = 1 / std::sqrt(30.0 * 400);
  for (size_t a = 0; a < 6; ++a) {
    CHECK(std::abs(deviation(leads[a]) / 0.25 - 1) < 4 * error / std::sqrt(2.0));
    double fourth = 0;
    for (double value : leads[a]) fourth += std::pow(value / 0.25, 4) * error * error;
    CHECK(std::abs(fourth - 3) < 4 * error * std::sqrt(96.0));
    for (size_t lag : {1, 2, 3, 4, 32}) CHECK(std::abs(correlation(leads[a], leads[a], lag)) < 4 * error);
    for (size_t b = 0; b < a; ++b)
      for (size_t lag : {0, 1}) CHECK(std::abs(correlation(leads[a], leads[b], lag)) < 4 * error);
  }
}

TEST_CASE("added: a lead's noise is relative to the lead's own deviation in the view") {
  Batch batch = noisy_leads(20, 1000, 8);
  for (int l = 0; l < batch.L_in; ++l)
    for (int r = 0; r < batch.R; ++r)
      batch.samples[static_cast<size_t>((r * batch.L_in + l) * 8 + 7)] = 1000;  // one lead is flat
  std::vector<double> squares(8, 0);
  for_each_lead(batch, alone("lead_noise", {"lead_noise.fraction=0.1"}),
                [&](const auto& with, const auto& without, int, int c) {
                  const std::vector<double> d = difference(with, without);
                  if (c == 7)
                    CHECK(max_magnitude(d) < 1e-6);
                  else
                    squares[static_cast<size_t>(c)] += std::pow(deviation(d) / deviation(without), 2) / 20;
                });
  for (size_t c = 0; c < 7; ++c) CHECK(std::abs(std::sqrt(squares[c]) / 0.1 - 1) < 4 / std::sqrt(2.0 * 20 * 1000));

  double least = 1, most = 0;  // each lead draws its fraction
  for_each_lead(batch, alone("lead_noise"), [&](const auto& with, const auto& without, int, int c) {
    if (c == 7) return;
    const double fraction = deviation(difference(with, without)) / deviation(without);
    least = std::min(least, fraction);
    most = std::max(most, fraction);
  });
  CHECK((least > 0.0045 && least < 0.006));
  CHECK((most < 0.022 && most > 0.019));
}
