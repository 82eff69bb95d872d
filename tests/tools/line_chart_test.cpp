// Line charts: where values stand, which numbers an axis names, and that what is drawn is where it belongs. No test
// looks at text, so none depends on fonts.

#include "tools/line_chart.h"

#include <array>
#include <cairo/cairo.h>
#include <memory>

#include "kernels/common/error.h"
#include "tests/support.h"
#include "tools/chart_axis.h"

using namespace systole::test;
using systole::Error;
using namespace systole::tools;

namespace {

constexpr int kDots = 8;  // per mm

/// A drawn page, to look for pixels of a colour.
class Pixels {
 public:
  explicit Pixels(const Page& page) : surface_(nullptr, cairo_surface_destroy) {
    const TemporaryFolder folder;
    write_png(folder / "page.png", page, kDots);
    surface_.reset(cairo_image_surface_create_from_png((folder / "page.png").c_str()));
    REQUIRE(cairo_surface_status(surface_.get()) == CAIRO_STATUS_SUCCESS);
  }

  /// Least and greatest x and y (mm) of the pixels of a colour "#rrggbb".
  struct Extent {
    int pixels = 0;
    double left = 1e9, right = -1, top = 1e9, bottom = -1;
  };
  Extent of(const std::string& colour) const {
    const auto rgb = static_cast<uint32_t>(std::stoul(colour.substr(1), nullptr, 16));
    Extent e;
    for (int y = 0; y < cairo_image_surface_get_height(surface_.get()); ++y)
      for (int x = 0; x < cairo_image_surface_get_width(surface_.get()); ++x) {
        if (at(x, y) != rgb) continue;
        ++e.pixels;
        e.left = std::min(e.left, double(x) / kDots), e.right = std::max(e.right, (x + 1.0) / kDots);
        e.top = std::min(e.top, double(y) / kDots), e.bottom = std::max(e.bottom, (y + 1.0) / kDots);
      }
    return e;
  }

 private:
  uint32_t at(int x, int y) const {
    const unsigned char* row =
        cairo_image_surface_get_data(surface_.get()) + y * cairo_image_surface_get_stride(surface_.get());
    return reinterpret_cast<const uint32_t*>(row)[x] & 0xffffff;
  }

  std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface_;
};

std::vector<std::string> texts(const std::vector<ChartTick>& ticks) {
  std::vector<std::string> found;
  for (const ChartTick& tick : ticks) found.push_back(tick.text);
  return found;
}

LineChart chart_of(const std::vector<ChartLine>& lines) {
  LineChart chart;
  chart.names = LineChart::Names::none;
  chart.panels = {{.title = "", .x = {.low = 0, .high = 10}, .y = {.low = 0, .high = 1}, .lines = lines}};
  return chart;
}

}  // namespace

TEST_CASE("chart_axis: a scale is linear in the value or in its logarithm, and leaves the room asked for") {
  const ChartScale linear = scale_of({}, {2, 6}, 10, 110, 5);
  CHECK(linear.at(2) == doctest::Approx(15));
  CHECK(linear.at(6) == doctest::Approx(105));
  CHECK(linear.at(3) == doctest::Approx(15 + 90 / 4.0));
  const ChartScale logarithmic = scale_of({.logarithmic = true}, {1, 100}, 100, 0, 0);
  CHECK(logarithmic.at(10) == doctest::Approx(50));
  CHECK(logarithmic.at(100) == doctest::Approx(0));
  const ChartScale given = scale_of({.low = 0, .high = 1}, {-3, 7}, 0, 10, 2);
  CHECK(given.at(0.5) == doctest::Approx(5));
  for (const bool is_logarithmic : {false, true})  // one value, and none at all
    CHECK(scale_of({.logarithmic = is_logarithmic}, {4}, 0, 10, 1).at(4) == doctest::Approx(5));
  CHECK(std::isfinite(scale_of({}, {}, 0, 10, 1).at(0.5)));
  CHECK(sentence_of<Error>([] {
          scale_of({.title = "labels", .logarithmic = true}, {0.5, 0}, 0, 10, 1);
        }) == "0 cannot be drawn on the logarithmic axis 'labels'");
}

