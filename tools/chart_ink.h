// Colours, marks and text of line charts. Lengths are in millimetres.
#pragma once

#include <cairo/cairo.h>
#include <string>

#include "tools/line_chart.h"

namespace systole::tools {

struct ChartColour {
  double red, green, blue;
};

/// What is no line.
struct ChartPaper {
  ChartColour paper, ink, grey, grid;
};
const ChartPaper& paper_of(ChartTheme theme);

/// Of a line's number.
ChartColour colour_of(size_t style, ChartTheme theme);
/// The colours are used up: the line is dashed.
bool is_dashed(size_t style);

struct ChartPosition {
  double x, y;
};

void set_colour(cairo_t* cairo, const ChartColour& colour, double opacity = 1);
void set_dashes(cairo_t* cairo, double length);
void draw_segment(cairo_t* cairo, const ChartColour& colour, double width, ChartPosition from, ChartPosition to);

inline constexpr double kMarkSize = 1.0;  // radius
void draw_mark(cairo_t* cairo, size_t style, ChartTheme theme, ChartPosition at);

enum class Align { left, centre, right };

double text_width(cairo_t* cairo, double size, const std::string& text, bool bold = false);
/// The largest size, at most `size`, at which a line is no wider than `width`.
double fitting_size(cairo_t* cairo, double size, const std::string& text, double width, bool bold = false);
/// One line, y at its foot. Returns where it ends.
double write_text(cairo_t* cairo, ChartPosition at, double size, const ChartColour& colour, Align align,
                  const std::string& text, bool bold = false);

}  // namespace systole::tools
