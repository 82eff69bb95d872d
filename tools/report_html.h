// Pieces of reports in HTML: one file that needs nothing else, no script, no network; for light and dark screens, wide
// and narrow ones.
#pragma once

#include <string>
#include <vector>

#include "tools/line_chart.h"

namespace systole::tools {

/// Text as it stands between tags or in an attribute.
std::string escape_html(const std::string& text);

/// A whole document; `body` is HTML.
std::string html_page(const std::string& title, const std::string& body);

/// A table that scrolls inside of its own box where it is wider than the screen. All cells are HTML; the first of each
/// row is its heading.
struct HtmlTable {
  std::string caption{};  // text, above it
  std::vector<std::string> heading;
  std::vector<std::vector<std::string>> rows{};
};
std::string to_html(const HtmlTable& table);

/// "<span …>■</span> name" in the colours of a line.
std::string html_legend_entry(size_t style, const std::string& name);

/// Charts as inline SVG, each twice: for light and for dark screens. Ids are unique within one object of this class,
/// which is one document.
class HtmlCharts {
 public:
  /// `description` is read to those who do not see it.
  std::string inline_svg(LineChart chart, const std::string& description);

 private:
  int drawn_ = 0;
};

}  // namespace systole::tools
