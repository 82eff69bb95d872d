// The tables of PTB-XL: a digit for the label set, ptbxl_database.csv, scp_statements.csv.

#include "data/ptbxl.h"
#include "tests/fuzz/fuzz.h"

using namespace systole;

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<std::string> tables = fuzz::parts(fuzz::text(data + 1, size - 1), 2);
  const auto labels = static_cast<data::LabelSet>(data[0] % (static_cast<int>(data::LabelSet::none) + 1));
  fuzz::attempt([&] {
    const data::PtbxlMetadata metadata = data::ptbxl_metadata_of(
        data::parse_csv(tables[0], "ptbxl_database.csv"),
        [&] { return data::parse_csv(tables[1], "scp_statements.csv"); }, labels);
    for (const data::PtbxlRow& row : metadata.rows)
      fuzz::require(row.labels.size() == metadata.classes.size() && row.fold >= 1 && row.fold <= 10);
  });
  return 0;
}
