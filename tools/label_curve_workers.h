// The runs of a label curve over the cores: worker processes of this program, each with its own copy of the data and
// one line of JSON in and out per run. A run has the same bits whoever makes it.
#pragma once

#include <vector>

#include "tools/label_curve.h"

namespace systole::tools {

/// Makes these runs, in their order, each into its file. Throws Error with the sentence of the first run that fails;
/// the runs that are at work by then are still finished.
void make_runs(const LabelCurve& curve, const std::vector<LabelCurveRun>& runs);

/// A worker: makes the runs that standard input asks for.
void work_on_label_curve(const LabelCurveOptions& options);

}  // namespace systole::tools
