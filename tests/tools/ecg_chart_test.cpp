// ECGs on paper: what is measured here on the picture with a ruler, in pixels, must be what was put in. No test looks
// at text, so none depends on fonts.

#include "tools/ecg_chart.h"

#include <numbers>

#include "data/ptbxl.h"
#include "kernels/common/error.h"
#include "tests/support.h"
#include "tests/tools/picture.h"

namespace fs = std::filesystem;
using namespace systole::test;
using systole::Error;
using namespace systole::tools;

namespace {

constexpr int kDots = 8;  // per mm

/// An ECG without title and with every lead equal to mv(t).
template <class Signal>
Ecg ecg(const std::vector<std::string>& leads, double sampling_rate_hz, double seconds, const Signal& mv) {
  Ecg made{.title = "", .subtitle = "", .leads = leads, .sampling_rate_hz = sampling_rate_hz, .samples_mv = {}};
  for (int i = 0; i < std::lround(seconds * sampling_rate_hz); ++i)
    made.samples_mv.insert(made.samples_mv.end(), leads.size(), static_cast<float>(mv(i / sampling_rate_hz)));
  return made;
}

float flat(double) {
  return 0;
}

std::vector<std::string> standard_leads() {
  return {systole::data::kStandardLeads.begin(), systole::data::kStandardLeads.end()};
}

Picture picture_of(const Page& page) {
  const TemporaryFolder folder;
  write_png(folder / "page.png", page, kDots);
  return {folder / "page.png", kDots};
}

double centre_mm(const std::pair<int, int>& run) {
  return (run.first + run.second + 1) / 2.0 / kDots;
}

}  // namespace

TEST_CASE("ecg_chart: a PNG has the size of its page times the dots per millimetre") {
  const TemporaryFolder folder;
  const Page page = page_of({ecg(standard_leads(), 100, 10, flat), ecg({"I", "II"}, 100, 4, flat)});
  for (const int dots : {1, 4, 11}) {
    write_png(folder / "page.png", page, dots);
    const Picture picture(folder / "page.png", dots);
    CHECK(picture.width() == std::lround(page.width_mm * dots));
    CHECK(picture.height() == std::lround(page.height_mm * dots));
  }
}

TEST_CASE("ecg_chart: the calibration pulse is 10 mm high and 5 mm wide in every row, and a millivolt is as high") {
  for (const std::vector<std::string>& leads : {std::vector<std::string>{"", ""}, standard_leads()}) {
    const int rows = leads.size() == 2 ? 2 : 4;
    // 1 mV from the first second on; before it the trace runs on the baseline
    const Picture picture = picture_of(page_of({ecg(leads, 500, 10, [](double t) { return t < 1 ? 0 : 1; })}));
    int from = 0;
    for (int row = 0; row < rows; ++row) {
      CAPTURE(row);
      const auto top = picture.line_below(from, 4.5);
      REQUIRE(top.y > 0);
      const auto baseline = picture.line_below(static_cast<int>(top.y) + 2 * kDots, 20);
      CHECK(baseline.y - top.y == doctest::Approx(10 * kDots).epsilon(0.01));
      CHECK(top.right - top.left == doctest::Approx(5.3 * kDots).epsilon(0.03));  // and the line's own 0.3 mm
      const auto at_top = picture.runs(static_cast<int>(top.y));
      CHECK(at_top.size() >= 2);  // the pulse and the step of the signal
      CHECK(at_top.back().second - top.left > 200 * kDots);
      from = static_cast<int>(baseline.y) + 2 * kDots;
    }
    CHECK(picture.line_below(from, 4.5).y == -1);
  }
}

TEST_CASE("ecg_chart: a sine of 1.25 Hz has its peaks 20 mm apart, at any sampling rate") {
  for (const double sampling_rate_hz : {100.0, 360.0, 500.0}) {
    CAPTURE(sampling_rate_hz);
    const auto sine = [](double t) { return 1.4 * std::sin(2 * std::numbers::pi * 1.25 * t); };
    const Picture picture = picture_of(page_of({ecg({""}, sampling_rate_hz, 8, sine)}));
    const auto pulse = picture.line_below(0, 4.5);
    const auto peaks = picture.runs(static_cast<int>(pulse.y - 3 * kDots));  // 1.3 mV
    REQUIRE(peaks.size() == 20);  // each of ten peaks is crossed upwards and downwards
    for (size_t i = 2; i < peaks.size(); ++i)
      CHECK(centre_mm(peaks[i]) - centre_mm(peaks[i - 2]) == doctest::Approx(20).epsilon(0.01));
    const double first_peak_mm = (centre_mm(peaks[0]) + centre_mm(peaks[1])) / 2 - pulse.left / kDots;
    CHECK(first_peak_mm == doctest::Approx(10 + 5).epsilon(0.02));  // a trace begins 10 mm after the pulse
  }
}

