// A small PTB-XL folder, for the tests of its tables and of its records.
#pragma once

#include "data/ptbxl.h"
#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data::ptbxl_folder {

inline const std::vector<std::string> kLeads(kStandardLeads.begin(), kStandardLeads.end());
inline constexpr int kLength = 20;

inline std::string record_name(int ecg_id) {
  return fmt::format("records100/00000/{:05}_lr", ecg_id);
}

inline int16_t sample_of(int ecg_id, int l, size_t lead) {
  return static_cast<int16_t>(100 * ecg_id + 10 * l + static_cast<int>(lead));
}

/// Writes sample_of(ecg_id, l, position of the lead in `leads`), 1000 steps per unit.
inline void write_record(const std::filesystem::path& root, int ecg_id, const std::vector<std::string>& leads = kLeads,
                         int length = kLength, double rate_hz = 100, const std::string& unit = "mV", int baseline = 0) {
  std::vector<int16_t> samples;
  for (int l = 0; l < length; ++l)
    for (size_t lead = 0; lead < leads.size(); ++lead) samples.push_back(sample_of(ecg_id, l, lead));
  write_wfdb16(root / record_name(ecg_id), rate_hz, leads, 1000, unit, baseline, samples);
}

inline std::string row(int ecg_id, const std::string& codes, int fold = 1, const std::string& patient = "7.0") {
  return fmt::format("{},{},\"{}\",{},{},records500/00000/{:05}_hr\n", ecg_id, patient, codes, fold,
                     record_name(ecg_id), ecg_id);
}

inline const std::string kHeader = "ecg_id,patient_id,scp_codes,strat_fold,filename_lr,filename_hr\n";
inline const std::string kStatements =
    ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\n"
    "NORM,normal,1.0,,,NORM,NORM\nIMI,\"inferior, old\",1.0,,,MI,IMI\nNDT,non-specific,1.0,1.0,,STTC,STTC\n"
    "LVH,x,1.0,,,HYP,LVH\nPVC,x,,1.0,,,\nSR,x,,,1.0,,\n";

inline void write_tables(const std::filesystem::path& root, const std::string& rows) {
  test::write_file(root / "ptbxl_database.csv", kHeader + rows);
  test::write_file(root / "scp_statements.csv", kStatements);
}

/// Three whole records in folds 1, 1 and 2; the third has no superclass.
inline void write_three(const std::filesystem::path& root) {
  write_tables(root, row(1, "{'NORM': 100.0, 'SR': 0.0}") + row(2, "{'IMI': 0.0, 'NDT': 35.0}", 1, "8.0") +
                         row(3, "{'SR': 0.0}", 2, "9.0"));
  for (int id : {1, 2, 3}) write_record(root, id);
}

/// Records with the labels of superclasses.
inline Dataset load(const std::filesystem::path& root, LoadReport& report, bool skip_bad_records = false) {
  LoadOptions options;
  options.root = root;
  options.skip_bad_records = skip_bad_records;
  return load_ptbxl(options, LabelSet::superclass, report);
}
inline Dataset load(const std::filesystem::path& root) {
  LoadReport report;
  return load(root, report);
}
/// The sentence that refuses to.
inline std::string refusal(const std::filesystem::path& root) {
  return test::sentence_of<Error>([&] { load(root); });
}

inline std::vector<size_t> class_counts(const PtbxlMetadata& metadata) {
  std::vector<size_t> counts(metadata.classes.size());
  for (const PtbxlRow& r : metadata.rows)
    for (size_t c = 0; c < counts.size(); ++c) counts[c] += r.labels[c];
  return counts;
}

}  // namespace systole::data::ptbxl_folder
