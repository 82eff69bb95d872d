// What the runs of a label curve depend on, in settings.json of its folder: runs of other settings must not stand in
// one curve.
#pragma once

#include <nlohmann/json.hpp>

#include "tools/label_curve.h"

namespace systole::tools {

/// By option, and for what is no option by name. What is listed for each fraction or encoder may grow.
nlohmann::ordered_json settings_of(const LabelCurve& curve);

/// Makes the folder and its settings.json, or extends it by new fractions and encoders. Throws UsageError that names
/// the setting in which the folder's runs differ.
void adopt_folder(const LabelCurve& curve);

/// The result of a run whose file is there, or null when there is none. Throws Error for a file that is something else.
nlohmann::ordered_json read_run(const LabelCurve& curve, const LabelCurveRun& run);

}  // namespace systole::tools
