// The picture of systole bench loss: time and peak memory of a step against the number of rows, both scales
// logarithmic, so that a power of M is a straight line. Each line is labelled with the power between its last two
// points.

#include <algorithm>
#include <array>
#include <cairo/cairo.h>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "tools/bench_loss.h"
#include "tools/ecg_chart.h"

namespace systole::tools {
namespace {

constexpr double kMargin = 10, kHeading = 14;                      // mm
constexpr double kPanelWidth = 62, kPanelHeight = 56;              // inside its frame
constexpr double kLeft = 17, kRight = 37, kTop = 9, kBottom = 15;  // around the frame: numbers, names of lines
constexpr double kTextSize = 3.2, kSmallSize = 2.8;
constexpr double kLabelGap = 3.9;

struct Colour {
  double red, green, blue;
};
constexpr Colour kInk{0.10, 0.10, 0.13}, kGrey{0.45, 0.45, 0.48}, kGrid{0.88, 0.88, 0.90}, kWhite{1, 1, 1};

/// How an implementation is drawn: colours that the colour-blind tell apart too (Okabe and Ito).
struct Style {
  const char* by;
  Colour colour;
  int corners;  // of its marks; 0: a circle
};
constexpr std::array<Style, 3> kStyles{
    {{"systole", {0.00, 0.45, 0.70}, 0}, {"materialised", {0.84, 0.37, 0.00}, 4}, {"pytorch", {0.00, 0.62, 0.45}, 3}}};

struct Point {
  double x, y;
};

struct Line {
  const Style* style;
  std::vector<Point> points;

  /// d log y / d log x at the end.
  double power() const {
    const Point &a = points[points.size() - 2], &b = points.back();
    return std::log(b.y / a.y) / std::log(b.x / a.x);
  }
};

struct Panel {
  std::string title, axis;
  std::vector<Line> lines;
};

/// A logarithmic scale from `low` at `begin_mm` to `high` at `end_mm`.
struct Scale {
  double low, high, begin_mm, end_mm;
  double at(double value) const {
    return begin_mm + std::log(value / low) / std::log(high / low) * (end_mm - begin_mm);
  }
};

/// The scale over all values of a panel, with room on both sides.
Scale scale_of(const Panel& panel, double Point::*coordinate, double room, double begin_mm, double end_mm) {
  double low = INFINITY, high = 0;
  for (const Line& line : panel.lines)
    for (const Point& point : line.points) {
      low = std::min(low, point.*coordinate);
      high = std::max(high, point.*coordinate);
    }
  return {low / room, high * room, begin_mm, end_mm};
}

void set_colour(cairo_t* cairo, const Colour& colour) {
  cairo_set_source_rgb(cairo, colour.red, colour.green, colour.blue);
}

enum class Align { left, centre, right };

/// Returns where the text ends.
double write_text(cairo_t* cairo, double x, double y, double size, const Colour& colour, Align align,
                  const std::string& text, bool bold = false) {
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text.c_str(), &extents);
  set_colour(cairo, colour);
  const double begin = x - extents.x_advance * (align == Align::left ? 0 : align == Align::centre ? 0.5 : 1);
  cairo_move_to(cairo, begin, y);
  cairo_show_text(cairo, text.c_str());
  return begin + extents.x_advance;
}

void draw_segment(cairo_t* cairo, const Colour& colour, double width, Point from, Point to) {
  set_colour(cairo, colour);
  cairo_set_line_width(cairo, width);
  cairo_move_to(cairo, from.x, from.y);
  cairo_line_to(cairo, to.x, to.y);
  cairo_stroke(cairo);
}

/// 1, 2 and 5 times the powers of ten between the ends; the powers alone where there are many.
std::vector<double> ticks_of(const Scale& y) {
  const bool powers_only = std::log10(y.high / y.low) > 2.5;
  std::vector<double> ticks;
  for (int power = static_cast<int>(std::floor(std::log10(y.low))); power <= std::log10(y.high); ++power)
    for (const double digit : {1.0, 2.0, 5.0}) {
      const double value = digit * std::pow(10, power);
      if (value >= y.low && value <= y.high && (digit == 1 || !powers_only)) ticks.push_back(value);
    }
  return ticks;
}

/// "131,072".
std::string whole_number(double value) {
  std::string text = fmt::format("{:.0f}", value);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<size_t>(at), ",");
  return text;
}

