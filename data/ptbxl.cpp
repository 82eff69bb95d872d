#include "data/ptbxl.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

#include "data/joined.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

std::vector<RecordSource> sources_of(const PtbxlMetadata& metadata, const LoadOptions& options) {
  std::vector<RecordSource> sources;
  for (const PtbxlRow& row : metadata.rows) {
    const std::string& file = record_file(row, options.sampling_rate_hz);
    sources.push_back({options.root / file, file, row.record_id, row.patient_id, row.fold, row.labels, row.is_known});
  }
  return sources;
}

// What a user who asked for the wrong rate wants to know.
std::string other_rate_hint(const LoadOptions& options) {
  const int other_rate_hz = 600 - options.sampling_rate_hz;
  const std::string asked = fmt::format("records{}", options.sampling_rate_hz),
                    other = fmt::format("records{}", other_rate_hz);
  if (fs::exists(options.root / asked) || !fs::exists(options.root / other)) return "";
  return fmt::format(" It holds {}, so a sampling rate of {} Hz can be loaded.", other, other_rate_hz);
}

void check_folds_exist(const PtbxlMetadata& metadata, const LoadOptions& options) {
  std::map<int, size_t> rows_of;
  for (const PtbxlRow& row : metadata.rows) ++rows_of[row.fold];
  std::vector<std::string> folds;
  for (const auto& [fold, rows] : rows_of) folds.push_back(std::to_string(fold));
  for (const int fold : options.folds)
    if (!rows_of.count(fold))
      throw Error(fmt::format("Fold {} holds no records in {}; its folds are {}.", fold,
                              (options.root / "ptbxl_database.csv").string(), joined(folds)));
}

void check_folds_loaded(const Dataset& dataset, const LoadOptions& options, const LoadReport& report) {
  for (const int fold : options.folds)
    if (!std::count(dataset.fold.begin(), dataset.fold.end(), fold))
      throw Error(fmt::format("No record of fold {} could be loaded from {}: {}", fold, options.root.string(),
                              report.sentence()));
}

}  // namespace

const std::string& record_file(const PtbxlRow& row, int sampling_rate_hz) {
  if (sampling_rate_hz != 100 && sampling_rate_hz != 500)
    throw UsageError(fmt::format("PTB-XL has sampling rates of 100 and 500 Hz, not {} Hz.", sampling_rate_hz));
  return sampling_rate_hz == 100 ? row.filename_lr : row.filename_hr;
}

Dataset load_ptbxl(const LoadOptions& options, LabelSet labels, LoadReport& report) {
  const PtbxlMetadata metadata = read_ptbxl_metadata(options.root, labels);
  check_folds_exist(metadata, options);
  const RecordRules rules{.name = "PTB-XL",
                          .label_set = std::string(name(labels)),
                          .classes = metadata.classes,
                          .hint_when_empty = other_rate_hint(options)};
  Dataset dataset = load_records(sources_of(metadata, options), rules, options, report);
  check_folds_loaded(dataset, options, report);
  return dataset;
}

}  // namespace systole::data
