// The band-pass filter, measured from outside: by the impulse response of views of an impulse.

#include "tests/augment/batch.h"
#include "tests/augment/ecg.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

Recipe band(float low_hz, float high_hz) {
  Recipe recipe = only("band_pass");
  recipe.band_pass.low_hz = {low_hz, low_hz};
  recipe.band_pass.high_hz = {high_hz, high_hz};
  return recipe;
}

/// The filter's response to an impulse in the middle of ten seconds, and its gain at frequencies.
struct Response {
  double sampling_rate_hz;
  std::vector<double> y;

  Response(double rate_hz, const Recipe& recipe) : sampling_rate_hz(rate_hz) {
    const int L = static_cast<int>(10 * rate_hz);
    Batch batch(1, L, 1, rate_hz);
    batch.samples[static_cast<size_t>(L / 2)] = 4096;
    y = lead_of(batch.views(recipe), 0, 1);
  }
  /// Real part, relative to the impulse's middle; zero phase means that there is no other.
  double gain(double hz) const {
    return sum(hz, [](double x) { return std::cos(x); });
  }
  double quadrature(double hz) const {
    return sum(hz, [](double x) { return std::sin(x); });
  }
  /// Where the gain is √½, between two frequencies on whose sides it is larger and smaller.
  double corner(double inside_hz, double outside_hz) const {
    for (int i = 0; i < 40; ++i) {
      const double middle = (inside_hz + outside_hz) / 2;
      (gain(middle) > std::sqrt(0.5) ? inside_hz : outside_hz) = middle;
    }
    return inside_hz;
  }

 private:
  template <class F>
  double sum(double hz, const F& wave) const {
    double total = 0;
    const size_t middle = y.size() / 2;
    for (size_t l = 0; l < y.size(); ++l)
      total += y[l] * wave(2 * M_PI * hz * (static_cast<double>(l) - static_cast<double>(middle)) / sampling_rate_hz);
    return total;
  }
};

double decibels(double gain) {
  return 20 * std::log10(std::abs(gain));
}

}  // namespace

TEST_CASE("band_pass: 3 dB are lost at the corners that were drawn, 20 dB and more an octave beyond, nothing between") {
  for (double low : {0.5, 1.0, 1.5})
    for (double high : {40.0, 60.0}) {
      const Response r(500, band(static_cast<float>(low), static_cast<float>(high)));
      CHECK(r.corner(5, 0) == doctest::Approx(low).epsilon(0.05).scale(0));
      CHECK(r.corner(10, 200) == doctest::Approx(high).epsilon(0.05).scale(0));
      if (low >= 1) CHECK(decibels(r.gain(low / 2)) < -20);  // below, ten seconds are too short to measure it
      CHECK(decibels(r.gain(high * 2)) < -20);
      for (double hz : {3.0, 5.0, 10.0, 20.0}) CHECK(r.gain(hz) == doctest::Approx(1).epsilon(0.03).scale(0));
      CHECK(std::abs(r.gain(0)) < 0.02);  // the response to a constant, but for what ten seconds cut off
    }
}

TEST_CASE("band_pass: the phase is zero") {
  const Response r(500, band(1, 40));
  const size_t middle = r.y.size() / 2;
  CHECK(static_cast<size_t>(std::max_element(r.y.begin(), r.y.end()) - r.y.begin()) == middle);
  double asymmetry = 0;
  for (size_t k = 0; k < middle; ++k) asymmetry = std::max(asymmetry, std::abs(r.y[middle + k] - r.y[middle - k]));
  CHECK(asymmetry < 1e-4 * r.y[middle]);
  for (double hz : {1.0, 10.0, 40.0}) CHECK(std::abs(r.quadrature(hz)) < 1e-3);

  // An ECG's R peaks stay where they are.
  Batch batch(1, 5000, 1, 500);
  const std::vector<double> beats = r_peaks_s(0.8, 10, 1);
  batch.set_mv([&](int, int l, int) { return ecg_mv(l / 500.0, beats); });
  const std::vector<double> before = peaks(lead_of(batch.views({}), 0, 1), 0.6),
                            after = peaks(lead_of(batch.views(band(1, 40)), 0, 1), 0.4);
  REQUIRE(after.size() == before.size());
  CHECK(max_error(after, before) < 0.5);  // samples of 2 ms
}

TEST_CASE("band_pass: an upper corner beyond the sampling rate's half is limited") {
  const Response r(100, band(1, 60));
  CHECK(r.corner(10, 50) == doctest::Approx(49).epsilon(0.01).scale(0));
  // The same as the highest corner that can be had.
  Batch batch(1, 1000, 1, 100);
  const std::vector<float> noise = random_normal(1000, 3, 0.5f);
  batch.set_mv([&](int, int l, int) { return noise[static_cast<size_t>(l)]; });
  CHECK(batch.views(band(1, 60)) == batch.views(band(1, 0.49f * 100)));
}