TEST_CASE("chart_axis: round numbers") {
  const auto of = [](double low, double high, bool logarithmic) {
    return texts(round_ticks({logarithmic, low, high, 0, 100}));
  };
  using Texts = std::vector<std::string>;
  CHECK(of(0, 1, false) == Texts{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(of(0.713, 0.93, false) == Texts{"0.75", "0.80", "0.85", "0.90"});
  CHECK(of(-40, 0, false) == Texts{"−40", "−30", "−20", "−10", "0"});
  CHECK(of(0, 5e6, false) == Texts{"0", "1,000,000", "2,000,000", "3,000,000", "4,000,000", "5,000,000"});
  CHECK(of(0.4, 12, true) == Texts{"0.5", "1", "2", "5", "10"});
  CHECK(of(0.02, 20000, true) == Texts{"0.1", "1", "10", "100", "1,000", "10,000"});
}

TEST_CASE("line_chart: a line goes from its first to its last value, bars and bands from low to high") {
  const std::vector<ChartPoint> points{{2, 0.5, 0.25, 0.75}, {NAN, 0.5}, {6, NAN}, {8, 0.5, 0.25, 0.75}};
  LineChart chart = chart_of({{.name = "a", .points = points, .marks = false}});
  const std::string colour = chart_colour(0, ChartTheme::light);
  const auto bars = Pixels(page_of(chart)).of(colour);
  CHECK(bars.right - bars.left == doctest::Approx(0.6 * chart.panel_width_mm + 1).epsilon(0.01));      // and two caps
  CHECK(bars.bottom - bars.top == doctest::Approx(0.5 * chart.panel_height_mm + 0.25).epsilon(0.02));  // and a stroke

  chart.intervals = LineChart::Intervals::bands;
  const auto line = Pixels(page_of(chart)).of(colour);
  CHECK(line.right - line.left == doctest::Approx(0.6 * chart.panel_width_mm).epsilon(0.01));
  CHECK(line.bottom - line.top < 1);
  CHECK((line.top + line.bottom) / 2 == doctest::Approx((bars.top + bars.bottom) / 2).epsilon(0.01));
}

TEST_CASE("line_chart: bars of several lines stand beside one another") {
  std::vector<ChartLine> lines;
  for (size_t i = 0; i < 3; ++i)
    lines.push_back({.name = "", .points = {{5, 0.5, 0.2, 0.8}}, .style = i, .marks = false});
  const Pixels pixels(page_of(chart_of(lines)));
  double last = 0;
  for (size_t i = 0; i < 3; ++i) {
    const auto bar = pixels.of(chart_colour(i, ChartTheme::light));
    CHECK(bar.left > last);
    last = bar.right;
  }
}

TEST_CASE("line_chart: what lies outside of the axes is cut off, and every style has a colour of its own") {
  const LineChart chart = chart_of({{.name = "", .points = {{0, -100}, {10, 101}}, .marks = false}});
  const auto line = Pixels(page_of(chart)).of(chart_colour(0, ChartTheme::light));
  CHECK(line.pixels > 0);
  CHECK(line.bottom - line.top <= chart.panel_height_mm + 3);
  for (const ChartTheme theme : {ChartTheme::light, ChartTheme::dark})
    for (size_t a = 0; a < 9; ++a)
      for (size_t b = 0; b < a; ++b) CHECK(chart_colour(a, theme) != chart_colour(b, theme));
  CHECK(chart_colour(0, ChartTheme::light) == "#0073b3");
}

TEST_CASE("line_chart: a legend and names take room; empty panels and lines can be drawn") {
  LineChart chart = chart_of({{.name = "one", .points = {{1, 1}}}, {.name = "none", .points = {}, .style = 1}});
  const Page plain = page_of(chart);
  chart.names = LineChart::Names::below;
  CHECK(page_of(chart).height_mm > plain.height_mm);
  chart.names = LineChart::Names::at_ends;
  CHECK(page_of(chart).width_mm > plain.width_mm);
  chart.panels.push_back({});
  chart.columns = 2;
  const std::string svg = svg_of(page_of(chart));
  CHECK(svg.starts_with("<?xml"));
  CHECK(svg.find("nan") == std::string::npos);
  chart.panels.back() = {.title = "", .x = {.logarithmic = true}, .y = {}, .lines = {{.name = "", .points = {{0, 1}}}}};
  CHECK_THROWS_AS(page_of(chart), Error);
}
