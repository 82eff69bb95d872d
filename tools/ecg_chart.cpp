#include "tools/ecg_chart.h"

#include <algorithm>
#include <array>
#include <cairo/cairo-svg.h>
#include <cmath>
#include <cstdint>
#include <fmt/format.h>
#include <memory>
#include <string_view>
#include <utility>

#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/error.h"

namespace systole::tools {
namespace {

constexpr double kMmPerSecond = 25, kMmPerMillivolt = 10;
constexpr double kMaxSeconds = 10;  // drawn per row: what fits on the width of a landscape A4 page

// All multiples of the 5 mm between bold lines, so that baselines and calibration pulses lie on them.
constexpr double kStandardRow = 30, kStackedRow = 20;
constexpr double kPulseAt = 5, kPulseWidth = 5, kTraceAt = 15;
constexpr double kRightPad = 5, kTopPad = 15, kBottomPad = 5;

constexpr double kMargin = 10, kGap = 6, kHeading = 11, kFooter = 5;

struct Colour {
  double red, green, blue;
};
constexpr Colour kPaper{1.0, 0.984, 0.953}, kFineLine{0.973, 0.855, 0.827}, kBoldLine{0.925, 0.647, 0.612};
constexpr Colour kInk{0.08, 0.08, 0.11}, kGrey{0.56, 0.56, 0.60};

// ---------------------------------------------------------------------------------------------------------------------
// Which piece of which lead stands where
// ---------------------------------------------------------------------------------------------------------------------

/// A lead from begin_s to end_s, at that time of its row.
struct Piece {
  size_t lead;
  int row;
  double begin_s, end_s;
};

struct Layout {
  double row_mm;
  int rows;
  double seconds;
  std::vector<Piece> pieces;

  double width_mm() const { return kTraceAt + std::ceil(seconds * kMmPerSecond / 5) * 5 + kRightPad; }
  double height_mm() const { return kTopPad + rows * row_mm + kBottomPad; }
  double baseline_mm(int row) const { return kTopPad + (row + 0.5) * row_mm; }
};

constexpr std::array<std::array<std::string_view, 4>, 3> kStandardRows = {
    {{"I", "AVR", "V1", "V4"}, {"II", "AVL", "V2", "V5"}, {"III", "AVF", "V3", "V6"}}};
constexpr std::string_view kRhythmLead = "II";

size_t position(const Ecg& ecg, std::string_view lead) {
  return static_cast<size_t>(std::find(ecg.leads.begin(), ecg.leads.end(), lead) - ecg.leads.begin());
}

size_t length(const Ecg& ecg) {
  return ecg.samples_mv.size() / ecg.leads.size();
}

double duration_s(const Ecg& ecg) {
  return static_cast<double>(length(ecg)) / ecg.sampling_rate_hz;
}

bool is_standard(const Ecg& ecg) {
  if (ecg.leads.size() != 12 || duration_s(ecg) < kMaxSeconds) return false;
  for (const auto& row : kStandardRows)
    for (const std::string_view lead : row)
      if (position(ecg, lead) == ecg.leads.size()) return false;
  return true;
}

Layout standard_layout(const Ecg& ecg) {
  Layout layout{.row_mm = kStandardRow, .rows = 4, .seconds = kMaxSeconds, .pieces = {}};
  const double column_s = kMaxSeconds / 4;
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 4; ++column)
      layout.pieces.push_back({position(ecg, kStandardRows[static_cast<size_t>(row)][static_cast<size_t>(column)]), row,
                               column * column_s, (column + 1) * column_s});
  layout.pieces.push_back({position(ecg, kRhythmLead), 3, 0, kMaxSeconds});
  return layout;
}

Layout stacked_layout(const Ecg& ecg) {
  const double seconds = std::min(duration_s(ecg), kMaxSeconds);
  Layout layout{.row_mm = kStackedRow, .rows = static_cast<int>(ecg.leads.size()), .seconds = seconds, .pieces = {}};
  for (size_t lead = 0; lead < ecg.leads.size(); ++lead)
    layout.pieces.push_back({lead, static_cast<int>(lead), 0, seconds});
  return layout;
}

Layout layout_of(const Ecg& ecg) {
  return is_standard(ecg) ? standard_layout(ecg) : stacked_layout(ecg);
}

void require_drawable(const Ecg& ecg) {
  if (ecg.leads.empty() || ecg.samples_mv.empty() || ecg.samples_mv.size() % ecg.leads.size() != 0)
    throw Error(fmt::format("the ECG '{}' cannot be drawn: {} samples of {} leads, expected the same number of each",
                            ecg.title, ecg.samples_mv.size(), ecg.leads.size()));
  if (!(ecg.sampling_rate_hz > 0))
    throw Error(fmt::format("the ECG '{}' cannot be drawn: its sampling rate must be positive, not {}", ecg.title,
                            ecg.sampling_rate_hz));
}

// ---------------------------------------------------------------------------------------------------------------------
// Paper, ink and text
// ---------------------------------------------------------------------------------------------------------------------

struct Rectangle {
  double x, y, width, height;  // mm
};

void set_colour(cairo_t* cairo, const Colour& colour) {
  cairo_set_source_rgb(cairo, colour.red, colour.green, colour.blue);
}

void stroke(cairo_t* cairo, const Colour& colour, double line_mm) {
  set_colour(cairo, colour);
  cairo_set_line_width(cairo, line_mm);
  cairo_stroke(cairo);
}

void line(cairo_t* cairo, double x0, double y0, double x1, double y1) {
  cairo_move_to(cairo, x0, y0);
  cairo_line_to(cairo, x1, y1);
}

/// The lines of all areas of a page, as two paths: one per area or line would make an SVG many times as large.
void draw_paper(cairo_t* cairo, const std::vector<Rectangle>& areas) {
  const auto lines = [&](bool bold) {
    for (const Rectangle& area : areas) {
      for (int mm = 0; mm <= area.width; ++mm)
        if ((mm % 5 == 0) == bold) line(cairo, area.x + mm, area.y, area.x + mm, area.y + area.height);
      for (int mm = 0; mm <= area.height; ++mm)
        if ((mm % 5 == 0) == bold) line(cairo, area.x, area.y + mm, area.x + area.width, area.y + mm);
    }
  };
  lines(false);
  stroke(cairo, kFineLine, 0.1);
  lines(true);
  stroke(cairo, kBoldLine, 0.18);
}

/// One line of text from (x, y), y at its foot; smaller where it would be wider than `width_mm`.
void write_text(cairo_t* cairo, double x, double y, double size_mm, cairo_font_weight_t weight, double width_mm,
                const std::string& text) {
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL, weight);
  cairo_set_font_size(cairo, size_mm);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo, text.c_str(), &extents);
  if (extents.x_advance > width_mm) cairo_set_font_size(cairo, size_mm * width_mm / extents.x_advance);
  set_colour(cairo, kInk);
  cairo_move_to(cairo, x, y);
  cairo_show_text(cairo, text.c_str());
}

