#include "data/label_table.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <map>
#include <optional>

#include "data/csv.h"
#include "data/input_file.h"
#include "data/label_fraction.h"
#include "data/pack.h"
#include "data/ptbxl.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

std::optional<size_t> find_column(const CsvTable& table, std::string_view name) {
  const auto found = std::find(table.header.begin(), table.header.end(), name);
  if (found == table.header.end()) return {};
  return static_cast<size_t>(found - table.header.begin());
}

// Every column with another name is a class.
std::vector<size_t> label_columns(const CsvTable& table) {
  std::vector<size_t> columns;
  for (size_t c = 0; c < table.header.size(); ++c) {
    const std::string& name = table.header[c];
    if (name.empty())
      throw Error(fmt::format("{}: column {} has no name; every column but record, patient and fold is a class.",
                              table.path.string(), c + 1));
    if (std::count(table.header.begin(), table.header.end(), name) > 1)
      throw Error(fmt::format("{} has two columns {}.", table.path.string(), name));
    if (name != "record" && name != "patient" && name != "fold") columns.push_back(c);
  }
  return columns;
}

void read_labels(const CsvTable& table, size_t row, const std::vector<size_t>& columns, LabelTable::Row& to) {
  for (const size_t column : columns) {
    const std::string& text = table.rows[row][column];
    to.is_known &= !text.empty();
    const bool is_one = text == "1" || text == "1.0";  // pandas makes 1.0 of it where other rows are empty
    if (!text.empty() && !is_one && text != "0" && text != "0.0")
      throw Error(
          fmt::format("{}: {} is \"{}\", 0, 1 or nothing was expected.", table.where(row), table.header[column], text));
    to.labels.push_back(is_one);
  }
}

int read_fold(const CsvTable& table, size_t row, size_t column) {
  const int64_t fold = table.whole_number(row, column);
  if (fold < 1 || fold > 10)
    throw Error(fmt::format("{}: fold is {}, a fold from 1 to 10 was expected.", table.where(row), fold));
  return static_cast<int>(fold);
}

const std::string& not_empty(const CsvTable& table, size_t row, size_t column) {
  const std::string& text = table.rows[row][column];
  if (text.empty()) throw Error(fmt::format("{}: {} is empty.", table.where(row), table.header[column]));
  return text;
}

std::optional<int64_t> whole_number(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

void number_patients(const CsvTable& table, size_t column, LabelTable& to) {
  const bool are_numbers = std::all_of(table.rows.begin(), table.rows.end(),
                                       [&](const auto& row) { return whole_number(row[column]).has_value(); });
  std::map<std::string, int64_t> numbers;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const std::string& text = not_empty(table, row, column);
    const int64_t next = static_cast<int64_t>(numbers.size()) + 1;
    to.rows[row].patient_id = are_numbers ? *whole_number(text) : numbers.emplace(text, next).first->second;
  }
}

void check_records_differ(const CsvTable& table, size_t column) {
  std::map<std::string, size_t> first_row;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const auto [first, is_new] = first_row.emplace(table.rows[row][column], row);
    if (!is_new)
      throw Error(fmt::format("{}: the record {} is also in line {}.", table.where(row), first->first,
                              table.line[first->second]));
  }
}

// --- From a table to the records of a folder ------------------------------------------------------------------------

void take_ptbxl_records(const LabelTable& table, const LoadOptions& options, std::vector<RecordSource>& sources) {
  const PtbxlMetadata metadata = read_ptbxl_metadata(options.root, LabelSet::none);
  std::map<int64_t, const PtbxlRow*> row_of;
  for (const PtbxlRow& row : metadata.rows) row_of[row.record_id] = &row;
  for (size_t i = 0; i < sources.size(); ++i) {
    const LabelTable::Row& row = table.rows[i];
    const std::optional<int64_t> ecg_id = whole_number(row.record);
    const auto found = ecg_id ? row_of.find(*ecg_id) : row_of.end();
    if (found == row_of.end())
      throw Error(fmt::format("{}: the record {} is not an ecg_id of {}.", row.where, row.record,
                              (options.root / "ptbxl_database.csv").string()));
    const std::string& file = record_file(*found->second, options.sampling_rate_hz);
    sources[i].path = options.root / file;
    sources[i].name = file;
    sources[i].record_id = *ecg_id;
    if (!table.has_folds) sources[i].fold = found->second->fold;
  }
}

void deal(const LabelTable& table, std::vector<RecordSource>& sources) {
  Dataset labels;
  labels.classes = table.classes;
  labels.classes.push_back("known");  // so that every fold has its share of the records that tasks are made of
  for (const RecordSource& source : sources) {
    labels.patient_id.push_back(source.patient_id);
    labels.labels.insert(labels.labels.end(), source.labels.begin(), source.labels.end());
    labels.labels.push_back(source.is_known);
  }
  const std::vector<int> folds = deal_folds(labels);
  for (size_t i = 0; i < sources.size(); ++i) sources[i].fold = folds[i];
}

