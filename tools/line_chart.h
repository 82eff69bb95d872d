// Line charts, drawn with Cairo: panels with linear or logarithmic axes, lines with marks and 95 % intervals, names at
// the ends of the lines or in a legend. Colours are those that the colour-blind tell apart too (Okabe and Ito, "Color
// Universal Design", 2008), and every colour has a mark of its own.
#pragma once

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "tools/ecg_chart.h"

namespace systole::tools {

struct ChartTick {
  double value;
  std::string text;
};

struct ChartAxis {
  std::string title{};
  bool logarithmic = false;
  std::vector<ChartTick> ticks{};  // empty: round numbers. One whose text has no room is left out
  double low = NAN, high = NAN;    // where the axis ends; NaN: at the outermost values, with some room
};

/// One without a finite x and y is left out, and so is an interval without finite ends.
struct ChartPoint {
  double x, y;
  double low = NAN, high = NAN;  // interval of y
};

struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points;  // in the order in which they are joined
  size_t style = 0;                // of its colour and mark; after the last one they begin again, dashed
  bool marks = true;
  std::string raised{};  // small and raised behind the name: an exponent
  bool joined = true;    // else the points stand alone
};

/// A thin dashed line behind the others, with a name along its beginning.
struct ChartGuide {
  ChartPoint from, to;
  std::string name{};
};

struct ChartPanel {
  std::string title;
  ChartAxis x, y;
  std::vector<ChartLine> lines;
  std::vector<ChartGuide> guides{};
};

enum class ChartTheme { light, dark };

struct LineChart {
  enum class Names { at_ends, below, none };
  enum class Intervals { bars, bands };

  std::string title{}, subtitle{};  // none: no room for them
  std::vector<ChartPanel> panels{};
  int columns = 1;
  double panel_width_mm = 62, panel_height_mm = 56;  // inside its axes
  double margin_mm = 6;                              // of the page
  Names names = Names::at_ends;
  Intervals intervals = Intervals::bars;
  ChartTheme theme = ChartTheme::light;
};

/// Throws Error for a value that is not positive on a logarithmic axis.
Page page_of(const LineChart& chart);

/// "#0072b2": for what stands beside a chart.
std::string chart_colour(size_t style, ChartTheme theme);

}  // namespace systole::tools
