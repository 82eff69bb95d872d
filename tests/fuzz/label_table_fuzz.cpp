// A table of labels of one's own.

#include "data/label_table.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::attempt([&] {
    const data::LabelTable table = data::label_table_of(data::parse_csv(fuzz::text(data, size), "labels.csv"));
    for (const data::LabelTable::Row& row : table.rows) fuzz::require(row.labels.size() == table.classes.size());
  });
  return 0;
}
