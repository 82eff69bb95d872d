// A CSV file, and its fields as numbers.

#include "data/csv.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const data::CsvTable table = data::parse_csv(fuzz::text(data, size), "table.csv");
    fuzz::require(table.line.size() == table.rows.size());
    for (size_t row = 0; row < table.rows.size(); ++row) {
      fuzz::require(table.rows[row].size() == table.header.size());
      for (size_t column = 0; column < table.header.size(); ++column) {
        fuzz::attempt([&] { table.number(row, column); });
        fuzz::attempt([&] { table.whole_number(row, column); });
      }
    }
  });
  return 0;
}
