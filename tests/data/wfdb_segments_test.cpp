// Multi-segment records of WFDB: fixed and variable layout, gaps, absent leads, differing gains.

#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;
using test::TemporaryFolder;
using test::write_file;

constexpr int32_t kNone = kInvalidSample;

void write_segment(const TemporaryFolder& folder, const std::string& name, const std::vector<std::string>& leads,
                   const std::vector<int16_t>& samples, double gain = 100, int baseline = 0) {
  write_wfdb16(folder / name, 250, leads, gain, "mV", baseline, samples);
}

TEST_CASE("wfdb segments: a fixed layout joins the segments in time, with gaps") {
  const TemporaryFolder folder;
  write_segment(folder, "sub/a", {"I", "II"}, {1, 10, 2, 20});
  write_segment(folder, "b", {"I", "II"}, {3, 30}, 50, 1);  // other gain and baseline: (3 − 1) · 100 / 50
  write_file(folder / "r.hea", "r/3 2 250 6\nsub/a 2\n~ 3\nb 1\n#Age: 7\n");
  const WfdbRecord record = read_wfdb(folder / "r");
  CHECK(record.length == 6);
  CHECK(record.samples[0] == std::vector<int32_t>{1, 2, kNone, kNone, kNone, 4});
  CHECK(record.samples[1] == std::vector<int32_t>{10, 20, kNone, kNone, kNone, 58});
  CHECK(record.header.signals.at(1).description == "II");
  CHECK(record.header.signals.at(1).gain == 100);
  CHECK(record.header.comments == std::vector<std::string>{"Age: 7"});
}

TEST_CASE("wfdb segments: a variable layout puts each lead in its place and leaves absent ones invalid") {
  const TemporaryFolder folder;
  write_file(folder / "layout.hea",
             "layout 3 250 0\n~ 0 100(0)/mV 12 0 0 0 0 I\n~ 0 2(5)/mmHg 12 0 0 0 0 ABP\n~ 0 100(0)/mV 12 0 0 0 0 V\n");
  write_segment(folder, "a", {"V", "I"}, {1, 10, 2, 20});
  write_segment(folder, "b", {"ABP"}, {7, -32768, -9}, 4, 0);  // to gain 2, baseline 5; halves go up
  write_file(folder / "r.hea", "r/4 3 250\nlayout 0\na 2\n~ 1\nb 3\n");
  const WfdbRecord record = read_wfdb(folder / "r");
  CHECK(record.length == 6);
  CHECK(record.samples[0] == std::vector<int32_t>{10, 20, kNone, kNone, kNone, kNone});
  CHECK(record.samples[1] == std::vector<int32_t>{kNone, kNone, kNone, 9, kNone, 1});
  CHECK(record.samples[2] == std::vector<int32_t>{1, 2, kNone, kNone, kNone, kNone});
  CHECK(record.header.signals.at(1).unit == "mmHg");
}

TEST_CASE("wfdb segments: leads of one name keep their order, samples per frame are kept") {
  const TemporaryFolder folder;
  write_file(folder / "layout.hea", "layout 3 250 0\n~ 0 1 12 0 0 0 0 x\n~ 0x2 1 12 0 0 0 0 y\n~ 0 1 12 0 0 0 0 x\n");
  write_file(folder / "a.hea", "a 3 250 1\na.dat 80 1 8 0 0 1 0 x\na.dat 80 1 8 0 0 2 0 x\na.dat 80x2 1 8 0 0 7 0 y\n");
  write_file(folder / "a.dat", "\x81\x82\x83\x84");
  write_file(folder / "r.hea", "r/3 3 250 2\nlayout 0\n~ 1\na 1\n");
  const WfdbRecord record = read_wfdb(folder / "r");
  CHECK(record.samples[0] == std::vector<int32_t>{kNone, 1});
  CHECK(record.samples[1] == std::vector<int32_t>{kNone, kNone, 3, 4});
  CHECK(record.samples[2] == std::vector<int32_t>{kNone, 2});
}

TEST_CASE("wfdb segments: every mistake gets a sentence") {
  const TemporaryFolder folder;
  const std::string root = folder.path().string();
  write_segment(folder, "a", {"I", "II"}, {1, 10, 2, 20});
  write_segment(folder, "one", {"I"}, {1, 2});
  write_segment(folder, "swapped", {"II", "I"}, {1, 10, 2, 20});
  write_wfdb16(folder / "fast", 500, {"I", "II"}, 100, "mV", 0, {1, 10, 2, 20});
  write_file(folder / "layout.hea", "layout 1 250 0\n~ 0 100 12 0 0 0 0 I\n");
  write_file(folder / "nested.hea", "nested/1 2 250 2\na 2\n");
  const struct {
    std::string header, expected;
  } cases[] = {
      {"r/2 2 250 4\na 2\nmissing 2\n", "The file {}/missing.hea cannot be opened: No such file or directory."},
      {"r/2 2 250 4\na 2\nnested 2\n",
       "The segment nested of the record {}/r has segments itself, expected a record of one piece."},
      {"r/1 2 250 3\na 3\n", "The segment a has 2 samples by its own header, expected 3 from the record {}/r."},
      {"r/1 2 250 3\na 2\n", "The segments of the record {}/r have 2 samples together, expected 3 from its header."},
      {"r/2 2 250 4\na 2\nfast 2\n", "The segment fast has the sampling rate 500, expected 250 as in the record {}/r."},
      {"r/1 3 250 2\na 2\n", "The first segment of the record {}/r has 2 signals, expected 3 from its header."},
      {"r/2 2 250 4\na 2\none 2\n", "The segment {}/one has 1 signals, expected 2 as in the first segment."},
      {"r/2 2 250 4\na 2\nswapped 2\n",
       "The segment {}/swapped has signal 0 (II) with 1 samples per frame, which the first segment at its place does "
       "not "
       "have."},
      {"r/2 1 250 2\nlayout 0\na 2\n",
       "The segment {}/a has signal 1 (II) with 1 samples per frame, which the layout does not have."},
      {"r/1 2 250 3\n~ 3\n", "The record {}/r consists of gaps, expected at least one segment."},
      {"r/2 2 250\na 2\n~ 2000000000\n",
       "The record {}/r would have 2000000002 frames of 2 samples, expected at most 2147483648 samples in all."},
  };
  for (const auto& c : cases) {
    write_file(folder / "r.hea", c.header);
    CHECK(sentence_of<Error>([&] { read_wfdb(folder / "r"); }) == fmt::format(fmt::runtime(c.expected), root));
  }
}

}  // namespace
}  // namespace systole::data
