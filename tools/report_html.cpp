#include "tools/report_html.h"

#include <fmt/format.h>

namespace systole::tools {
namespace {

constexpr const char* kStyle = R"(
:root {
  color-scheme: light dark;
  --ground: #f6f6f4; --card: #ffffff; --ink: #1a1a21; --quiet: #5c5c66; --rule: #dcdce0; --up: #0a5f96; --down: #a8470a;
}
@media (prefers-color-scheme: dark) {
  :root { --ground: #121317; --card: #1a1c21; --ink: #e8e8ed; --quiet: #a4a4ae; --rule: #34363d;
    --up: #7cc0f0; --down: #f09a63; }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 28px 16px 64px; }
h1 { font-size: 1.25rem; font-weight: 600; color: var(--quiet); margin: 0 0 8px; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 44px 0 12px; }
p, ul { max-width: 46rem; }
ul { padding-left: 1.2rem; }
li { margin: 6px 0; }
.headline { font-size: 1.5rem; line-height: 1.3; font-weight: 650; margin: 0 0 14px; max-width: 52rem; }
.quiet { color: var(--quiet); font-size: 0.92rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 14px; margin: 0; }
.beside { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
.beside > .card { flex: 1 1 320px; max-width: 660px; min-width: 0; }
.beside > div { flex: 1 1 280px; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(290px, 100%), 1fr)); gap: 12px; }
svg { display: block; width: 100%; height: auto; }
.for-dark { display: none; }
@media (prefers-color-scheme: dark) { .for-dark { display: block; } .for-light { display: none; } }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 12px; padding: 0; list-style: none;
  max-width: none; }
.legend li { margin: 0; }
.swatch {
  display: inline-block; width: 0.75em; height: 0.75em; border-radius: 2px; margin-right: 0.45em;
  background: var(--light);
}
@media (prefers-color-scheme: dark) { .swatch { background: var(--dark); } }
.scroll { overflow-x: auto; border: 1px solid var(--rule); border-radius: 8px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 12px; text-align: left; vertical-align: top; border-top: 1px solid var(--rule);
  white-space: nowrap; }
thead th { border-top: 0; color: var(--quiet); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--card); white-space: normal;
  min-width: 7.5rem; }
td.wrap, .wrap { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 12rem; }
.interval { color: var(--quiet); }
.gain { display: block; }
.up, .down { font-weight: 650; color: var(--up); }
.down { color: var(--down); }
details { margin: 16px 0; }
summary { cursor: pointer; font-weight: 600; padding: 6px 0; }
@media (max-width: 480px) { .headline { font-size: 1.25rem; } th, td { padding: 7px 9px; } }
@media print { body { background: #fff; } .scroll { overflow: visible; } }
)";

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

/// The <svg> element of a document, without what only a document of its own needs, and with a prefix before its ids.
std::string inlined(std::string svg, const std::string& prefix, const std::string& attributes) {
  svg.erase(0, svg.find("<svg"));
  const size_t head = svg.find('>'), box = svg.find("viewBox=\"");
  const std::string view_box = svg.substr(box, svg.find('"', box + 9) + 1 - box);
  svg.replace(0, head, fmt::format("<svg {} {}", view_box, attributes));
  replace_all(svg, " id=\"", " id=\"" + prefix);
  replace_all(svg, "href=\"#", "href=\"#" + prefix);
  replace_all(svg, "url(#", "url(#" + prefix);
  return svg;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string html_page(const std::string& title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
      escape_html(title), kStyle, body);
}

std::string to_html(const HtmlTable& table) {
  std::string html;
  if (!table.caption.empty()) html += "<p class=\"quiet\">" + escape_html(table.caption) + "</p>\n";
  html += "<div class=\"scroll\" tabindex=\"0\"><table>";  // with a tabindex it scrolls by keyboard, too
  if (!table.heading.empty()) {
    html += "<thead><tr>";
    for (const std::string& cell : table.heading) html += "<th scope=\"col\">" + cell + "</th>";
    html += "</tr></thead>";
  }
  html += "<tbody>\n";
  for (const auto& row : table.rows) {
    html += "<tr>";
    for (size_t i = 0; i < row.size(); ++i)
      html += i == 0 ? "<th scope=\"row\">" + row[i] + "</th>" : "<td>" + row[i] + "</td>";
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string html_legend_entry(size_t style, const std::string& name) {
  return fmt::format("<span class=\"swatch\" style=\"--light:{};--dark:{}\"></span>{}",
                     chart_colour(style, ChartTheme::light), chart_colour(style, ChartTheme::dark), escape_html(name));
}

std::string HtmlCharts::inline_svg(LineChart chart, const std::string& description) {
  chart.margin_mm = 0.5;  // what surrounds it has its own
  std::string html;
  for (const ChartTheme theme : {ChartTheme::light, ChartTheme::dark}) {
    chart.theme = theme;
    html += inlined(svg_of(page_of(chart)), fmt::format("c{}-", ++drawn_),
                    fmt::format("class=\"{}\" role=\"img\" aria-label=\"{}\"",
                                theme == ChartTheme::light ? "for-light" : "for-dark", escape_html(description)));
  }
  return html;
}

}  // namespace systole::tools