void draw_frame(cairo_t* cairo, const Panel& panel, const Scale& x, const Scale& y) {
  for (const double value : ticks_of(y)) {
    draw_segment(cairo, kGrid, 0.2, {x.begin_mm, y.at(value)}, {x.end_mm, y.at(value)});
    write_text(cairo, x.begin_mm - 1.5, y.at(value) + 1.1, kSmallSize, kInk, Align::right,
               value < 1 ? fmt::format("{:g}", value) : whole_number(value));
  }
  double written = -INFINITY;
  for (const Line& line : panel.lines)
    for (const Point& point : line.points) {
      const double at = x.at(point.x);
      if (at - written < 9 && at > written - 0.01) continue;  // no room, or there already
      if (at < written) continue;
      draw_segment(cairo, kGrid, 0.2, {at, y.begin_mm}, {at, y.end_mm});
      write_text(cairo, at, y.begin_mm + 4, kSmallSize, kInk, Align::centre, whole_number(point.x));
      written = at;
    }
  draw_segment(cairo, kInk, 0.25, {x.begin_mm, y.end_mm}, {x.begin_mm, y.begin_mm});
  draw_segment(cairo, kInk, 0.25, {x.begin_mm, y.begin_mm}, {x.end_mm, y.begin_mm});
  write_text(cairo, (x.begin_mm + x.end_mm) / 2, y.begin_mm + 9, kTextSize, kInk, Align::centre, "rows of a batch, M");
  write_text(cairo, x.begin_mm, y.end_mm - 3, kTextSize, kInk, Align::left, panel.title + panel.axis);
}

/// Where M and M² would lead from the first point of the first line.
void draw_guides(cairo_t* cairo, const Panel& panel, const Scale& x, const Scale& y) {
  const Point first = panel.lines.front().points.front();
  cairo_save(cairo);
  cairo_rectangle(cairo, x.begin_mm, y.end_mm, x.end_mm - x.begin_mm, y.begin_mm - y.end_mm);
  cairo_clip(cairo);
  constexpr double kDashes[] = {1.2, 1.2};
  cairo_set_dash(cairo, kDashes, 2, 0);
  for (const int power : {1, 2})
    draw_segment(cairo, kGrey, 0.2, {x.at(first.x), y.at(first.y)},
                 {x.end_mm, y.at(first.y * std::pow(x.high / first.x, power))});
  cairo_restore(cairo);
}

void draw_mark(cairo_t* cairo, const Style& style, double x, double y) {
  constexpr double kSize = 1.0;
  set_colour(cairo, style.colour);
  cairo_new_path(cairo);
  if (style.corners == 0) cairo_arc(cairo, x, y, kSize, 0, 2 * M_PI);
  for (int corner = 0; corner < style.corners; ++corner) {
    const double angle = 2 * M_PI * (corner + (style.corners == 4 ? 0.5 : 0)) / style.corners - M_PI / 2;
    cairo_line_to(cairo, x + 1.25 * kSize * std::cos(angle), y + 1.25 * kSize * std::sin(angle));
  }
  cairo_close_path(cairo);
  cairo_fill(cairo);
}

void draw_line(cairo_t* cairo, const Line& line, const Scale& x, const Scale& y) {
  set_colour(cairo, line.style->colour);
  cairo_set_line_width(cairo, 0.5);
  cairo_new_path(cairo);
  for (const Point& point : line.points) cairo_line_to(cairo, x.at(point.x), y.at(point.y));
  cairo_stroke(cairo);
  for (const Point& point : line.points) draw_mark(cairo, *line.style, x.at(point.x), y.at(point.y));
}