void take_wfdb_records(const LabelTable& table, const LoadOptions& options, std::vector<RecordSource>& sources) {
  if (!fs::is_directory(options.root)) throw Error(fmt::format("There is no folder {}.", options.root.string()));
  for (RecordSource& source : sources) source.path = options.root / source.name;
  if (!table.has_folds) deal(table, sources);
}

/// Finds the records of the table in a pack. Those that it does not have count as missing: where they were in the data
/// set at all is not known.
std::vector<size_t> take_packed_records(const LabelTable& table, const PackFile& pack,
                                        std::vector<RecordSource>& sources) {
  const PackContents& contents = pack.contents();
  const Dataset& signals = contents.signals;
  std::map<std::string, size_t> place_of;
  for (size_t r = 0; r < signals.records(); ++r)
    place_of[contents.has_ecg_ids ? std::to_string(signals.record_id[r]) : signals.record_name[r]] = r;
  std::vector<size_t> places;
  for (size_t i = 0; i < sources.size(); ++i) {
    const auto found = place_of.find(table.rows[i].record);
    places.push_back(found == place_of.end() ? kNotInPack : found->second);
    if (found == place_of.end() || !contents.has_ecg_ids) continue;
    sources[i].name = signals.record_name[found->second];
    sources[i].record_id = signals.record_id[found->second];
    if (!table.has_folds) sources[i].fold = signals.fold[found->second];
  }
  if (!table.has_folds && !contents.has_ecg_ids) deal(table, sources);
  return places;
}

void check_patients_in_one_fold(const LabelTable& table, const std::vector<RecordSource>& sources) {
  std::map<int64_t, size_t> first;
  for (size_t i = 0; i < sources.size(); ++i) {
    if (sources[i].fold == 0) continue;  // not in the pack that would tell
    const RecordSource& known = sources[first.emplace(sources[i].patient_id, i).first->second];
    if (known.fold != sources[i].fold)
      throw Error(fmt::format("{}: the patient of the record {} is in fold {}, but with the record {} in fold {}.",
                              table.rows[i].where, table.rows[i].record, sources[i].fold,
                              table.rows[static_cast<size_t>(&known - sources.data())].record, known.fold));
  }
}

void remove_labels(std::vector<RecordSource>& sources, RecordRules& rules) {
  for (RecordSource& source : sources) {
    source.labels.clear();
    source.is_known = true;
  }
  rules.label_set = name(LabelSet::none);
  rules.classes.clear();
}

std::vector<RecordSource> sources_of(const LabelTable& table) {
  std::vector<RecordSource> sources;
  for (const LabelTable::Row& row : table.rows)
    sources.push_back({row.record, row.record, static_cast<int64_t>(sources.size()) + 1, row.patient_id, row.fold,
                       row.labels, row.is_known});
  return sources;
}

}  // namespace

LabelTable label_table_of(const CsvTable& csv) {
  const size_t record = csv.column("record"), patient = csv.column("patient");
  const std::optional<size_t> fold = find_column(csv, "fold");
  const std::vector<size_t> columns = label_columns(csv);
  LabelTable table;
  table.has_folds = fold.has_value();
  for (const size_t column : columns) table.classes.push_back(csv.header[column]);
  for (size_t row = 0; row < csv.rows.size(); ++row) {
    LabelTable::Row& to = table.rows.emplace_back();
    to.where = csv.where(row);
    to.record = not_empty(csv, row, record);
    if (!stays_below(to.record))
      throw Error(
          fmt::format("{}: record is \"{}\", a record in or below the data folder was expected.", to.where, to.record));
    if (fold) to.fold = read_fold(csv, row, *fold);
    read_labels(csv, row, columns, to);
  }
  check_records_differ(csv, record);
  number_patients(csv, patient, table);
  return table;
}

LabelTable read_label_table(const fs::path& path) {
  return label_table_of(read_csv(path));
}

Dataset load_label_table(const fs::path& path, const LoadOptions& options, bool with_labels, LoadReport& report) {
  const LabelTable table = read_label_table(path);
  if (with_labels && table.classes.empty())
    throw Error(fmt::format("{} has no column of labels beside record, patient and fold.", path.string()));
  std::vector<RecordSource> sources = sources_of(table);
  RecordRules rules{.name = path.filename().string(), .label_set = kTableLabelSet, .classes = table.classes};
  const auto finish = [&](const auto& load_sources) {
    check_patients_in_one_fold(table, sources);
    if (!with_labels) remove_labels(sources, rules);
    return load_sources();
  };
  if (is_pack(options.root)) {
    const PackFile pack(options.root);
    const std::vector<size_t> places = take_packed_records(table, pack, sources);
    return finish([&] { return load_packed_records(pack, sources, places, rules, options, report); });
  }
  const bool is_ptbxl = fs::exists(options.root / "ptbxl_database.csv");
  is_ptbxl ? take_ptbxl_records(table, options, sources) : take_wfdb_records(table, options, sources);
  if (!is_ptbxl) rules.cut_to = usual_length(sources, options);
  return finish([&] { return load_records(sources, rules, options, report); });
}

}  // namespace systole::data
