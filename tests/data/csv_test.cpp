#include "data/csv.h"

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;
using test::TemporaryFolder;
using Row = std::vector<std::string>;

CsvTable parse(const TemporaryFolder& folder, const std::string& text) {
  test::write_file(folder / "table.csv", text);
  return read_csv(folder / "table.csv");
}

std::string refusal(const TemporaryFolder& folder, const std::string& text) {
  return sentence_of<Error>([&] { parse(folder, text); });
}

TEST_CASE("csv: quoted fields hold commas, doubled quotes and line breaks, and rows keep their line numbers") {
  const TemporaryFolder folder;
  const CsvTable table = parse(folder, "a,b\n1,\"x, \"\"y\"\"\n\nz\"\n2,plain\n\n3,\"\"\n");
  CHECK(table.header == Row{"a", "b"});
  REQUIRE(table.rows.size() == 3);
  CHECK(table.rows[0] == Row{"1", "x, \"y\"\n\nz"});
  CHECK(table.rows[1] == Row{"2", "plain"});
  CHECK(table.rows[2] == Row{"3", ""});
  CHECK(table.line == std::vector<size_t>{2, 5, 7});
  CHECK(table.where(1) == (folder / "table.csv").string() + ", line 5");
}

TEST_CASE("csv: CRLF, a byte order mark, no final line break and outer blanks change nothing") {
  const TemporaryFolder folder;
  const CsvTable table = parse(folder,
                               "\xEF\xBB\xBF"
                               "a,b\r\n 1 ,\" x\r\ny \"\r\n,2");
  CHECK(table.header == Row{"a", "b"});
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[0] == Row{" 1 ", " x\r\ny "});
  CHECK(table.rows[1] == Row{"", "2"});
  CHECK(table.line == std::vector<size_t>{2, 4});
}

TEST_CASE("csv: a column is found by name, and a missing one is named with those that are there") {
  const TemporaryFolder folder;
  const CsvTable table = parse(folder, ",ecg_id,fold\nx,1,2\n");
  CHECK(table.column("fold") == 2);
  CHECK(table.column("") == 0);
  CHECK(sentence_of<Error>([&] { table.column("strat_fold"); }) ==
        (folder / "table.csv").string() + " has no column strat_fold; its columns are , ecg_id, fold.");
}

TEST_CASE("csv: a header without rows is a table without rows") {
  const TemporaryFolder folder;
  CHECK(parse(folder, "a,b\n").rows.empty());
}

TEST_CASE("csv: what is not a CSV file is refused by file and line") {
  const TemporaryFolder folder;
  const std::string path = (folder / "table.csv").string();
  CHECK(refusal(folder, "a,b\n1,\"2\n\"\n3\n") ==
        path + ", line 4: the row has 1 fields, but the header names 2 columns.");
  CHECK(refusal(folder, "a,b\n1,2,3\n") == path + ", line 2: the row has 3 fields, but the header names 2 columns.");
  CHECK(
      refusal(folder, "a,b\n1,2\n3,\"open\nstill open\n") ==
      path +
          ", line 4: a quotation mark is out of place in the row that starts at line 3: a field is quoted as a whole, "
          "and quotation marks inside it are doubled.");
  CHECK(refusal(folder, "a,b\n1,2\"3\n").find(path + ", line 2: a quotation mark is out of place") == 0);
  CHECK(refusal(folder, "a,b\n1,\"2\"3\n").find(path + ", line 2: a quotation mark is out of place") == 0);
  CHECK(refusal(folder, "") == path + " is empty, a line of column names was expected.");
  CHECK(sentence_of<Error>([&] { read_csv(folder / "none.csv"); }) ==
        fmt::format("The file {} cannot be opened: No such file or directory.", (folder / "none.csv").string()));
  CHECK(sentence_of<Error>([&] { read_csv(folder.path()); }) == folder.path().string() + " is not a regular file.");
}

TEST_CASE("csv: the database of PTB-XL keeps its quoted multi-part fields") {
  const auto folder = test::real_data("ptbxl");
  if (folder.empty()) return;
  const CsvTable table = read_csv(folder / "ptbxl_database.csv");
  CHECK(table.rows.size() == 97);
  CHECK(table.rows[0][table.column("static_noise")] == " , I-V1,  ");
  CHECK(table.rows[0][table.column("scp_codes")] == "{'NORM': 100.0, 'LVOLT': 0.0, 'SR': 0.0}");
}

}  // namespace
}  // namespace systole::data
