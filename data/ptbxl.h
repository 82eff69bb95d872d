// PTB-XL: 21,799 clinical 12-lead ECGs of 10 s with ten folds that never split a patient (Wagner et al., "PTB-XL, a
// large publicly available electrocardiography dataset", Scientific Data 2020). A folder holds ptbxl_database.csv,
// scp_statements.csv and WFDB records in records100/ or records500/; partial downloads work.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/csv.h"
#include "data/record_loader.h"

namespace systole::data {

/// What becomes a class. A record has the class of a statement when any of its codes belongs to it, whatever its
/// likelihood.
enum class LabelSet {
  superclass,  ///< the diagnostic_class of diagnostic statements: NORM, MI, STTC, CD, HYP, in this order
  subclass,    ///< their diagnostic_subclass (23), by alphabet
  form,        ///< statements about the wave form (19), by alphabet
  rhythm,      ///< statements about the rhythm (12), by alphabet
  all,         ///< every statement (71), by alphabet
  /// One class each, from a measurement in a further column. A record without a value is left out.
  low_lvef,        ///< column lvef, the ejection fraction in %: below 40 or not
  high_potassium,  ///< column potassium in mmol/l: above 5, or from 4 to 5; lower values are left out
  none,            ///< no classes: signals only
};

/// The label set of a name as above. Throws UsageError that lists the names for any other.
LabelSet parse_label_set(std::string_view text);
std::string_view name(LabelSet labels);

/// Reads the scp_codes of a record, a Python dict in text form such as {'NORM': 100.0, 'SR': 0.0}, into pairs of code
/// and likelihood (0 … 100) in their order. Throws Error that quotes the text and says at which character what was
/// expected.
std::vector<std::pair<std::string, double>> parse_scp_codes(std::string_view text);

/// One row of ptbxl_database.csv.
struct PtbxlRow {
  int64_t record_id = 0;  // ecg_id
  int64_t patient_id = 0;
  int fold = 0;                          // 1 … 10
  std::string filename_lr, filename_hr;  // WFDB records of 100 Hz and 500 Hz, relative to the root, without extension
  std::vector<uint8_t> labels;           // [classes], 0 or 1
  bool is_known = true;                  // false: there is no value to tell the label from
};

struct PtbxlMetadata {
  std::vector<std::string> classes;
  std::vector<PtbxlRow> rows;  // in the order of the file
};

/// Reads ptbxl_database.csv, scp_statements.csv where the label set consists of statements, and no signal. Throws Error
/// that names file, line, value and expectation.
PtbxlMetadata read_ptbxl_metadata(const std::filesystem::path& root, LabelSet labels);

/// The same of tables in memory; `read_statements` is called where the label set consists of statements.
PtbxlMetadata ptbxl_metadata_of(const CsvTable& database, const std::function<CsvTable()>& read_statements,
                                LabelSet labels);

/// Loads the records of the folds as load_records does, from records100/ or records500/. Throws as that, UsageError for
/// another sampling rate, and Error for a fold that comes out empty.
Dataset load_ptbxl(const LoadOptions& options, LabelSet labels, LoadReport& report);

/// The WFDB record of a row, relative to the root. Throws UsageError unless the sampling rate is 100 or 500 Hz.
const std::string& record_file(const PtbxlRow& row, int sampling_rate_hz);

}  // namespace systole::data