TEST_CASE("ecg_chart: the columns of the standard form follow one another in time, above the rhythm strip") {
  for (const double spike_s : {1.0, 4.0, 6.0, 9.0}) {
    CAPTURE(spike_s);
    const auto spike = [&](double t) { return std::abs(t - spike_s) < 0.04 ? 1.45 : 0; };
    const Picture picture = picture_of(page_of({ecg(standard_leads(), 500, 10, spike)}));
    int from = 0, left = 0;
    for (int row = 0; row < 4; ++row) {
      const auto plateau = picture.line_below(from, 1.8);  // 80 ms, above names, marks and pulse
      if (row == 0) left = static_cast<int>(picture.line_below(static_cast<int>(plateau.y), 4.5).left);
      CHECK((plateau.left + plateau.right) / 2 - left == doctest::Approx((10 + 25 * spike_s) * kDots).epsilon(0.01));
      CHECK(picture.runs(static_cast<int>(plateau.y)).size() == 1);
      from = static_cast<int>(plateau.y) + 20 * kDots;
    }
  }
}

TEST_CASE("ecg_chart: a trace ends where there is no number, and one out of bounds stays on its paper") {
  const auto broken = [](double t) { return t < 1 ? 0.0 : t < 2 ? std::nan("") : t < 3 ? 0.0 : 1e30; };
  const Picture picture = picture_of(page_of({ecg({""}, 100, 4, broken)}));
  const auto pulse = picture.line_below(0, 4.5);
  const auto baseline = picture.runs(static_cast<int>(pulse.y) + 10 * kDots);
  REQUIRE(baseline.size() == 4);  // the pulse's two feet, the first and the third second
  CHECK(centre_mm(baseline[3]) - centre_mm(baseline[2]) == doctest::Approx(50).epsilon(0.02));
  CHECK(picture.runs(static_cast<int>(pulse.y) - 20 * kDots).empty());  // above the paper
}

TEST_CASE("ecg_chart: a sheet draws what was before in grey behind what it became") {
  const Ecg before = ecg({""}, 100, 2, flat), after = ecg({""}, 100, 2, [](double) { return 0.5; });
  const Page one = sheet_of("", "", {{before, after}}, 3), four = sheet_of("", "", {4, {before, after}}, 3);
  const Picture picture = picture_of(four);
  const auto pulse = picture.line_below(0, 4.5);
  const int half_mv = static_cast<int>(pulse.y) + 5 * kDots, zero_mv = static_cast<int>(pulse.y) + 10 * kDots;
  const auto longer_than_30_mm = [&](int y) {
    const auto runs = picture.runs(y);
    return std::count_if(runs.begin(), runs.end(), [](const auto& r) { return r.second - r.first > 30 * kDots; });
  };
  CHECK(longer_than_30_mm(half_mv) == 3);
  CHECK(longer_than_30_mm(zero_mv) == 0);
  CHECK(four.width_mm == one.width_mm);
  CHECK(four.height_mm > one.height_mm + 30);
}

TEST_CASE("ecg_chart: an SVG is in millimetres and stays small for a record at 500 Hz and its views") {
  const TemporaryFolder folder;
  Ecg noisy = ecg(standard_leads(), 500, 10, flat);
  noisy.samples_mv = random_normal(noisy.samples_mv.size(), 0, 0.3f);
  const Page page = page_of({noisy, noisy, noisy});
  write_svg(folder / "page.svg", page);
  const std::string svg = read_file(folder / "page.svg");
  CHECK(svg.starts_with("<?xml"));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(svg.find(fmt::format("width=\"{0:g}mm\" height=\"{1:g}mm\" viewBox=\"0 0 {0:g} {1:g}\"", page.width_mm,
                             page.height_mm)) != std::string::npos);
  CHECK(svg.find("<image") == std::string::npos);
  CHECK(svg.size() < 1'500'000);
}

TEST_CASE("ecg_chart: what cannot be drawn or written is refused with a sentence, and nothing is left behind") {
  const TemporaryFolder folder;
  const Page page = page_of({ecg({"I"}, 100, 1, flat)});
  fs::create_directory(folder / "taken.svg");
  CHECK(sentence_of<Error>([&] { write_svg(folder / "taken.svg", page); }).find("taken.svg") != std::string::npos);
  CHECK(sentence_of<Error>([&] { write_png(folder / "no/such.png", page, kDots); }).find("such.png") !=
        std::string::npos);
  CHECK(sentence_of<Error>([&] { write_png(folder / "huge.png", page, 1000); }).find("huge.png") != std::string::npos);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);

  Ecg odd = ecg({"I", "II"}, 100, 1, flat);
  odd.title = "record 7";
  odd.samples_mv.pop_back();
  CHECK(sentence_of<Error>([&] { page_of({odd}); }) ==
        "the ECG 'record 7' cannot be drawn: 199 samples of 2 leads, expected the same number of each");
}
