#include "data/csv.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <csv.h>
#include <fmt/format.h>
#include <optional>
#include <utility>

#include "data/input_file.h"
#include "data/joined.h"
#include "kernels/common/error.h"

namespace systole::data {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 30;  // fifty times what a data set of a million records has
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// libcsv tells no positions, so the text goes to it line by line, and a row starts at the first line after a row's end.
class Parser {
 public:
  explicit Parser(CsvTable& table) : table_(table) {
    csv_init(&csv_, CSV_STRICT | CSV_STRICT_FINI);
    csv_set_space_func(&csv_, [](unsigned char) { return 0; });  // or it would trim unquoted fields
  }
  ~Parser() { csv_free(&csv_); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  void parse(std::string_view text) {
    size_t line = 1;
    for (; !text.empty(); ++line) {
      if (!csv_.quoted) row_line_ = line;  // else the line continues a quoted field
      const std::string_view piece = text.substr(0, std::min(text.find('\n'), text.size() - 1) + 1);
      const size_t parsed = csv_parse(&csv_, piece.data(), piece.size(), on_field, on_row, this);
      if (parsed != piece.size()) fail(line);
      text.remove_prefix(piece.size());
    }
    if (csv_fini(&csv_, on_field, on_row, this) != 0) fail(line - 1);
  }

 private:
  static void on_field(void* text, size_t size, void* parser) {
    static_cast<Parser*>(parser)->row_.emplace_back(static_cast<const char*>(text), size);
  }
  static void on_row(int, void* parser) { static_cast<Parser*>(parser)->finish_row(); }

  void finish_row() {
    if (table_.header.empty()) {
      table_.header = std::exchange(row_, {});
    } else {
      table_.line.push_back(row_line_);
      table_.rows.push_back(std::exchange(row_, {}));
    }
  }

  [[noreturn]] void fail(size_t line) {
    throw Error(
        fmt::format("{}, line {}: a quotation mark is out of place in the row that starts at line {}: a field is "
                    "quoted as a whole, and quotation marks inside it are doubled.",
                    table_.path.string(), line, row_line_));
  }

  CsvTable& table_;
  csv_parser csv_{};
  std::vector<std::string> row_;
  size_t row_line_ = 1;
};

std::optional<double> parse_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return {};
  return value;
}

void check_field_counts(const CsvTable& table) {
  for (size_t row = 0; row < table.rows.size(); ++row)
    if (table.rows[row].size() != table.header.size())
      throw Error(fmt::format("{}: the row has {} fields, but the header names {} columns.", table.where(row),
                              table.rows[row].size(), table.header.size()));
}

}  // namespace

size_t CsvTable::column(std::string_view name) const {
  const auto found = std::find(header.begin(), header.end(), name);
  if (found == header.end())
    throw Error(fmt::format("{} has no column {}; its columns are {}.", path.string(), name, joined(header)));
  return static_cast<size_t>(found - header.begin());
}

std::string CsvTable::where(size_t row) const {
  return fmt::format("{}, line {}", path.string(), line[row]);
}

double CsvTable::number(size_t row, size_t column) const {
  const std::optional<double> value = parse_number(rows[row][column]);
  if (!value)
    throw Error(fmt::format("{}: {} is \"{}\", a number was expected.", where(row), header[column], rows[row][column]));
  return *value;
}

int64_t CsvTable::whole_number(size_t row, size_t column) const {
  constexpr double kLargest = 9007199254740992.0;  // 2^53: beyond it a double has no whole numbers of its own
  const std::optional<double> value = parse_number(rows[row][column]);
  if (!value || *value != std::floor(*value) || std::abs(*value) > kLargest)
    throw Error(
        fmt::format("{}: {} is \"{}\", a whole number was expected.", where(row), header[column], rows[row][column]));
  return static_cast<int64_t>(*value);
}

CsvTable parse_csv(std::string_view content, const std::filesystem::path& path) {
  if (content.starts_with(kByteOrderMark)) content.remove_prefix(kByteOrderMark.size());

  CsvTable table;
  table.path = path;
  Parser(table).parse(content);
  if (table.header.empty())
    throw Error(fmt::format("{} is empty, a line of column names was expected.", path.string()));
  check_field_counts(table);
  return table;
}

CsvTable read_csv(const std::filesystem::path& path, const std::filesystem::path& root) {
  return parse_csv(read_text(path, kMostBytes, root), path);
}

}  // namespace systole::data
