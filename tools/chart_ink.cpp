#include "tools/chart_ink.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

namespace systole::tools {
namespace {

constexpr ChartPaper kLight{{1, 1, 1}, {0.10, 0.10, 0.13}, {0.45, 0.45, 0.48}, {0.88, 0.88, 0.90}};
constexpr ChartPaper kDark{{0.10, 0.11, 0.13}, {0.91, 0.91, 0.93}, {0.62, 0.62, 0.65}, {0.24, 0.25, 0.28}};

struct Style {
  ChartColour light, dark;
  int corners;  // of the marks; 0: a circle
  double turn;  // of the first corner from the top, in corners
  bool hollow;
};
constexpr ChartColour kBlue{0.00, 0.45, 0.70}, kVermillion{0.84, 0.37, 0.00}, kGreen{0.00, 0.62, 0.45},
    kPurple{0.80, 0.47, 0.65}, kOrange{0.90, 0.62, 0.00}, kSkyBlue{0.34, 0.71, 0.91}, kYellow{0.94, 0.89, 0.26},
    kBrown{0.60, 0.40, 0.20};
constexpr ChartColour kLighterBlue{0.20, 0.56, 0.84}, kDarkerYellow{0.78, 0.70, 0.00};  // to be seen on their grounds
constexpr std::array<Style, 9> kStyles{{{kBlue, kLighterBlue, 0, 0, false},
                                        {kVermillion, kVermillion, 4, 0.5, false},
                                        {kGreen, kGreen, 3, 0, false},
                                        {kPurple, kPurple, 4, 0, false},
                                        {kLight.ink, kDark.ink, 3, 0.5, false},
                                        {kOrange, kOrange, 0, 0, true},
                                        {kSkyBlue, kSkyBlue, 4, 0.5, true},
                                        {kDarkerYellow, kYellow, 3, 0, true},
                                        {kBrown, kBrown, 4, 0, true}}};

}  // namespace

const ChartPaper& paper_of(ChartTheme theme) {
  return theme == ChartTheme::light ? kLight : kDark;
}

ChartColour colour_of(size_t style, ChartTheme theme) {
  const Style& found = kStyles[style % kStyles.size()];
  return theme == ChartTheme::light ? found.light : found.dark;
}

bool is_dashed(size_t style) {
  return style >= kStyles.size();
}

std::string chart_colour(size_t style, ChartTheme theme) {
  const ChartColour colour = colour_of(style, theme);
  const auto byte = [](double share) { return std::lround(255 * share); };
  return fmt::format("#{:02x}{:02x}{:02x}", byte(colour.red), byte(colour.green), byte(colour.blue));
}

void set_colour(cairo_t* cairo, const ChartColour& colour, double opacity) {
  cairo_set_source_rgba(cairo, colour.red, colour.green, colour.blue, opacity);
}

void set_dashes(cairo_t* cairo, double length) {
  const double dashes[] = {length, length};
  cairo_set_dash(cairo, dashes, 2, 0);
}

void draw_segment(cairo_t* cairo, const ChartColour& colour, double width, ChartPosition from, ChartPosition to) {
  set_colour(cairo, colour);
  cairo_set_line_width(cairo, width);
  cairo_move_to(cairo, from.x, from.y);
  cairo_line_to(cairo, to.x, to.y);
  cairo_stroke(cairo);
}

void draw_mark(cairo_t* cairo, size_t number, ChartTheme theme, ChartPosition at) {
  const Style& style = kStyles[number % kStyles.size()];
  cairo_new_path(cairo);
  if (style.corners == 0) cairo_arc(cairo, at.x, at.y, kMarkSize, 0, 2 * M_PI);
  for (int corner = 0; corner < style.corners; ++corner) {
    const double angle = 2 * M_PI * (corner + style.turn) / style.corners - M_PI / 2;
    cairo_line_to(cairo, at.x + 1.25 * kMarkSize * std::cos(angle), at.y + 1.25 * kMarkSize * std::sin(angle));
  }
  cairo_close_path(cairo);
  set_colour(cairo, style.hollow ? paper_of(theme).paper : colour_of(number, theme));
  cairo_fill_preserve(cairo);
  set_colour(cairo, colour_of(number, theme));
  cairo_set_line_width(cairo, 0.3);
  cairo_stroke(cairo);
}

double text_width(cairo_t* cairo, double size, const std::string& text, bool bold) {
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text.c_str(), &extents);
  return extents.x_advance;
}

double fitting_size(cairo_t* cairo, double size, const std::string& text, double width, bool bold) {
  return size * std::min(1.0, width / std::max(text_width(cairo, size, text, bold), 1e-9));
}

double write_text(cairo_t* cairo, ChartPosition at, double size, const ChartColour& colour, Align align,
                  const std::string& text, bool bold) {
  const double width = text_width(cairo, size, text, bold);
  const double begin = at.x - width * (align == Align::left ? 0 : align == Align::centre ? 0.5 : 1);
  set_colour(cairo, colour);
  cairo_move_to(cairo, begin, at.y);
  cairo_show_text(cairo, text.c_str());
  return begin + width;
}

}  // namespace systole::tools
