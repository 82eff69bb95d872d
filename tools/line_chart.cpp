#include "tools/line_chart.h"

#include <algorithm>
#include <cairo/cairo.h>
#include <memory>
#include <utility>

#include "tools/chart_axis.h"
#include "tools/chart_ink.h"

namespace systole::tools {
namespace {

constexpr double kHeading = 14;                       // mm
constexpr double kRight = 4, kTop = 9, kBottom = 13;  // around the axes of a panel: its titles and numbers
constexpr double kTextSize = 3.2, kSmallSize = 2.8, kTitleSize = 4.2, kRaisedSize = 2.2;
constexpr double kLineGap = 3.9;       // between two lines of text
constexpr double kNumberGap = 1.5;     // between a number and its axis
constexpr double kNameAt = 4.5;        // of a name, behind its mark
constexpr double kLegendEntryGap = 6;  // between two names of a legend
constexpr double kLegendStroke = 8;    // a piece of the line, with its mark in the middle
constexpr double kLineWidth = 0.5, kDash = 1.6;
constexpr double kRoom = 3;  // between an axis' ends and the values

// ---------------------------------------------------------------------------------------------------------------------
// A panel
// ---------------------------------------------------------------------------------------------------------------------

bool is_drawn(const ChartPoint& point) {
  return std::isfinite(point.x) && std::isfinite(point.y);
}
bool has_interval(const ChartPoint& point) {
  return is_drawn(point) && std::isfinite(point.low) && std::isfinite(point.high);
}

struct Scales {
  ChartScale x, y;
  ChartPosition at(const ChartPoint& point) const { return {x.at(point.x), y.at(point.y)}; }
};

/// Bars of lines with the same x stand beside one another, and their lines with them: how far to the right.
double aside_mm(const LineChart& chart, const ChartPanel& panel, size_t line) {
  constexpr double kAside = 1.1;
  const auto any = [](const ChartLine& l) { return std::any_of(l.points.begin(), l.points.end(), has_interval); };
  if (chart.intervals != LineChart::Intervals::bars || std::none_of(panel.lines.begin(), panel.lines.end(), any))
    return 0;
  return kAside * (static_cast<double>(line) - 0.5 * static_cast<double>(panel.lines.size() - 1));
}

/// For a panel whose axes begin at `corner`, the upper left one.
Scales scales_of(const LineChart& chart, const ChartPanel& panel, ChartPosition corner) {
  std::vector<double> x, y;
  for (const ChartLine& line : panel.lines)
    for (const ChartPoint& point : line.points) {
      if (!is_drawn(point)) continue;
      x.push_back(point.x);
      y.push_back(point.y);
      if (has_interval(point)) y.insert(y.end(), {point.low, point.high});
    }
  const double aside = panel.lines.empty() ? 0 : aside_mm(chart, panel, panel.lines.size() - 1);
  return {scale_of(panel.x, x, corner.x, corner.x + chart.panel_width_mm, kRoom + aside),
          scale_of(panel.y, y, corner.y + chart.panel_height_mm, corner.y, kRoom)};
}

std::vector<ChartTick> ticks_of(const ChartAxis& axis, const ChartScale& scale) {
  return axis.ticks.empty() ? round_ticks(scale) : axis.ticks;
}

/// The last point of a line that is drawn; none where there is none.
const ChartPoint* end_of(const ChartLine& line) {
  const auto last = std::find_if(line.points.rbegin(), line.points.rend(), is_drawn);
  return last == line.points.rend() ? nullptr : &*last;
}

void clip_to_axes(cairo_t* cairo, const Scales& s, double beyond_mm) {
  cairo_rectangle(cairo, s.x.begin_mm - beyond_mm, s.y.end_mm - beyond_mm, s.x.end_mm - s.x.begin_mm + 2 * beyond_mm,
                  s.y.begin_mm - s.y.end_mm + 2 * beyond_mm);
  cairo_clip(cairo);
}

class PanelDrawing {
 public:
  PanelDrawing(cairo_t* cairo, const LineChart& chart, const ChartPanel& panel, ChartPosition corner)
      : cairo_(cairo),
        chart_(chart),
        panel_(panel),
        paper_(paper_of(chart.theme)),
        scales_(scales_of(chart, panel, corner)) {}

