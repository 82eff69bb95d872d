// ECGs on millimetre paper, as a cardiograph prints them: 25 mm/s and 10 mm/mV, a calibration pulse of 1 mV and 200 ms
// at the left of every row, the name of a lead at its start. Cairo draws the same page as SVG and as PNG.
//
// Ten seconds of the 12 standard leads take the standard form: three rows of four leads, 2.5 s each, columns that
// follow one another in time, and lead II in full below them. Anything else is stacked, one row per lead.
#pragma once

#include <cairo/cairo.h>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace systole::tools {

struct Ecg {
  std::string title, subtitle;
  std::vector<std::string> leads;
  double sampling_rate_hz = 0;
  std::vector<float> samples_mv;  // [L, leads]
};

/// An ECG and what became of it, drawn over one another; title and subtitle are those of `after`.
struct Comparison {
  Ecg before, after;
};

/// What can be written as SVG or PNG. The unit of the drawing is the millimetre.
struct Page {
  double width_mm, height_mm;
  std::function<void(cairo_t*)> draw;
};

/// The ECGs below one another, the first ten seconds of each.
Page page_of(std::vector<Ecg> ecgs);
/// Small panels side by side under one heading: `before` thin and grey, `after` dark.
Page sheet_of(std::string title, std::string subtitle, std::vector<Comparison> panels, int columns);

/// Letters keep their widths: hints would round them to whole units, which are millimetres here. Pages are drawn so.
void set_text_unhinted(cairo_t* cairo);

/// The page as an SVG document. Its ids are those of every other page: where several stand in one HTML file, they must
/// be told apart.
std::string svg_of(const Page& page);

/// Both replace the file as a whole or leave it as it was, and throw Error with its name when it cannot be written or
/// the page is too large for an image.
void write_svg(const std::filesystem::path& path, const Page& page);
void write_png(const std::filesystem::path& path, const Page& page, int dots_per_mm);

}  // namespace systole::tools
