// The tables of PTB-XL: ptbxl_database.csv has one row per record, scp_statements.csv one row per SCP-ECG statement.

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <map>
#include <set>

#include "data/csv.h"
#include "data/input_file.h"
#include "data/joined.h"
#include "data/ptbxl.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 8> kLabelSetNames = {"superclass", "subclass", "form",           "rhythm",
                                                            "all",        "low-lvef", "high-potassium", "none"};
constexpr std::array<std::string_view, 5> kSuperclasses = {"NORM", "MI", "STTC", "CD", "HYP"};

// The grammar is {'code': number, …} with either kind of quotes and no escapes, which is what Python prints for such a
// dict.
class ScpCodeParser {
 public:
  explicit ScpCodeParser(std::string_view text) : text_(text) {}

  std::vector<std::pair<std::string, double>> parse() {
    expect('{');
    if (!accept('}')) {
      do entry();
      while (accept(','));
      if (!accept('}')) fail("',' or '}'");
    }
    skip_blanks();
    if (at_ != text_.size()) fail("the end");
    return std::move(codes_);
  }

 private:
  void entry() {
    std::string code = quoted_code();
    const bool repeated =
        std::any_of(codes_.begin(), codes_.end(), [&](const auto& known) { return known.first == code; });
    if (repeated) fail(fmt::format("another code than {} a second time", code));
    expect(':');
    codes_.emplace_back(std::move(code), likelihood());
  }

  std::string quoted_code() {
    skip_blanks();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    if (quote != '\'' && quote != '"') fail("a code in quotes");
    const size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos || end == at_ + 1) fail("a code in quotes");
    std::string code(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return code;
  }

  double likelihood() {
    skip_blanks();
    double value = 0;
    const char* begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc() || !(value >= 0 && value <= 100)) fail("a likelihood from 0 to 100");
    at_ += static_cast<size_t>(end - begin);
    return value;
  }

  void skip_blanks() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool accept(char character) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != character) return false;
    ++at_;
    return true;
  }
  void expect(char character) {
    if (!accept(character)) fail(fmt::format("'{}'", character));
  }
  [[noreturn]] void fail(const std::string& expected) const {
    throw Error(
        fmt::format("the scp_codes {} are not a dict of codes and likelihoods: {} was expected at character {}.",
                    text_.empty() ? "(empty)" : text_, expected, at_ + 1));
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<std::pair<std::string, double>> codes_;
};

// Columns diagnostic, form and rhythm of scp_statements.csv hold 1.0 or nothing.
bool is_set(const CsvTable& table, size_t row, size_t column) {
  return !table.rows[row][column].empty() && table.whole_number(row, column) == 1;
}

CsvTable read_table(const fs::path& root, const std::string& file) {
  if (!fs::is_directory(root)) throw Error(fmt::format("There is no folder {}.", root.string()));
  if (fs::exists(root / file)) return read_csv(root / file, fs::canonical(root));
  std::string hint;
  for (const auto& entry : fs::directory_iterator(root, fs::directory_options::skip_permission_denied))
    if (fs::exists(entry.path() / file)) hint = fmt::format("; {} has one", entry.path().string());
  throw Error(fmt::format("The folder {} has no {}, which every PTB-XL folder has{}.", root.string(), file, hint));
}

// Which class each statement stands for; statements outside the label set stand for none.
struct Statements {
  std::vector<std::string> classes;
  std::map<std::string, std::string, std::less<>> class_of;  // "": none
};

std::string class_of_statement(const CsvTable& table, size_t row, LabelSet labels) {
  const auto flag = [&](std::string_view column) { return is_set(table, row, table.column(column)); };
  const auto field = [&](std::string_view column) { return table.rows[row][table.column(column)]; };
  const std::string& code = table.rows[row][0];
  switch (labels) {
    case LabelSet::superclass:
      return flag("diagnostic") ? field("diagnostic_class") : "";
    case LabelSet::subclass:
      return flag("diagnostic") ? field("diagnostic_subclass") : "";
    case LabelSet::form:
      return flag("form") ? code : "";
    case LabelSet::rhythm:
      return flag("rhythm") ? code : "";
    case LabelSet::all:
      return code;
    case LabelSet::low_lvef:
    case LabelSet::high_potassium:
    case LabelSet::none:
      break;
  }
  return {};
}

void check_superclass(const CsvTable& table, size_t row, const std::string& superclass) {
  if (superclass.empty() || std::count(kSuperclasses.begin(), kSuperclasses.end(), superclass)) return;
  throw Error(fmt::format("{}: the diagnostic_class of {} is {}, one of {} was expected.", table.where(row),
                          table.rows[row][0], superclass, joined(kSuperclasses)));
}

// The first column holds the codes; its name is empty in the published file.
Statements statements_of(const CsvTable& table, LabelSet labels) {
  Statements statements;
  std::set<std::string> classes;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    const std::string class_name = class_of_statement(table, row, labels);
    if (labels == LabelSet::superclass) check_superclass(table, row, class_name);
    if (!class_name.empty()) classes.insert(class_name);
    if (!statements.class_of.emplace(table.rows[row][0], class_name).second)
      throw Error(fmt::format("{}: the statement {} is there a second time.", table.where(row), table.rows[row][0]));
  }
  if (labels == LabelSet::superclass)
    statements.classes.assign(kSuperclasses.begin(), kSuperclasses.end());
  else
    statements.classes.assign(classes.begin(), classes.end());
  return statements;
}

