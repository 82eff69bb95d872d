// Headers of WFDB: the optional fields, what real files do with them, and the sentence for every mistake.

#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;
using test::TemporaryFolder;
using test::write_file;

WfdbHeader parse(const std::string& text) {
  const TemporaryFolder folder;
  write_file(folder / "r.hea", text);
  return read_wfdb_header(folder / "r");
}

TEST_CASE("wfdb header: all fields of header(5)") {
  const WfdbHeader header = parse(
      "# before\r\n\r\n"
      "r 2 360.5/1000(-5.5) 650000 12:30:00 25/12/1999\r\n"
      "a.dat 16x2:3+512 1.5e+3(-7)/uV 14 1024 995 -22131 512 lead one \r\n"
      "\r\n  # between\r\n"
      "sub/b.dat 212\r\n"
      "#<age>: 69  \r\n#\r\n");
  CHECK(header.record == "r");
  CHECK(header.sampling_rate_hz == 360.5);
  CHECK(header.counter_rate_hz == 1000);
  CHECK(header.base_counter == -5.5);
  CHECK(header.length == 650000);
  CHECK(header.base_time == "12:30:00");
  CHECK(header.base_date == "25/12/1999");
  CHECK(header.comments == std::vector<std::string>{"before", "between", "<age>: 69", ""});
  REQUIRE(header.signals.size() == 2);

  const WfdbSignal& a = header.signals[0];
  CHECK(a.file == "a.dat");
  CHECK(a.format == 16);
  CHECK(a.samples_per_frame == 2);
  CHECK(a.skew == 3);
  CHECK(a.byte_offset == 512);
  CHECK(a.gain == 1500);
  CHECK(a.baseline == -7);
  CHECK(a.unit == "uV");
  CHECK(a.adc_resolution == 14);
  CHECK(a.adc_zero == 1024);
  CHECK(a.initial_value == 995);
  CHECK(a.checksum == -22131);
  CHECK(a.block_size == 512);
  CHECK(a.description == "lead one");
  CHECK(physical_value(a, 1493) == 1.0);
  CHECK(std::isnan(physical_value(a, kInvalidSample)));

  const WfdbSignal& b = header.signals[1];  // every optional field is missing
  CHECK(b.file == "sub/b.dat");
  CHECK(b.samples_per_frame == 1);
  CHECK(b.gain == 200);
  CHECK(b.unit == "mV");
  CHECK(b.adc_resolution == 12);
  CHECK(b.initial_value == 0);
  CHECK(!b.checksum);
  CHECK(b.description.empty());
}

TEST_CASE("wfdb header: what is not said is taken from what is") {
  const WfdbHeader header = parse("r 1\nr.dat 212 0 11 1024");
  CHECK(header.sampling_rate_hz == 250);
  CHECK(header.length == 0);
  CHECK(header.signals.at(0).gain == 200);
  CHECK(header.signals.at(0).baseline == 1024);
  CHECK(header.signals.at(0).initial_value == 1024);
  CHECK(parse("r 0 128\n").counter_rate_hz == 128);
  CHECK(parse("r 0 128/0 0\n").counter_rate_hz == 128);
}

TEST_CASE("wfdb header: the habits of PTB-XL copies and of the PhysioNet challenges") {
  const WfdbHeader blank = parse("r 1 100 1000 12:49:26 31/07/1987 \nr.dat 16 1000.0(0)/mV 16 0    AVR\n");
  CHECK(blank.base_date == "31/07/1987");
  CHECK(blank.signals.at(0).description == "AVR");
  CHECK(!blank.signals.at(0).checksum);
  const WfdbHeader swapped =
      parse("E1.mat 1 500 5000 05-May-2020 09:49:17\nE1.mat 16x1+24 1000.0(0)/mv 16 0 1 2 0 aVR");
  CHECK(swapped.base_time == "09:49:17");
  CHECK(swapped.base_date == "05-May-2020");
  CHECK(swapped.signals.at(0).byte_offset == 24);
}

TEST_CASE("wfdb header: segments") {
  const WfdbHeader header = parse("r/3 2 250 300\nr_layout 0\n~ 100\nsub/r_1 200\n# end\n");
  CHECK(header.signal_count == 2);
  CHECK(header.signals.empty());
  REQUIRE(header.segments.size() == 3);
  CHECK(header.segments[1].record == "~");
  CHECK(header.segments[2].record == "sub/r_1");
  CHECK(header.segments[2].length == 200);
}

