// Augmentations of when a view reads its record. The records are clocks, each sample's value is its position: so a view
// shows directly where it was read. Frequency warp is also measured as it is meant, by the R–R intervals of an ECG.

#include "tests/augment/batch.h"
#include "tests/augment/ecg.h"

using namespace systole;
using namespace systole::augment;
using namespace systole::test;

namespace {

/// Sample l holds the value l + 1: no sample is zero.
Batch clocks(int R, int L_in, int C) {
  Batch batch(R, L_in, C, 500);
  for (size_t i = 0; i < batch.samples.size(); ++i)
    batch.samples[i] = static_cast<int16_t>(static_cast<int>(i) / C % L_in + 1);
  batch.scale.assign(batch.scale.size(), 1);
  return batch;
}

/// Calls check(times) with what `views` views of a clock show: positions in its record.
template <class Check>
void for_each_view(const Recipe& recipe, int L_in, int L, int views, const Check& check) {
  const Batch batch = clocks(views, L_in, 1);
  const std::vector<float> x = batch.views(recipe, 1, L, Segment::centre, 0);
  for (int n = 0; n < views; ++n) {
    std::vector<double> times = lead_of(view_of(x, static_cast<size_t>(n), L, 1), 0, 1);
    for (double& t : times) t -= 1;
    check(times);
  }
}

}  // namespace

TEST_CASE("time: frequency warp multiplies the heart rate by a factor of its range") {
  const bool quick = device() != Device::cpu;
  const double rate_hz = 500;
  const int views = quick ? 4 : 60, L = quick ? 2000 : 5000;
  Batch batch(views, L, 1, rate_hz);
  std::vector<std::vector<double>> beats;
  for (int r = 0; r < views; ++r) beats.push_back(r_peaks_s(0.6 + 0.005 * r, L / rate_hz, static_cast<uint32_t>(r)));
  batch.set_mv([&](int r, int l, int) { return ecg_mv(l / rate_hz, beats[static_cast<size_t>(r)]); });
  const std::vector<float> x = batch.views(only("frequency_warp"));
  double lowest = 2, highest = 0;
  for (int r = 0; r < views; ++r) {
    const std::vector<double>& true_peaks = beats[static_cast<size_t>(r)];
    // Without the outermost tenth, where a view that reads beyond its record is a mirror image.
    std::vector<double> seen;
    for (double peak : peaks(lead_of(view_of(x, static_cast<size_t>(r), L, 1), 0, 1), 0.6))
      if (peak > 0.1 * L && peak < 0.9 * L) seen.push_back(peak / rate_hz);
    REQUIRE(seen.size() >= 3);
    // The middle of the view stays where it is, so that its beats are the record's beats there.
    const double middle = (L - 1) / 2.0 / rate_hz;
    std::vector<double> factors;
    for (size_t i = 0; i + 1 < seen.size(); ++i) {
      const auto nearest = [&](double time) {
        return *std::min_element(true_peaks.begin(), true_peaks.end(),
                                 [&](double a, double b) { return std::abs(a - time) < std::abs(b - time); });
      };
      const double from = nearest(seen[i]), to = nearest(seen[i + 1]);
      factors.push_back((to - from) / (seen[i + 1] - seen[i]));
      CHECK(from - middle == doctest::Approx(factors.back() * (seen[i] - middle)).epsilon(0.01).scale(0.1));
    }
    const auto [least, most] = std::minmax_element(factors.begin(), factors.end());
    CHECK(*most - *least < 0.002);  // one factor for the whole view
    CHECK((*least > 0.949 && *most < 1.051));
    lowest = std::min(lowest, *least);
    highest = std::max(highest, *most);
  }
  if (!quick) CHECK((lowest < 0.955 && highest > 1.045));
}

TEST_CASE("time: a warped view interpolates a band-limited signal well") {
  // A sine of a twentieth of the sampling rate, warped and compared with the sine at the warped time: Catmull and Rom's
  // error is of third order, ω³/… ≈ 0.4 %.
  const int L = 600;
  const double omega = 2 * M_PI / 20;
  Batch batch(4, L, 2, 500);  // lead 0: the clock, lead 1: the sine
  batch.set_mv([&](int, int l, int c) { return c == 0 ? l / 100.0 : std::sin(omega * l); });
  for (const char* name : {"frequency_warp", "time_warp", "crop_resize"}) {
    const std::vector<float> x = batch.views(only(name), 1, 400, Segment::centre, 0);
    double worst = 0;
    for (size_t i = 0; i < x.size(); i += 2)
      worst = std::max(worst, std::abs(x[i + 1] - std::sin(omega * 100 * double{x[i]})));
    CHECK_MESSAGE(worst < 0.02, fmt::format("{}: {}", name, worst));
  }
}