void write_heading(cairo_t* cairo, double x, double y, double width_mm, const std::string& title,
                   const std::string& subtitle) {
  write_text(cairo, x, y + 4, 4, CAIRO_FONT_WEIGHT_BOLD, width_mm, title);
  write_text(cairo, x, y + 9, 3.2, CAIRO_FONT_WEIGHT_NORMAL, width_mm, subtitle);
}

void write_footer(cairo_t* cairo, const Page& page, const std::string& remark) {
  const std::string scale = fmt::format("{} mm/s    {} mm/mV", kMmPerSecond, kMmPerMillivolt);
  write_text(cairo, kMargin, page.height_mm - kMargin, 3.2, CAIRO_FONT_WEIGHT_NORMAL, page.width_mm - 2 * kMargin,
             remark.empty() ? scale : scale + "    " + remark);
}

// ---------------------------------------------------------------------------------------------------------------------
// Traces
// ---------------------------------------------------------------------------------------------------------------------

/// The PTB-XL names of the augmented limb leads are in capitals; print has aVR, aVL, aVF.
std::string printed_name(const std::string& lead) {
  return lead.starts_with("AV") ? "aV" + lead.substr(2) : lead;
}

void draw_calibration(cairo_t* cairo, const Rectangle& area, const Layout& layout) {
  for (int row = 0; row < layout.rows; ++row) {
    const double left = area.x + kPulseAt, right = left + kPulseWidth, foot = area.y + layout.baseline_mm(row);
    cairo_move_to(cairo, left - 2, foot);
    cairo_line_to(cairo, left, foot);
    cairo_line_to(cairo, left, foot - kMmPerMillivolt);
    cairo_line_to(cairo, right, foot - kMmPerMillivolt);
    cairo_line_to(cairo, right, foot);
    cairo_line_to(cairo, right + 2, foot);
  }
  stroke(cairo, kInk, 0.3);
}

/// Two marks where one lead follows another, off the baseline: a mark on it would look like a pacemaker's spike.
void draw_separators(cairo_t* cairo, const Rectangle& area, const Layout& layout) {
  for (const Piece& piece : layout.pieces) {
    if (piece.begin_s == 0) continue;
    const double x = area.x + kTraceAt + piece.begin_s * kMmPerSecond, y = area.y + layout.baseline_mm(piece.row);
    line(cairo, x, y - 13, x, y - 10);
    line(cairo, x, y + 10, x, y + 13);
  }
  stroke(cairo, kInk, 0.25);
}