  void draw() const {
    draw_axes();
    draw_guides();
    cairo_save(cairo_);
    clip_to_axes(cairo_, scales_, kMarkSize + 0.3);  // a mark on an axis is seen as a whole
    for (size_t i = 0; i < panel_.lines.size(); ++i) draw_interval(i);
    for (size_t i = 0; i < panel_.lines.size(); ++i) draw_line(i);
    cairo_restore(cairo_);
    if (chart_.names == LineChart::Names::at_ends) write_names();
  }

 private:
  void draw_axes() const {
    const auto& [x, y] = scales_;
    for (const ChartTick& tick : ticks_of(panel_.y, y)) {
      const double at = y.at(tick.value);
      draw_segment(cairo_, paper_.grid, 0.2, {x.begin_mm, at}, {x.end_mm, at});
      write_text(cairo_, {x.begin_mm - kNumberGap, at + 1.1}, kSmallSize, paper_.ink, Align::right, tick.text);
    }
    double free_from = -INFINITY;
    for (const ChartTick& tick : ticks_of(panel_.x, x)) {
      const double at = x.at(tick.value), half = text_width(cairo_, kSmallSize, tick.text) / 2;
      if (at - half < free_from) continue;
      draw_segment(cairo_, paper_.grid, 0.2, {at, y.begin_mm}, {at, y.end_mm});
      write_text(cairo_, {at, y.begin_mm + 4}, kSmallSize, paper_.ink, Align::centre, tick.text);
      free_from = at + half + 1.5;
    }
    draw_segment(cairo_, paper_.ink, 0.25, {x.begin_mm, y.end_mm}, {x.begin_mm, y.begin_mm});
    draw_segment(cairo_, paper_.ink, 0.25, {x.begin_mm, y.begin_mm}, {x.end_mm, y.begin_mm});
    write_text(cairo_, {(x.begin_mm + x.end_mm) / 2, y.begin_mm + 9}, kTextSize, paper_.ink, Align::centre,
               panel_.x.title);
    const std::string title =
        panel_.title + (panel_.title.empty() || panel_.y.title.empty() ? "" : ": ") + panel_.y.title;
    write_text(cairo_, {x.begin_mm, y.end_mm - 3},
               fitting_size(cairo_, kTextSize, title, x.end_mm - x.begin_mm + kRight), paper_.ink, Align::left, title);
  }

  void draw_guides() const {
    cairo_save(cairo_);
    clip_to_axes(cairo_, scales_, 0);
    set_dashes(cairo_, 1.2);
    for (const ChartGuide& guide : panel_.guides)
      if (is_drawn(guide.from) && is_drawn(guide.to))
        draw_segment(cairo_, paper_.grey, 0.2, scales_.at(guide.from), scales_.at(guide.to));
    cairo_restore(cairo_);
    for (const ChartGuide& guide : panel_.guides)
      if (!guide.name.empty()) write_along(guide);
  }

  void write_along(const ChartGuide& guide) const {
    const ChartPosition from = scales_.at(guide.from), to = scales_.at(guide.to);
    cairo_save(cairo_);
    cairo_translate(cairo_, from.x, from.y);
    cairo_rotate(cairo_, std::atan2(to.y - from.y, to.x - from.x));
    write_text(cairo_, {2, -0.8}, kSmallSize, paper_.grey, Align::left, guide.name);
    cairo_restore(cairo_);
  }

  ChartPosition at(size_t line, const ChartPoint& point) const {
    return {scales_.x.at(point.x) + aside_mm(chart_, panel_, line), scales_.y.at(point.y)};
  }

  void draw_interval(size_t i) const { chart_.intervals == LineChart::Intervals::bars ? draw_bars(i) : draw_band(i); }

  void draw_bars(size_t i) const {
    constexpr double kCap = 0.5;
    const ChartColour colour = colour_of(panel_.lines[i].style, chart_.theme);
    for (const ChartPoint& point : panel_.lines[i].points) {
      if (!has_interval(point)) continue;
      const double x = at(i, point).x, low = scales_.y.at(point.low), high = scales_.y.at(point.high);
      draw_segment(cairo_, colour, 0.25, {x, low}, {x, high});
      for (const double end : {low, high}) draw_segment(cairo_, colour, 0.25, {x - kCap, end}, {x + kCap, end});
    }
  }

  void draw_band(size_t i) const {
    const auto& points = panel_.lines[i].points;
    cairo_new_path(cairo_);
    for (auto p = points.begin(); p != points.end(); ++p)
      if (has_interval(*p)) cairo_line_to(cairo_, at(i, *p).x, scales_.y.at(p->high));
    for (auto p = points.rbegin(); p != points.rend(); ++p)
      if (has_interval(*p)) cairo_line_to(cairo_, at(i, *p).x, scales_.y.at(p->low));
    cairo_close_path(cairo_);
    set_colour(cairo_, colour_of(panel_.lines[i].style, chart_.theme), 0.18);
    cairo_fill(cairo_);
  }

