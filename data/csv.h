// CSV files as RFC 4180 and pandas write them: quoted fields with commas, quotes ("") and line breaks inside, CRLF or
// LF, a UTF-8 byte order mark. Fields are kept as they stand, outer blanks included. Parsed by libcsv.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace systole::data {

struct CsvTable {
  std::filesystem::path path;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // each as long as the header
  std::vector<size_t> line;                    // [rows] the line of the file that a row starts at, from 1

  /// The position of a named column. Throws Error with the columns that are there when it is missing.
  size_t column(std::string_view name) const;

  /// "path, line 12", the beginning of a sentence about a row.
  std::string where(size_t row) const;

  /// A field as a number. Throws Error that names line, column and text for any other.
  double number(size_t row, size_t column) const;
  /// A field as a whole number, which pandas may have written as 18792.0. Throws as above, and beyond 2^53.
  int64_t whole_number(size_t row, size_t column) const;
};

/// Reads the file; its first row is the header and blank lines count for nothing. Throws Error for a file that cannot
/// be read or is empty, for a quotation mark out of place, and for a row with another number of fields than the header.
/// `root` as of InputFile.
CsvTable read_csv(const std::filesystem::path& path, const std::filesystem::path& root = {});

/// The same of a text in memory; `path` names it in messages.
CsvTable parse_csv(std::string_view content, const std::filesystem::path& path);

}  // namespace systole::data