/// The samples of a piece as a line that is broken where there is no number.
void add_trace(cairo_t* cairo, const Ecg& ecg, const Piece& piece, double left_mm, double baseline_mm) {
  const size_t leads = ecg.leads.size();
  const auto begin = static_cast<size_t>(std::ceil(piece.begin_s * ecg.sampling_rate_hz));
  const auto end = std::min(length(ecg), static_cast<size_t>(piece.end_s * ecg.sampling_rate_hz) + 1);
  cairo_new_sub_path(cairo);
  for (size_t i = begin; i < end; ++i) {
    const float mv = ecg.samples_mv[i * leads + piece.lead];
    if (!std::isfinite(mv)) {
      cairo_new_sub_path(cairo);
      continue;
    }
    const double x = left_mm + static_cast<double>(i) / ecg.sampling_rate_hz * kMmPerSecond;
    const double y = baseline_mm - std::clamp(mv, -50.0f, 50.0f) * kMmPerMillivolt;  // Cairo's coordinates overflow
    cairo_line_to(cairo, x, y);
  }
}

/// A trace may run through the neighbouring rows as on a real print, so that tall waves can be measured; what goes
/// farther is an artefact and cut off, as is what leaves the paper.
void draw_traces(cairo_t* cairo, const Rectangle& area, const Layout& layout, const Ecg& ecg, const Colour& colour,
                 double line_mm) {
  for (int row = 0; row < layout.rows; ++row) {
    const double baseline = area.y + layout.baseline_mm(row);
    const double top = std::max(area.y, baseline - 1.5 * layout.row_mm);
    const double bottom = std::min(area.y + area.height, baseline + 1.5 * layout.row_mm);
    cairo_save(cairo);
    cairo_rectangle(cairo, area.x, top, area.width, bottom - top);
    cairo_clip(cairo);
    for (const Piece& piece : layout.pieces)
      if (piece.row == row) add_trace(cairo, ecg, piece, area.x + kTraceAt, baseline);
    stroke(cairo, colour, line_mm);
    cairo_restore(cairo);
  }
}

void write_lead_names(cairo_t* cairo, const Rectangle& area, const Layout& layout, const Ecg& ecg) {
  for (const Piece& piece : layout.pieces)
    write_text(cairo, area.x + kTraceAt + piece.begin_s * kMmPerSecond + 1,
               area.y + layout.baseline_mm(piece.row) - 10.3, 3.2, CAIRO_FONT_WEIGHT_BOLD, area.width,
               printed_name(ecg.leads[piece.lead]));
}

/// What an area holds besides its paper and traces.
void draw_marks(cairo_t* cairo, const Rectangle& area, const Layout& layout, const Ecg& ecg) {
  draw_calibration(cairo, area, layout);
  draw_separators(cairo, area, layout);
  write_lead_names(cairo, area, layout, ecg);
}

// ---------------------------------------------------------------------------------------------------------------------
// Files
// ---------------------------------------------------------------------------------------------------------------------

using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;
using Context = std::unique_ptr<cairo_t, decltype(&cairo_destroy)>;

/// `what` is drawn: a file, or a page.
void require_success(cairo_status_t status, const std::string& what) {
  if (status != CAIRO_STATUS_SUCCESS)
    throw Error(fmt::format("cannot draw {}: {}", what, cairo_status_to_string(status)));
}

cairo_status_t append(void* content, const unsigned char* bytes, unsigned int count) {
  static_cast<std::string*>(content)->append(reinterpret_cast<const char*>(bytes), count);
  return CAIRO_STATUS_SUCCESS;
}

void draw(const Page& page, cairo_surface_t* surface, double units_per_mm, const std::string& what) {
  const Context cairo(cairo_create(surface), cairo_destroy);
  cairo_scale(cairo.get(), units_per_mm, units_per_mm);
  cairo_set_line_join(cairo.get(), CAIRO_LINE_JOIN_ROUND);  // a mitre would make R waves taller
  set_text_unhinted(cairo.get());
  set_colour(cairo.get(), kPaper);
  cairo_paint(cairo.get());
  page.draw(cairo.get());
  require_success(cairo_status(cairo.get()), what);
}

std::string svg_of(const Page& page, const std::string& what) {
  std::string content;
  const Surface surface(cairo_svg_surface_create_for_stream(append, &content, page.width_mm, page.height_mm),
                        cairo_surface_destroy);
  cairo_svg_surface_set_document_unit(surface.get(), CAIRO_SVG_UNIT_MM);
  draw(page, surface.get(), 1, what);
  cairo_surface_finish(surface.get());
  require_success(cairo_surface_status(surface.get()), what);
  return content;
}

}  // namespace

