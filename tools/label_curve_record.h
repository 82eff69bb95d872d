// The record of a label curve, label_curve.run.json in its folder, as tools/run_record.h has it for one run: that of
// the command that finished there last. Until a command has finished, label_curve.state holds its record: a state that
// knows no more than how many runs are to be made, since each is a file when it is finished.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/label_curve.h"

namespace CLI {
class App;
}

namespace systole::tools {

class LabelCurveRecord {
 public:
  LabelCurveRecord(const CLI::App& command, const LabelCurve& curve);
  /// Writes the state: `runs` are to be made.
  void begin(size_t runs) const;
  /// Writes the record of a curve whose results are written. `seconds`: of all its runs.
  void finish(double seconds);

 private:
  std::filesystem::path result_;  // label_curve.json
  nlohmann::ordered_json record_;
};

/// Checksums of label_curve.json at `result`, of the table and the picture beside it, and of all its runs, without what
/// the clock says and without command and version; null for what cannot be read.
nlohmann::ordered_json curve_results_of(const std::filesystem::path& result);

/// The first difference of two curves in what curve_results_of counts, "runs/scratch_1_42.json: /epochs was 3 and is
/// 4", or nothing. Each is named by its label_curve.json.
std::string curve_difference(const std::filesystem::path& there, const std::filesystem::path& here);

}  // namespace systole::tools
