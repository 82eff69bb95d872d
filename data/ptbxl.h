// PTB-XL: 21,799 clinical 12-lead ECGs of 10 s with ten folds that never split a patient (Wagner et al., "PTB-XL, a
// large publicly available electrocardiography dataset", Scientific Data 2020). A folder holds ptbxl_database.csv,
// scp_statements.csv and WFDB records in records100/ or records500/; partial downloads work.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/dataset.h"

namespace systole::data {

/// The order of leads in every Dataset of 12-lead ECGs.
inline constexpr std::array<std::string_view, 12> kStandardLeads = {"I",  "II", "III", "AVR", "AVL", "AVF",
                                                                    "V1", "V2", "V3",  "V4",  "V5",  "V6"};

/// Which statements become classes. A record has a class when any of its codes belongs to it, whatever its likelihood.
enum class LabelSet {
  superclass,  ///< the diagnostic_class of diagnostic statements: NORM, MI, STTC, CD, HYP, in this order
  subclass,    ///< their diagnostic_subclass (23), by alphabet
  form,        ///< statements about the wave form (19), by alphabet
  rhythm,      ///< statements about the rhythm (12), by alphabet
  all,         ///< every statement (71), by alphabet
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
};

struct PtbxlMetadata {
  std::vector<std::string> classes;
  std::vector<PtbxlRow> rows;  // in the order of the file
};

/// Reads the two csv files and no signal. Throws Error that names file, line, value and expectation.
PtbxlMetadata read_ptbxl_metadata(const std::filesystem::path& root, LabelSet labels);

struct PtbxlOptions {
  std::filesystem::path root;  // the folder with ptbxl_database.csv
  int sampling_rate_hz = 100;  // 100 or 500
  LabelSet labels = LabelSet::superclass;
  std::vector<int> folds;         // which folds to load, empty for all
  bool skip_bad_records = false;  // leave broken records out and count them, instead of throwing at the first
  bool drop_unlabelled = false;   // leave records without any label of the set out
  std::function<void(size_t done, size_t total)> progress{};  // after each record, one call at a time, by any thread
};

/// What a load found. The examples are the first few, by their order in the csv.
struct LoadReport {
  size_t rows = 0;                            // records of the folds asked for
  size_t loaded = 0;                          // of them in the data set
  size_t missing = 0;                         // without .hea or .dat file
  size_t bad = 0;                             // broken and skipped
  size_t dropped = 0;                         // left out for want of a label
  size_t unlabelled = 0;                      // loaded, without any label of the set
  size_t invalid_samples = 0;                 // replaced by interpolation
  size_t rescaled_leads = 0;                  // beyond 16 bits, stored with a coarser step
  std::vector<std::string> missing_examples;  // record names
  std::vector<std::string> bad_examples;      // sentences

  /// All of the above that is not zero, in one sentence.
  std::string sentence() const;
};

/// Loads the records of the folds into memory, in parallel. Leads are found by name in any order and spelling; voltages
/// come out in mV. Missing files are counted and skipped. A sample without value becomes the linear interpolation of
/// its valid neighbours (at an end: the nearest one; in a lead without any: 0). Throws UsageError for another sampling
/// rate, and Error for a broken record (damaged file, another rate, unit or length than the rest, not the 12 leads)
/// unless those are skipped, when nothing can be loaded at all, and for a fold that comes out empty.
Dataset load_ptbxl(const PtbxlOptions& options, LoadReport& report);

}  // namespace systole::data