TEST_CASE("time: a warp swings smoothly, never runs backwards and keeps the speed's bounds") {
  const int L = 1000;
  double fastest = 1, slowest = 1;
  for_each_view(only("time_warp"), 1200, L, 40, [&](const std::vector<double>& time) {
    CHECK(time.front() == doctest::Approx(100).epsilon(1e-6));  // begins at its own time
    double largest = 0, jerk = 0, before = time[1] - time[0];
    for (size_t l = 1; l < time.size(); ++l) {
      const double speed = time[l] - time[l - 1];
      largest = std::max(largest, std::abs(speed - 1));
      jerk = std::max(jerk, std::abs(speed - before));
      before = speed;
      fastest = std::max(fastest, speed);
      slowest = std::min(slowest, speed);
    }
    // Half a cycle or more: wherever it begins, it comes to 0.7 of its largest speed.
    CHECK((largest > 0.7 * 0.02 - 1e-3 && largest < 0.1 + 1e-3));
    CHECK(jerk < 0.1 * 2 * M_PI * 3 / L + 1e-3);  // speed · ω, and the clock's rounding
  });
  CHECK((fastest > 1.08 && slowest < 0.92));
}

TEST_CASE("time: a view that is read beyond its record's ends sees a mirror image") {
  NamedRecipe recipe{"fast", "", only("frequency_warp")};
  change(recipe, "frequency_warp.factor=1.5");
  const int L = 101;
  for_each_view(recipe.recipe, L, L, 1, [&](const std::vector<double>& time) {
    for (int l = 0; l < L; ++l) {
      double expected = 50 + 1.5 * (l - 50);
      if (expected < 0) expected = -expected;
      if (expected > 100) expected = 200 - expected;
      // Where the mirror is, the cubic rounds the clock's corner off.
      CHECK(std::abs(time[static_cast<size_t>(l)] - expected) < (expected < 1 || expected > 99 ? 0.2 : 1e-4));
    }
  });
}

TEST_CASE("time: crop and resize stretches a part of the view to its length") {
  const int L = 1000;
  double first = L, last = 0;
  for_each_view(only("crop_resize"), L, L, 60, [&](const std::vector<double>& time) {
    const double slope = (time[L - 10] - time[10]) / (L - 20);
    CHECK((slope > 0.7 - 1e-5 && slope < 0.9 + 1e-5));
    double worst = 0;  // but for the outermost sample, where the cubic rounds the mirrored clock's corner off
    for (size_t l = 0; l < time.size(); ++l)
      if (time[l] > 1 && time[l] < L - 2)
        worst = std::max(worst, std::abs(time[l] - (time[10] + slope * (static_cast<double>(l) - 10))));
    CHECK(worst < 1e-3);
    CHECK((time.front() > -1e-3 && time.back() < L - 1 + 1e-3));
    first = std::min(first, time.front());
    last = std::max(last, time.back());
  });
  CHECK((first < 20 && last > L - 20));
}

TEST_CASE("time: a shift moves the view by whole samples, and zeros follow") {
  const int L = 1000;
  Batch batch = clocks(60, L, 1);
  batch.mean_mv = {500};
  batch.std_mv = {2};
  const std::vector<float> x = batch.views(only("time_shift"));
  int earliest = 0, latest = 0;
  for (size_t n = 0; n < 60; ++n) {
    const std::vector<double> view = lead_of(view_of(x, n, L, 1), 0, 1);
    // From the middle, which no shift reaches.
    const int shift = 500 - static_cast<int>(std::lround(2 * view[500] + 500 - 1));
    bool right = true;
    for (int l = 0; l < L; ++l) {
      const bool within = l - shift >= 0 && l - shift < L;
      const double expected = within ? (l - shift + 1 - 500) / 2.0 : 0;
      right &= std::abs(view[static_cast<size_t>(l)] - expected) < 1e-3;
      right &= within || view[static_cast<size_t>(l)] == 0;
    }
    CHECK(right);
    earliest = std::min(earliest, shift);
    latest = std::max(latest, shift);
  }
  CHECK((earliest >= -100 && earliest < -80));
  CHECK((latest <= 100 && latest > 80));
}

TEST_CASE("time: disjoint segments of a record never overlap, lie anywhere and come in any order") {
  for (int V : {2, 3}) {
    const int L_in = 100, L = 30, N = 200;
    const Batch batch = clocks(N, L_in, 1);
    const std::vector<float> x = batch.views({}, V, L, Segment::disjoint, 0);
    std::vector<int> reads(L_in, 0), first(static_cast<size_t>(V), 0);
    for (int n = 0; n < N; ++n) {
      std::vector<int> starts;
      for (int v = 0; v < V; ++v) starts.push_back(static_cast<int>(x[static_cast<size_t>((v * N + n) * L)]) - 1);
      for (int v = 0; v < V; ++v) {
        const int start = starts[static_cast<size_t>(v)];
        REQUIRE((start >= 0 && start + L <= L_in));
        for (int l = 0; l < L; ++l) ++reads[static_cast<size_t>(start + l)];
        for (int w = 0; w < v; ++w) CHECK(std::abs(start - starts[static_cast<size_t>(w)]) >= L);
      }
      ++first[static_cast<size_t>(std::min_element(starts.begin(), starts.end()) - starts.begin())];
    }
    CHECK(*std::min_element(reads.begin(), reads.end()) > 0);
    for (int count : first)
      CHECK(std::abs(count - N / static_cast<double>(V)) < 4 * std::sqrt(N / static_cast<double>(V)));
    // As many samples as there are: each is read once.
    const std::vector<float> all = batch.views({}, 2, L_in / 2, Segment::disjoint, 0);
    for (int n = 0; n < N; ++n)
      CHECK(all[static_cast<size_t>(n * 50)] + all[static_cast<size_t>((N + n) * 50)] == 52);  // clocks 1 and 51
  }
}