TEST_CASE("wfdb header: every mistake gets a sentence with file and line") {
  const TemporaryFolder folder;
  const std::string file = (folder / "r.hea").string();
  const auto sentence = [&](const std::string& text) {
    write_file(file, text);
    return sentence_of<Error>([&] { read_wfdb_header(folder / "r"); });
  };
  const struct {
    std::string text, expected;
  } cases[] = {
      {"", " ends after line 0, expected record line 1 of 1."},
      {"# r 1\n\n", " ends after line 2, expected record line 1 of 1."},
      {"r\n", ", line 1: the number of signals is \"\", expected a whole number from 0 on."},
      {"r -1\n", ", line 1: the number of signals is \"-1\", expected a whole number from 0 on."},
      {"r/0 1\n", ", line 1: the number of segments is \"0\", expected a whole number from 1 on."},
      {"r 99999999999\n", ", line 1: the number of signals is \"99999999999\", expected a whole number from 0 on."},
      {"r 2000000000 500 10\na 16\n", " ends after line 2, expected signal 2 of 2000000000."},
      {"r/2 1 500 10\na 10\n", " ends after line 2, expected segment 2 of 2."},
      {"r 1 0 10\n", ", line 1: the sampling rate is \"0\", expected a number above 0."},
      {"r 1 fast\n", ", line 1: the sampling rate is \"fast\", expected a number."},
      {"r 1 inf\n", ", line 1: the sampling rate is \"inf\", expected a number."},
      {"r 1 100 -5\n", ", line 1: the number of samples per signal is \"-5\", expected a whole number from 0 on."},
      {"r 1 100 2147483649\n",
       ", line 1: the number of samples per signal is \"2147483649\", expected at most 2147483648."},
      {"r 1 100 10\na\n", ", line 2: the format is \"\", expected a whole number from 0 on."},
      {"r 1 100 10\na 17\n",
       ", line 2: the format is \"17\", expected 0, 8, 16, 24, 32, 61, 80, 160, 212, 310 or 311."},
      {"r 1 100 10\na 16y2\n", ", line 2: the format is \"16y2\", expected a whole number from 0 on."},
      {"r 1 100 10\na 16x0\n",
       ", line 2: the number of samples per frame is \"0\", expected a whole number from 1 on."},
      {"r 1 100 10\na 16:\n", ", line 2: the skew is \"\", expected a whole number from 0 on."},
      {"r 1 100 10\na 16+-4\n", ", line 2: the byte offset is \"-4\", expected a whole number from 0 on."},
      {"r 1 100 10\na 16 much/mV\n", ", line 2: the gain is \"much\", expected a number."},
      {"r 1 100 10\na 16 1(x)/mV\n", ", line 2: the baseline is \"x\", expected a whole number."},
      {"r 1 100 10\na 16 1(2)3/mV\n", ", line 2: the gain is \"1(2)3/mV\", expected gain(baseline)/unit."},
      {"r 1 100 10\na 16 1 16 0 1 2x 0 I\n", ", line 2: the checksum is \"2x\", expected a whole number."},
      {"r 1 100 10\n../a 16\n", ", line 2: the name is \"../a\", expected a file in or below the header's folder."},
      {"r 1 100 10\n/etc/a 16\n", ", line 2: the name is \"/etc/a\", expected a file in or below the header's folder."},
      {"r 1 100 10\ns/../../a 16\n",
       ", line 2: the name is \"s/../../a\", expected a file in or below the header's folder."},
      {"r/1 1 100 10\n.. 10\n", ", line 2: the name is \"..\", expected a file in or below the header's folder."},
      {"r/1 1 100 10\na x\n", ", line 2: the length of the segment is \"x\", expected a whole number from 0 on."},
      {"r 1 100 10\na 16\nb 16\n", ", line 3: \"b 16\" stands after the last signal, where only comments may stand."},
  };
  for (const auto& c : cases) CHECK(sentence(c.text) == file + c.expected);
}

TEST_CASE("wfdb: what is missing or too large is refused before memory is taken") {
  const TemporaryFolder folder;
  const auto sentence = [&] { return sentence_of<Error>([&] { read_wfdb(folder / "r"); }); };
  CHECK(sentence() ==
        fmt::format("The file {} cannot be opened: No such file or directory.", (folder / "r.hea").string()));
  write_file(folder / "r.hea", "r 1 100 10\nr.dat 16\n");
  CHECK(sentence() ==
        fmt::format("The file {} cannot be opened: No such file or directory.", (folder / "r.dat").string()));
  std::filesystem::create_directory(folder / "r.dat");
  CHECK(sentence() == fmt::format("{} is not a regular file.", (folder / "r.dat").string()));
  std::filesystem::remove(folder / "r.dat");

  write_file(folder / "r.dat", "1234");
  write_file(folder / "r.hea", "r 1 100 2000000000\nr.dat 16\n");
  CHECK(sentence() == fmt::format("The file {} has 4 bytes, expected 4000000000 for 2000000000 frames of 1 samples in "
                                  "format 16 from byte 0.",
                                  (folder / "r.dat").string()));
  write_file(folder / "r.hea", "r 1 100 2\nr.dat 16+9223372036854775807\n");
  CHECK(sentence().find("has 4 bytes, expected 9223372036854775811 for 2 frames") != std::string::npos);
  write_file(folder / "r.hea", "r 1 100\nr.dat 16+9223372036854775807\n");
  CHECK(sentence().find("has 4 bytes, expected 9223372036854775807 for 0 frames") != std::string::npos);
  write_file(folder / "r.hea", "r 2 100 2000000000\nr.dat 0x2000000000\nr.dat 0x2000000000\n");
  CHECK(sentence() == fmt::format("The record {} would have 2000000000 frames of 4000000000 samples, expected at most "
                                  "2147483648 samples in all.",
                                  (folder / "r").string()));
  write_file(folder / "r.hea", "r 2 100 1\nr.dat 16 1 16 0 0 0 0 I\nr.dat 212 1 16 0 0 0 0 II\n");
  CHECK(sentence() ==
        fmt::format("The record {} gives signal 1 (II) the format 212, expected 16 as for the other signals "
                    "of r.dat.",
                    (folder / "r").string()));
}

}  // namespace
}  // namespace systole::data