TEST_CASE("band_pass: corners are drawn from their ranges") {
  Recipe recipe = only("band_pass");
  recipe.band_pass.low_hz = {2, 4};
  double lowest = 10, highest = 0;
  for (uint64_t seed = 0; seed < 12; ++seed) {
    Batch batch(1, 2000, 1, 200);
    batch.seed = seed;
    batch.samples[1000] = 4096;
    Response r(200, {});
    r.y = lead_of(batch.views(recipe), 0, 1);
    const double corner = r.corner(10, 0);
    lowest = std::min(lowest, corner);
    highest = std::max(highest, corner);
  }
  CHECK((lowest > 1.95 && lowest < 2.6));
  CHECK((highest < 4.1 && highest > 3.4));
}

TEST_CASE("band_pass: the ends of a view are filtered nearly as if its record went on there") {
  // Ten seconds out of thirty, filtered alone and within the thirty. What lies beyond a cut is not known; its mirror
  // image is the better guess: with odd mirroring, as scipy's filtfilt has it, the ends are wrong by up to 78 % of the
  // signal.
  const double rate = 250;
  const int L_in = static_cast<int>(30 * rate), L = static_cast<int>(10 * rate), second = static_cast<int>(rate);
  struct Baseline {
    const char* name;
    double offset_mv, wander_mv, wander_hz;
  };
  for (const Baseline& baseline :
       {Baseline{"none", 0, 0, 0}, Baseline{"offset", 1, 0, 0}, Baseline{"drift", 1, 0.3, 0.05}}) {
    const int R = 4;
    Batch batch(R, L_in, 1, rate);
    std::vector<std::vector<double>> beats;
    for (int r = 0; r < R; ++r) beats.push_back(r_peaks_s(0.6 + 0.15 * r, 30, static_cast<uint32_t>(r)));
    batch.set_mv([&](int r, int l, int) {
      const double t = l / rate;
      return ecg_mv(t, beats[static_cast<size_t>(r)]) + baseline.offset_mv +
             baseline.wander_mv * std::sin(2 * M_PI * baseline.wander_hz * t + r);
    });
    const Recipe recipe = band(1, 40);
    const std::vector<float> whole = batch.views(recipe);
    double worst = 0, sum_of_worst = 0, worst_half_a_second_in = 0, worst_a_second_in = 0;
    int cuts = 0;
    const uint32_t steps = device() == Device::cpu ? 20 : 4;
    for (uint32_t step = 0; step < steps; ++step) {
      // The same step draws the same segment, with a filter and without.
      const std::vector<float> plain = batch.views({}, 1, L, Segment::random, step),
                               x = batch.views(recipe, 1, L, Segment::random, step);
      for (int r = 0; r < R; ++r) {
        const auto view = static_cast<size_t>(r * L);
        int start = 0;
        const auto is_here = [&] {
          for (int l = 0; l < L; l += 7)
            if (plain[view + static_cast<size_t>(l)] != batch.mv(r, start + l, 0)) return false;
          return true;
        };
        while (start < L_in - L && !is_here()) ++start;
        if (start < 3 * second || start > L_in - L - 3 * second) continue;  // not near the ends of the thirty
        const auto [least, most] = std::minmax_element(plain.begin() + r * L, plain.begin() + (r + 1) * L);
        double largest = 0;
        for (int l = 0; l < L; ++l) {
          const double error =
              std::abs(x[view + static_cast<size_t>(l)] - whole[static_cast<size_t>(r * L_in + start + l)]) /
              (*most - *least);
          const int from_end = std::min(l, L - 1 - l);
          largest = std::max(largest, error);
          if (from_end > second / 2) worst_half_a_second_in = std::max(worst_half_a_second_in, error);
          if (from_end > second) worst_a_second_in = std::max(worst_a_second_in, error);
        }
        worst = std::max(worst, largest);
        sum_of_worst += largest;
        ++cuts;
      }
    }
    REQUIRE(cuts > 5);
    CHECK_MESSAGE(worst < 0.1, fmt::format("{}: {}", baseline.name, worst));  // where a QRS complex was cut
    CHECK_MESSAGE(sum_of_worst / cuts < 0.05, fmt::format("{}: {}", baseline.name, sum_of_worst / cuts));
    CHECK_MESSAGE(worst_half_a_second_in < 0.025, fmt::format("{}: {}", baseline.name, worst_half_a_second_in));
    CHECK_MESSAGE(worst_a_second_in < 0.005, fmt::format("{}: {}", baseline.name, worst_a_second_in));
  }
}
