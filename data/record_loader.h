// Loads a list of WFDB records with the 12 standard leads into memory: the part that all data sets of 12-lead ECGs
// share. Where the records come from, and what is known about each, others say: data/ptbxl.h, data/label_table.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/wfdb.h"
#include "kernels/common/error.h"

namespace systole::data {

/// The order of leads in every Dataset of 12-lead ECGs.
inline constexpr std::array<std::string_view, 12> kStandardLeads = {"I",  "II", "III", "AVR", "AVL", "AVF",
                                                                    "V1", "V2", "V3",  "V4",  "V5",  "V6"};

/// Why a record is left out.
enum class RecordProblem {
  missing,     // no header or no sample file: not downloaded
  unreadable,  // damaged, or refused for what it asks for
  leads,       // others than the 12 standard ones
  no_values,   // a lead has values in less than half of its samples
  flat,        // every lead is constant
  unit,        // another than that of the other records, or several
  rate,        // another than the one asked for, where records are not resampled
  length,      // another than that of the other records; where longer ones are cut: shorter
};

/// A record that is left out, and the sentence about it.
struct LeftOut {
  std::string name;
  RecordProblem problem;
  std::string sentence;
};

/// What is wrong with a record: any other Error means that it is unreadable.
class RecordError : public Error {
 public:
  RecordError(RecordProblem problem, const std::string& sentence) : Error(sentence), problem_(problem) {}
  RecordProblem problem() const { return problem_; }

 private:
  RecordProblem problem_;
};

struct LoadOptions {
  std::filesystem::path root{};
  int sampling_rate_hz = 100;
  std::vector<int> folds{};       // which folds to load, empty for all
  bool skip_bad_records = false;  // leave broken records out and count them, instead of throwing at the first
  bool drop_unlabelled = false;   // leave records without any label of the set out
  std::function<void(size_t done, size_t total)> progress{};  // after each record, one call at a time, by any thread
  /// Sees each WFDB record as it was read, before anything is done to it; called by several threads at once.
  std::function<void(const std::string& name, const WfdbRecord& record)> inspect{};
};

/// What a load found. The examples are the first few, in the order of the records.
struct LoadReport {
  std::string what = "records";
  size_t rows = 0;                            // records of the folds asked for
  size_t loaded = 0;                          // of them in the data set
  size_t missing = 0;                         // without header or sample file
  size_t bad = 0;                             // broken and skipped
  size_t unknown = 0;                         // left out, as a label of the set is not known
  size_t dropped = 0;                         // left out for want of a label
  size_t unlabelled = 0;                      // loaded, without any label of a set of several
  size_t resampled = 0;                       // loaded from another sampling rate
  size_t cut = 0;                             // longer than the others, of which the middle was taken
  size_t invalid_samples = 0;                 // replaced by interpolation
  size_t rescaled_leads = 0;                  // beyond 16 bits, stored with a coarser step
  std::vector<std::string> missing_examples;  // record names
  std::vector<std::string> bad_examples;      // sentences
  std::vector<LeftOut> left_out;              // all that are missing or bad

  void add_missing(const std::string& name);
  void add_bad(const LeftOut& record);

  /// All of the above that is not zero, in one sentence.
  std::string sentence() const;
};

/// A record and what is known about it.
struct RecordSource {
  std::filesystem::path path;  // of the WFDB record, without extension
  std::string name;            // in the report
  int64_t record_id = 0, patient_id = 0;
  int fold = 0;                 // 1 … 10
  std::vector<uint8_t> labels;  // [classes], 0 or 1
  bool is_known = true;         // false: a label is not known, and the record is left out
};

/// The records of the folds whose labels are known, and that have one where drop_unlabelled asks for it; the others are
/// counted. Throws UsageError where drop_unlabelled would leave out the negatives of a single class.
std::vector<const RecordSource*> select_records(const std::vector<RecordSource>& sources,
                                                const std::vector<std::string>& classes, const LoadOptions& options,
                                                LoadReport& report);

/// Appends what is known about a record whose samples are in the data set.
void describe_record(const RecordSource& source, Dataset& dataset, LoadReport& report);

/// What the records become, and what they must be.
struct RecordRules {
  std::string name, label_set;
  std::vector<std::string> classes;
  /// 0: all records must have the sampling rate asked for, and one length. Else records of another rate are resampled,
  /// and of those with more than so many samples the middle is taken.
  int64_t cut_to = 0;
  std::string hint_when_empty{};  // what else to say when nothing could be loaded
};

/// The most common length of the records that can be read, at the sampling rate asked for; among equals the shortest,
/// without any 0. Reads headers, and looks whether the files are as long as these say.
int64_t usual_length(const std::vector<RecordSource>& records, const LoadOptions& options);

/// Throws Error when no record was asked for, or none is left.
void check_not_empty(size_t records_left, const LoadOptions& options, const LoadReport& report,
                     const std::string& hint = "");

/// Loads the records of the folds into memory, in parallel; data set, report and errors are the same for any number of
/// threads. Leads are found by name in any order and spelling; voltages
/// come out in mV. Missing files are counted and skipped. A sample without value becomes the linear interpolation of
/// its valid neighbours (at an end: the nearest one). Throws UsageError where drop_unlabelled would leave out the
/// negatives of a single class, and Error for a broken record (any RecordProblem but `missing`) unless those are
/// skipped (of several, the first in their order), and when nothing can be loaded at all. Memory is taken only for
/// records whose sample files are as long as their headers say.
Dataset load_records(const std::vector<RecordSource>& records, const RecordRules& rules, const LoadOptions& options,
                     LoadReport& report);

/// Runs the action on a record; says of a broken one that --skip-bad-records would leave it out, or, where that was
/// asked for, returns what is wrong with it. Nothing: all is well.
std::optional<LeftOut> problem_of(bool skip_bad_records, const std::string& name, const std::function<void()>& action);

/// Replaces samples without value by interpolation, as load_records; returns how many there were. Throws RecordError,
/// which begins with `source`, when that is more than half of the lead.
size_t fill_gaps(std::vector<int32_t>& samples, const std::string& lead, const std::string& source);

}  // namespace systole::data
