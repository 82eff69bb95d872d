// Annotation files of WFDB, word by word, and the writer of format 16.

#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;
using test::TemporaryFolder;
using test::write_file;

std::string words(const std::vector<int>& values) {
  std::string bytes;
  for (const int value : values) {
    bytes.push_back(static_cast<char>(value & 0xFF));
    bytes.push_back(static_cast<char>(value >> 8));
  }
  return bytes;
}

int word(int code, int data) {
  return code << 10 | data;
}

TEST_CASE("wfdb annotations: times add up, channel and number last, subtype and aux belong to one annotation") {
  const TemporaryFolder folder;
  const std::string bytes = words({word(28, 18), word(63, 3)}) + std::string("(N\0\0", 4) +  // aux of odd length
                            words({word(61, 0xFF), word(62, 2), word(60, 0xFE)}) +  // subtype −1, number −2
                            words({word(1, 1023)}) +                                //
                            words({word(59, 0), 2, 3, word(5, 1)}) +                // 2 · 65536 + 3 further on
                            words({word(59, 0), 0xFFFF, 0xFFFF, word(42, 0), word(60, 0)}) +  // one back
                            words({0, word(1, 1)});  // nothing after the end counts
  write_file(folder / "r.atr", bytes);
  const std::vector<Annotation> a = read_annotations(folder / "r.atr");
  REQUIRE(a.size() == 4);
  CHECK(a[0].sample == 18);
  CHECK(a[0].symbol == "+");
  CHECK(a[0].aux == "(N");
  CHECK(a[0].subtype == -1);
  CHECK(a[0].channel == 2);
  CHECK(a[0].number == -2);
  CHECK(a[1].sample == 18 + 1023);
  CHECK(a[1].symbol == "N");
  CHECK(a[1].aux.empty());
  CHECK(a[1].subtype == 0);
  CHECK(a[1].channel == 2);
  CHECK(a[1].number == -2);
  CHECK(a[2].sample == 18 + 1023 + 131075 + 1);
  CHECK(a[2].code == 5);
  CHECK(a[3].sample == a[2].sample - 1);
  CHECK(a[3].symbol == "[42]");
  CHECK(a[3].number == 0);
}

TEST_CASE("wfdb annotations: a damaged file gets a sentence") {
  const TemporaryFolder folder;
  const std::string path = (folder / "r.atr").string();
  const auto sentence = [&](const std::string& bytes) {
    write_file(path, bytes);
    return sentence_of<Error>([&] { read_annotations(path); });
  };
  const std::string breaks_off = "The annotation file {} breaks off after {} bytes, expected a zero word at its end.";
  CHECK(sentence("") == fmt::format(fmt::runtime(breaks_off), path, 0));
  CHECK(sentence(words({word(1, 5)})) == fmt::format(fmt::runtime(breaks_off), path, 2));
  CHECK(sentence(words({word(1, 5)}) + "x") == fmt::format(fmt::runtime(breaks_off), path, 3));
  CHECK(sentence(words({word(1, 5), word(63, 1000), 0})) == fmt::format(fmt::runtime(breaks_off), path, 6));
  CHECK(sentence(words({word(61, 1), 0})) ==
        fmt::format("The annotation file {} begins with the code 61, expected an annotation.", path));
  CHECK(sentence_of<Error>([&] { read_annotations(folder / "none"); }) ==
        fmt::format("The file {} cannot be opened: No such file or directory.", (folder / "none").string()));
}

TEST_CASE("wfdb writer: the record reads back, in PTB-XL's style") {
  const TemporaryFolder folder;
  const std::vector<int16_t> samples = {-119, 4, 32767, -32768, 7, 6};  // [3, 2]
  write_wfdb16(folder / "records100/00000/00001_lr", 100, {"I", "AVR"}, 1000, "mV", 0, samples, {"Age: 7"});
  CHECK(test::read_file(folder / "records100/00000/00001_lr.hea") ==
        "00001_lr 2 100 3\n"
        "00001_lr.dat 16 1000.0(0)/mV 16 0 -119 32655 0 I\n"
        "00001_lr.dat 16 1000.0(0)/mV 16 0 4 32778 0 AVR\n"
        "# Age: 7\n");
  const WfdbRecord record = read_wfdb(folder / "records100/00000/00001_lr");
  CHECK(record.samples[0] == std::vector<int32_t>{-119, 32767, 7});
  CHECK(record.samples[1] == std::vector<int32_t>{4, kInvalidSample, 6});
  CHECK(record.header.comments == std::vector<std::string>{"Age: 7"});

  write_wfdb16(folder / "b", 257.5, {"lead one"}, 0.25, "NU", -3, {1});
  CHECK(read_wfdb_header(folder / "b").sampling_rate_hz == 257.5);
  CHECK(read_wfdb_header(folder / "b").signals.at(0).gain == 0.25);
  CHECK(read_wfdb_header(folder / "b").signals.at(0).baseline == -3);
  CHECK(read_wfdb_header(folder / "b").signals.at(0).description == "lead one");
}

TEST_CASE("wfdb writer: what would not read back is refused") {
  const TemporaryFolder folder;
  const std::string start = fmt::format("The WFDB record {} cannot be written: ", (folder / "r").string());
  const auto sentence = [&](double rate, const std::vector<std::string>& leads, double gain, const std::string& unit,
                            const std::vector<int16_t>& samples, const std::vector<std::string>& comments = {}) {
    return sentence_of<Error>([&] { write_wfdb16(folder / "r", rate, leads, gain, unit, 0, samples, comments); });
  };
  CHECK(sentence(100, {"I", "II"}, 1, "mV", {1, 2, 3}) == start + "3 samples do not fill 2 leads.");
  CHECK(sentence(100, {"I"}, 1, "mV", {}) == start + "0 samples do not fill 1 leads.");
  CHECK(sentence(0, {"I"}, 1, "mV", {1}) == start + "sampling rate 0 and gain 1 must be above 0.");
  CHECK(sentence(100, {"I"}, 1, "m V", {1}) == start + "the unit is \"m V\", expected one word.");
  CHECK(sentence(100, {"I\n"}, 1, "mV", {1}) == start + "the name of a lead is \"I\n\", expected one line of text.");
  CHECK(sentence(100, {"I"}, 1, "mV", {1}, {"a\nb"}) == start + "the comment is \"a\nb\", expected one line of text.");
  CHECK(!std::filesystem::exists(folder / "r.hea"));
}

}  // namespace
}  // namespace systole::data