/// Names at the right, each at the height of its line's end where there is room.
void write_names(cairo_t* cairo, const Panel& panel, const Scale& x, const Scale& y) {
  std::vector<std::pair<double, const Line*>> names;
  for (const Line& line : panel.lines) names.emplace_back(y.at(line.points.back().y), &line);
  std::sort(names.begin(), names.end());
  for (size_t i = 1; i < names.size(); ++i) names[i].first = std::max(names[i].first, names[i - 1].first + kLabelGap);
  for (const auto& [at, line] : names) {
    const Colour& colour = line->style->colour;
    draw_mark(cairo, *line->style, x.end_mm + 2.5, at);
    const double end = write_text(cairo, x.end_mm + 4.5, at + 1.1, kTextSize, colour, Align::left, line->style->by);
    if (line->points.size() < 2) continue;
    const double base = write_text(cairo, end + 1.2, at + 1.1, kTextSize, colour, Align::left, "~ M");
    write_text(cairo, base + 0.2, at - 0.2, 0.7 * kTextSize, colour, Align::left, fmt::format("{:.1f}", line->power()));
  }
}

void draw_panel(cairo_t* cairo, const Panel& panel, double left, double top) {
  if (panel.lines.empty()) return;
  const Scale x = scale_of(panel, &Point::x, 1.15, left + kLeft, left + kLeft + kPanelWidth);
  const Scale y = scale_of(panel, &Point::y, 1.6, top + kTop + kPanelHeight, top + kTop);
  draw_frame(cairo, panel, x, y);
  draw_guides(cairo, panel, x, y);
  for (const Line& line : panel.lines) draw_line(cairo, line, x, y);
  write_names(cairo, panel, x, y);
}

/// The lines of one loss and D: value(result) against M.
template <class Value>
std::vector<Line> lines_of(const std::vector<const LossResult*>& results, const Value& value) {
  std::vector<Line> lines;
  for (const Style& style : kStyles) {
    Line line{&style, {}};
    for (const LossResult* r : results)
      if (r->by == style.by && r->measured() && value(*r) > 0)
        line.points.push_back({static_cast<double>(r->M), value(*r)});
    std::sort(line.points.begin(), line.points.end(), [](const Point& a, const Point& b) { return a.x < b.x; });
    if (!line.points.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

/// Pairs of panels: time and memory of one loss and D, in the order of the results.
std::vector<std::array<Panel, 2>> panels_of(const std::vector<LossResult>& results) {
  std::vector<std::pair<std::string, std::vector<const LossResult*>>> groups;
  for (const LossResult& r : results) {
    const std::string title = fmt::format("{}, D = {}: ", r.loss, r.D);
    if (groups.empty() || groups.back().first != title) groups.push_back({title, {}});
    groups.back().second.push_back(&r);
  }
  std::vector<std::array<Panel, 2>> panels;
  for (const auto& [title, group] : groups)
    panels.push_back({Panel{title, "time of a step, ms", lines_of(group, [](auto& r) { return 1e3 * r.seconds; })},
                      Panel{title, "peak memory, MB",
                            lines_of(group, [](auto& r) { return static_cast<double>(r.peak_bytes) / 1e6; })}});
  return panels;
}

}  // namespace

void plot_losses(const std::filesystem::path& svg, const std::vector<LossResult>& results, const std::string& where) {
  const auto panels = panels_of(results);
  const double width = kLeft + kPanelWidth + kRight, height = kTop + kPanelHeight + kBottom;
  Page page{2 * kMargin + 2 * width, 2 * kMargin + kHeading + static_cast<double>(panels.size()) * height, {}};
  page.draw = [&](cairo_t* cairo) {
    set_colour(cairo, kWhite);
    cairo_paint(cairo);
    write_text(cairo, kMargin, kMargin + 4, 4.2, kInk, Align::left,
               "Contrastive losses, one step: forward and backward", true);
    write_text(cairo, kMargin, kMargin + 9.5, kTextSize, kGrey, Align::left,
               where + "; dashed: in proportion to M and to M²");
    for (size_t i = 0; i < panels.size(); ++i)
      for (const size_t side : {size_t{0}, size_t{1}})
        draw_panel(cairo, panels[i][side], kMargin + static_cast<double>(side) * width,
                   kMargin + kHeading + static_cast<double>(i) * height);
  };
  write_svg(svg, page);
}

}  // namespace systole::tools