  void draw_line(size_t i) const {
    const ChartLine& line = panel_.lines[i];
    cairo_save(cairo_);
    if (is_dashed(line.style)) set_dashes(cairo_, kDash);
    set_colour(cairo_, colour_of(line.style, chart_.theme));
    cairo_set_line_width(cairo_, kLineWidth);
    cairo_new_path(cairo_);
    for (const ChartPoint& point : line.points)
      if (line.joined && is_drawn(point)) cairo_line_to(cairo_, at(i, point).x, at(i, point).y);
    cairo_stroke(cairo_);
    cairo_restore(cairo_);
    for (const ChartPoint& point : line.points)
      if (line.marks && is_drawn(point)) draw_mark(cairo_, line.style, chart_.theme, at(i, point));
  }

  /// At the right, each at the height of its line's end where there is room.
  void write_names() const {
    const auto& [x, y] = scales_;
    std::vector<std::pair<double, const ChartLine*>> names;
    for (const ChartLine& line : panel_.lines)
      if (const ChartPoint* end = end_of(line)) names.emplace_back(y.at(end->y), &line);
    std::stable_sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (size_t i = 1; i < names.size(); ++i) names[i].first = std::max(names[i].first, names[i - 1].first + kLineGap);
    // What would stand below the axis moves up.
    double lowest = y.begin_mm;
    for (size_t i = names.size(); i-- > 0; lowest = names[i].first - kLineGap)
      names[i].first = std::min(names[i].first, lowest);
    for (const auto& [height, line] : names) {
      draw_mark(cairo_, line->style, chart_.theme, {x.end_mm + 2.5, height});
      const double end =
          write_text(cairo_, {x.end_mm + kNameAt, height + 1.1}, kTextSize, paper_.ink, Align::left, line->name);
      write_text(cairo_, {end + 0.2, height - 0.2}, kRaisedSize, paper_.ink, Align::left, line->raised);
    }
  }

