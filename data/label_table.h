// Labels of one's own: a CSV file with one row per record, the columns record and patient, optionally fold, and a
// column of 0 and 1 for each class. docs/data.md describes it with examples.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/csv.h"
#include "data/record_loader.h"

namespace systole::data {

inline constexpr const char* kTableLabelSet = "table";

struct LabelTable {
  struct Row {
    std::string record;           // an ecg_id, or the path of a WFDB record relative to the root, without extension
    int64_t patient_id = 0;       // the number in the file, or, where not all are numbers, one by first appearance
    int fold = 0;                 // 1 … 10
    std::vector<uint8_t> labels;  // [classes], 0 or 1
    bool is_known = true;         // false: a label is empty
    std::string where;            // "path, line 12"
  };
  std::vector<std::string> classes;
  std::vector<Row> rows;
  bool has_folds = false;  // else the folds of the rows are 0
};

/// Throws Error that names file, line and column for a missing column, a label that is not 0, 1 or empty, a fold
/// outside 1 … 10, a record that is there twice, and one whose path leads out of the folder.
LabelTable read_label_table(const std::filesystem::path& path);

/// The same of a table in memory.
LabelTable label_table_of(const CsvTable& csv);

/// Loads the records of a label table as load_records does, from a folder in PTB-XL's layout, from any other folder of
/// WFDB records with the 12 standard leads, or from a pack of either (data/pack.h). WFDB records are resampled to the
/// sampling rate asked for, and cut to the most common length. Records that a pack lacks count as missing. Folds are
/// those of the table; without them those of PTB-XL's layout; without these deal_folds tells. With `with_labels` false,
/// records are loaded whether or not their labels are known, without classes. Throws as load_records, and Error for an
/// ecg_id that PTB-XL's table does not have and for a patient in two folds.
Dataset load_label_table(const std::filesystem::path& table, const LoadOptions& options, bool with_labels,
                         LoadReport& report);

}  // namespace systole::data
