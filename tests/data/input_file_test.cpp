#include "data/input_file.h"

#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;

TEST_CASE("input file: a file that becomes shorter while it is read is said so, with the byte") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "a", "0123456789");
  const InputFile file(folder / "a", {});
  std::vector<uint8_t> bytes(10);
  file.read(0, 10, bytes.data());
  CHECK(std::string(bytes.begin(), bytes.end()) == "0123456789");
  std::filesystem::resize_file(folder / "a", 6);
  CHECK(sentence_of<Error>([&] { file.read(4, 6, bytes.data()); }) ==
        fmt::format("Reading the file {} failed at byte 6: it has become shorter.", (folder / "a").string()));
}

TEST_CASE("input file: a folder is no file, a file that is not there is named, and one at the limit is read") {
  const test::TemporaryFolder folder;
  CHECK(sentence_of<Error>([&] { InputFile(folder.path(), {}); }).ends_with(" is not a regular file."));
  CHECK(sentence_of<Error>([&] { InputFile(folder / "none", {}); }).find("none cannot be opened: No such file") !=
        std::string::npos);
  test::write_file(folder / "a", "0123456789");
  CHECK(read_text(folder / "a", 10, {}) == "0123456789");
  CHECK(sentence_of<Error>([&] {
          read_text(folder / "a", 9, {});
        }).ends_with("a has 10 bytes, at most 9 were expected."));
}

}  // namespace
}  // namespace systole::data
