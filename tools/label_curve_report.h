// The report of systole label-curve for people: label_curve.svg, macro AUROC against the share of the labels, and
// report.html, one file that explains itself and needs nothing else.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace systole::tools {

/// `curve` is what label_curve.json holds (docs/evaluation.md); null stands for an undefined number. Throws Error when
/// a file cannot be written or the curve lacks a part.
void write_label_curve_report(const std::filesystem::path& folder, const nlohmann::ordered_json& curve);

}  // namespace systole::tools