void set_text_unhinted(cairo_t* cairo) {
  const std::unique_ptr<cairo_font_options_t, decltype(&cairo_font_options_destroy)> unhinted(
      cairo_font_options_create(), cairo_font_options_destroy);
  cairo_font_options_set_hint_style(unhinted.get(), CAIRO_HINT_STYLE_NONE);
  cairo_font_options_set_hint_metrics(unhinted.get(), CAIRO_HINT_METRICS_OFF);
  cairo_set_font_options(cairo, unhinted.get());
}

Page page_of(std::vector<Ecg> ecgs) {
  struct Block {
    Ecg ecg;
    Layout layout;
    Rectangle area;
  };
  std::vector<Block> blocks;
  Page page{0, kMargin, {}};
  for (Ecg& ecg : ecgs) {
    require_drawable(ecg);
    const Layout layout = layout_of(ecg);
    const Rectangle area{kMargin, page.height_mm + kHeading, layout.width_mm(), layout.height_mm()};
    page.width_mm = std::max(page.width_mm, area.width + 2 * kMargin);
    page.height_mm = area.y + area.height + kGap;
    blocks.push_back({std::move(ecg), layout, area});
  }
  page.height_mm += kFooter - kGap + kMargin;
  page.draw = [blocks = std::move(blocks), size = Page{page.width_mm, page.height_mm, {}}](cairo_t* cairo) {
    std::vector<Rectangle> areas;
    for (const Block& block : blocks) areas.push_back(block.area);
    draw_paper(cairo, areas);
    for (const auto& [ecg, layout, area] : blocks) {
      write_heading(cairo, area.x, area.y - kHeading, size.width_mm - 2 * kMargin, ecg.title, ecg.subtitle);
      draw_traces(cairo, area, layout, ecg, kInk, 0.3);
      draw_marks(cairo, area, layout, ecg);
    }
    write_footer(cairo, size, "");
  };
  return page;
}

Page sheet_of(std::string title, std::string subtitle, std::vector<Comparison> panels, int columns) {
  double width = 0, height = 0;  // of the largest panel's paper
  for (const Comparison& panel : panels) {
    require_drawable(panel.before);
    require_drawable(panel.after);
    const Layout layout = stacked_layout(panel.before);
    width = std::max(width, layout.width_mm());
    height = std::max(height, layout.height_mm());
  }
  const int rows = (static_cast<int>(panels.size()) + columns - 1) / columns;
  const double first_row = kMargin + kHeading + kGap, row_mm = kHeading + height + kGap;
  Page page{2 * kMargin + columns * (width + kGap) - kGap, first_row + rows * row_mm - kGap + kFooter + kMargin, {}};
  page.draw = [=, title = std::move(title), subtitle = std::move(subtitle), panels = std::move(panels),
               size = Page{page.width_mm, page.height_mm, {}}](cairo_t* cairo) {
    write_heading(cairo, kMargin, kMargin, size.width_mm - 2 * kMargin, title, subtitle);
    std::vector<Rectangle> areas;
    for (size_t i = 0; i < panels.size(); ++i) {
      const auto row = static_cast<int>(i) / columns, column = static_cast<int>(i) % columns;
      areas.push_back({kMargin + column * (width + kGap), first_row + row * row_mm + kHeading, width, height});
    }
    draw_paper(cairo, areas);
    for (size_t i = 0; i < panels.size(); ++i) {
      const auto& [before, after] = panels[i];
      const Rectangle& area = areas[i];
      const Layout layout = stacked_layout(before);
      write_heading(cairo, area.x, area.y - kHeading, area.width, after.title, after.subtitle);
      draw_traces(cairo, area, layout, before, kGrey, 0.2);
      draw_traces(cairo, area, layout, after, kInk, 0.3);
      draw_marks(cairo, area, layout, before);
    }
    write_footer(cairo, size, "grey: before");
  };
  return page;
}

std::string svg_of(const Page& page) {
  return svg_of(page, "a page");
}

void write_svg(const std::filesystem::path& path, const Page& page) {
  write_file_atomically(path, svg_of(page, path.string()));
}

void write_png(const std::filesystem::path& path, const Page& page, int dots_per_mm) {
  const auto dots = [&](double mm) { return static_cast<int>(std::lround(mm * dots_per_mm)); };
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, dots(page.width_mm), dots(page.height_mm)),
                        cairo_surface_destroy);
  require_success(cairo_surface_status(surface.get()), path.string());
  draw(page, surface.get(), dots_per_mm, path.string());
  std::string content;
  require_success(cairo_surface_write_to_png_stream(surface.get(), append, &content), path.string());
  write_file_atomically(path, content);
}

}  // namespace systole::tools