  cairo_t* cairo_;
  const LineChart& chart_;
  const ChartPanel& panel_;
  const ChartPaper& paper_;
  Scales scales_;
};

// ---------------------------------------------------------------------------------------------------------------------
// The page
// ---------------------------------------------------------------------------------------------------------------------

/// Every name once, where the panels have the same lines.
std::vector<const ChartLine*> named_lines(const LineChart& chart) {
  std::vector<const ChartLine*> lines;
  for (const ChartPanel& panel : chart.panels)
    for (const ChartLine& line : panel.lines) {
      const auto same = [&](const ChartLine* l) { return l->name == line.name && l->style == line.style; };
      if (std::none_of(lines.begin(), lines.end(), same)) lines.push_back(&line);
    }
  return lines;
}

struct Layout {
  double width_mm, height_mm;
  double top_mm;                           // of the panels
  double left_mm;                          // of the axes, in a panel
  double panel_width_mm, panel_height_mm;  // with what stands around the axes
  std::vector<std::pair<const ChartLine*, ChartPosition>> legend;
};

/// Puts the names side by side into rows below one another; returns the height of all rows.
double place_legend(cairo_t* cairo, const LineChart& chart, double width_mm, double top_mm, Layout& layout) {
  ChartPosition at{chart.margin_mm, top_mm + kLineGap};
  for (const ChartLine* line : named_lines(chart)) {
    const double width = kLegendStroke + 1.5 + text_width(cairo, kTextSize, line->name);
    if (at.x > chart.margin_mm && at.x + width > width_mm - chart.margin_mm)
      at = {chart.margin_mm, at.y + kLineGap + 1};
    layout.legend.emplace_back(line, at);
    at.x += width + kLegendEntryGap;
  }
  return at.y + 0.3 * kTextSize - top_mm;  // with what hangs below the last row
}

/// Left of the axes: the numbers of the vertical ones.
double left_of_axes(cairo_t* cairo, const LineChart& chart) {
  double width = 0;
  for (const ChartPanel& panel : chart.panels)
    for (const ChartTick& tick : ticks_of(panel.y, scales_of(chart, panel, {}).y))
      width = std::max(width, text_width(cairo, kSmallSize, tick.text));
  return width + kNumberGap + kRight;
}

/// Right of the axes: names at the lines' ends.
double right_of_axes(cairo_t* cairo, const LineChart& chart) {
  if (chart.names != LineChart::Names::at_ends) return kRight;
  double width = 0;
  for (const ChartLine* line : named_lines(chart))
    width = std::max(width, text_width(cairo, kTextSize, line->name) + text_width(cairo, kRaisedSize, line->raised));
  return kNameAt + width + kRight;
}

Layout layout_of(cairo_t* cairo, const LineChart& chart) {
  const int panels = static_cast<int>(chart.panels.size()), columns = std::max(1, std::min(chart.columns, panels));
  const int rows = (panels + columns - 1) / columns;
  Layout layout{};
  layout.top_mm = chart.margin_mm + (chart.title.empty() && chart.subtitle.empty() ? 0 : kHeading);
  layout.left_mm = left_of_axes(cairo, chart);
  layout.panel_width_mm = layout.left_mm + chart.panel_width_mm + right_of_axes(cairo, chart);
  layout.panel_height_mm = kTop + chart.panel_height_mm + kBottom;
  layout.width_mm = 2 * chart.margin_mm + columns * layout.panel_width_mm;
  layout.height_mm = layout.top_mm + rows * layout.panel_height_mm;
  if (chart.names == LineChart::Names::below)
    layout.height_mm += place_legend(cairo, chart, layout.width_mm, layout.height_mm, layout);
  layout.height_mm += chart.margin_mm;
  return layout;
}

void draw_legend_entry(cairo_t* cairo, const LineChart& chart, const ChartLine& line, ChartPosition at) {
  const double height = at.y - 0.35 * kTextSize;  // the middle of a small letter
  cairo_save(cairo);
  if (is_dashed(line.style)) set_dashes(cairo, kDash);
  if (line.joined)
    draw_segment(cairo, colour_of(line.style, chart.theme), kLineWidth, {at.x, height}, {at.x + kLegendStroke, height});
  cairo_restore(cairo);
  if (line.marks) draw_mark(cairo, line.style, chart.theme, {at.x + kLegendStroke / 2, height});
  write_text(cairo, {at.x + kLegendStroke + 1.5, at.y}, kTextSize, paper_of(chart.theme).ink, Align::left, line.name);
}

void draw_page(cairo_t* cairo, const LineChart& chart, const Layout& layout) {
  const ChartPaper& paper = paper_of(chart.theme);
  set_colour(cairo, paper.paper);
  cairo_paint(cairo);
  const double width = layout.width_mm - 2 * chart.margin_mm;
  write_text(cairo, {chart.margin_mm, chart.margin_mm + 4}, fitting_size(cairo, kTitleSize, chart.title, width, true),
             paper.ink, Align::left, chart.title, true);
  write_text(cairo, {chart.margin_mm, chart.margin_mm + 9.5}, fitting_size(cairo, kTextSize, chart.subtitle, width),
             paper.grey, Align::left, chart.subtitle);
  const auto columns = static_cast<size_t>(std::max(1, chart.columns));
  for (size_t i = 0; i < chart.panels.size(); ++i) {
    const size_t row = i / columns, column = i % columns;
    const ChartPosition corner{chart.margin_mm + layout.left_mm + static_cast<double>(column) * layout.panel_width_mm,
                               layout.top_mm + kTop + static_cast<double>(row) * layout.panel_height_mm};
    PanelDrawing(cairo, chart, chart.panels[i], corner).draw();
  }
  for (const auto& [line, at] : layout.legend) draw_legend_entry(cairo, chart, *line, at);
}

/// measure(cairo), on a drawing that comes to nothing, with text as wide as in the real one.
template <class Measure>
auto measured(const Measure& measure) {
  const std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)> surface(
      cairo_recording_surface_create(CAIRO_CONTENT_COLOR, nullptr), cairo_surface_destroy);
  const std::unique_ptr<cairo_t, decltype(&cairo_destroy)> cairo(cairo_create(surface.get()), cairo_destroy);
  set_text_unhinted(cairo.get());
  return measure(cairo.get());
}

}  // namespace

Page page_of(const LineChart& chart) {
  const auto kept = std::make_shared<const LineChart>(chart);
  const Layout layout = measured([&](cairo_t* cairo) { return layout_of(cairo, *kept); });
  return {layout.width_mm, layout.height_mm, [=](cairo_t* cairo) { draw_page(cairo, *kept, layout); }};
}

}  // namespace systole::tools
