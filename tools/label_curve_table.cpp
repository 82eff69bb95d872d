// The results of a label curve as text: arms by fractions.

#include <algorithm>
#include <fmt/format.h>
#include <functional>

#include "tools/label_curve_summary.h"

namespace systole::tools {
namespace {

using nlohmann::ordered_json;

const ordered_json& point_of(const ordered_json& summary, const ordered_json& arm, const ordered_json& fraction) {
  return *std::ranges::find_if(summary["points"], [&](const ordered_json& point) {
    return point["arm"] == arm["name"] && point["fraction"] == fraction;
  });
}

/// "0.873 [0.851, 0.892]", with a sign where it is a difference; "-" where it is undefined.
std::string cell(const ordered_json& metric, bool sign) {
  if (metric["mean"].is_null()) return "-";
  const auto text = [&](const char* key) {
    const ordered_json& value = metric[key];
    if (value.is_null()) return std::string("-");
    return sign ? fmt::format("{:+.3f}", value.get<double>()) : fmt::format("{:.3f}", value.get<double>());
  };
  return fmt::format("{} [{}, {}]", text("mean"), text("low"), text("high"));
}

std::string line(const std::vector<std::string>& cells) {
  std::string text = fmt::format("{:<24}", cells.front());
  for (size_t i = 1; i < cells.size(); ++i) text += fmt::format("  {:<24}", cells[i]);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

/// One line per arm whose points have the metric.
std::string rows(const ordered_json& summary, const std::string& metric) {
  std::string table;
  for (const ordered_json& arm : summary["arms"]) {
    std::vector<std::string> cells{arm["name"].get<std::string>()};
    for (const ordered_json& fraction : summary["fractions"]) {
      const ordered_json& point = point_of(summary, arm, fraction);
      if (point.contains(metric)) cells.push_back(cell(point[metric], metric == "gain"));
    }
    if (cells.size() > 1) table += line(cells);
  }
  return table;
}

}  // namespace

std::string to_table(const ordered_json& summary) {
  std::vector<std::string> head{"labels"};
  for (const ordered_json& fraction : summary["fractions"]) {
    const double labelled = point_of(summary, summary["arms"][0], fraction)["labelled_records"];
    head.push_back(fmt::format("{:g} % ({:.0f} ECGs)", 100 * fraction.get<double>(), labelled));
  }
  std::string table = fmt::format(
      "macro AUROC on {} test ECGs of {} patients: mean over {} seeds [95 % interval over patients]\n\n{}{}",
      summary["records"]["test"].get<int64_t>(), summary["patients"]["test"].get<int64_t>(), summary["seeds"].size(),
      line(head), rows(summary, "auroc"));
  if (const std::string gains = rows(summary, "gain"); !gains.empty())
    table += fmt::format("\ngain over scratch, on the same patients\n\n{}{}", line(head), gains);
  return table;
}

}  // namespace systole::tools