std::vector<uint8_t> labels_of_codes(const CsvTable& table, size_t row, size_t column, const Statements& statements) {
  std::vector<uint8_t> labels(statements.classes.size());
  std::vector<std::pair<std::string, double>> codes;
  try {
    codes = parse_scp_codes(table.rows[row][column]);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", table.where(row), error.what()));
  }
  for (const auto& [code, likelihood] : codes) {
    const auto statement = statements.class_of.find(code);
    if (statement == statements.class_of.end())
      throw Error(fmt::format("{}: the code {} is not a statement of scp_statements.csv.", table.where(row), code));
    const auto position = std::find(statements.classes.begin(), statements.classes.end(), statement->second);
    if (position != statements.classes.end()) labels[static_cast<size_t>(position - statements.classes.begin())] = 1;
  }
  return labels;
}

// A class that tells a measurement from another: Dade et al., Heart Rhythm O2 2026, 10.1016/j.hroo.2026.01.016.
struct Measurement {
  const char *column, *unit, *class_name;
  double lowest, highest;  // what lies outside is no such measurement, or in another unit
  double least;            // records below have no label
  bool (*is_positive)(double value);
};
const Measurement& measurement_of(LabelSet labels) {
  static const Measurement kLvef{"lvef", "%", "LVEF < 40 %", 1, 100, 0, [](double value) { return value < 40; }};
  static const Measurement kPotassium{
      "potassium", "mmol/l", "potassium > 5 mmol/l", 1, 15, 4, [](double value) { return value > 5; }};
  return labels == LabelSet::low_lvef ? kLvef : kPotassium;
}
bool is_of_statements(LabelSet labels) {
  return labels < LabelSet::low_lvef;
}

void set_measured(const CsvTable& table, size_t row, size_t column, const Measurement& measurement, PtbxlRow& to) {
  to.labels = {0};
  to.is_known = !table.rows[row][column].empty();
  if (!to.is_known) return;
  const double value = table.number(row, column);
  if (value < measurement.lowest || value > measurement.highest)
    throw Error(fmt::format("{}: {} is {}, a value from {} to {} {} was expected.", table.where(row),
                            measurement.column, value, measurement.lowest, measurement.highest, measurement.unit));
  to.is_known = value >= measurement.least;
  to.labels[0] = to.is_known && measurement.is_positive(value);
}

/// Fills in classes, and the labels of all rows.
void read_labels(const CsvTable& table, const std::function<CsvTable()>& read_statements, LabelSet labels,
                 PtbxlMetadata& metadata) {
  if (labels == LabelSet::none) return;
  if (is_of_statements(labels)) {
    const Statements statements = statements_of(read_statements(), labels);
    metadata.classes = statements.classes;
    const size_t column = table.column("scp_codes");
    for (size_t row = 0; row < table.rows.size(); ++row)
      metadata.rows[row].labels = labels_of_codes(table, row, column, statements);
  } else {
    const Measurement& measurement = measurement_of(labels);
    metadata.classes = {measurement.class_name};
    const size_t column = table.column(measurement.column);
    for (size_t row = 0; row < table.rows.size(); ++row)
      set_measured(table, row, column, measurement, metadata.rows[row]);
  }
}

int read_fold(const CsvTable& table, size_t row, size_t column) {
  const int64_t fold = table.whole_number(row, column);
  if (fold < 1 || fold > 10)
    throw Error(fmt::format("{}: strat_fold is {}, a fold from 1 to 10 was expected.", table.where(row), fold));
  return static_cast<int>(fold);
}

/// A name of a record, which must not lead out of the folder.
const std::string& read_file_name(const CsvTable& table, size_t row, size_t column) {
  const std::string& name = table.rows[row][column];
  if (!stays_below(name))
    throw Error(fmt::format("{}: {} is \"{}\", a record in or below the folder was expected.", table.where(row),
                            table.header[column], name));
  return name;
}

}  // namespace

LabelSet parse_label_set(std::string_view text) {
  const auto found = std::find(kLabelSetNames.begin(), kLabelSetNames.end(), text);
  if (found == kLabelSetNames.end())
    throw UsageError(fmt::format("There is no label set {}; the label sets are {}.", text, joined(kLabelSetNames)));
  return static_cast<LabelSet>(found - kLabelSetNames.begin());
}

std::string_view name(LabelSet labels) {
  return kLabelSetNames[static_cast<size_t>(labels)];
}

std::vector<std::pair<std::string, double>> parse_scp_codes(std::string_view text) {
  return ScpCodeParser(text).parse();
}

PtbxlMetadata ptbxl_metadata_of(const CsvTable& table, const std::function<CsvTable()>& read_statements,
                                LabelSet labels) {
  const size_t record_id = table.column("ecg_id"), patient_id = table.column("patient_id");
  const size_t fold = table.column("strat_fold");
  const size_t filename_lr = table.column("filename_lr"), filename_hr = table.column("filename_hr");

  PtbxlMetadata metadata;
  metadata.rows.reserve(table.rows.size());
  std::map<int64_t, size_t> first_row;
  for (size_t row = 0; row < table.rows.size(); ++row) {
    metadata.rows.push_back({table.whole_number(row, record_id),
                             table.whole_number(row, patient_id),
                             read_fold(table, row, fold),
                             read_file_name(table, row, filename_lr),
                             read_file_name(table, row, filename_hr),
                             {}});
    const auto [first, is_new] = first_row.emplace(metadata.rows.back().record_id, row);
    if (!is_new)
      throw Error(fmt::format("{}: the ecg_id {} is also in line {}.", table.where(row), first->first,
                              table.line[first->second]));
  }
  read_labels(table, read_statements, labels, metadata);
  return metadata;
}

PtbxlMetadata read_ptbxl_metadata(const fs::path& root, LabelSet labels) {
  const CsvTable database = read_table(root, "ptbxl_database.csv");
  return ptbxl_metadata_of(
      database, [&] { return read_table(root, "scp_statements.csv"); }, labels);
}

}  // namespace systole::data
