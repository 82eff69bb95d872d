// The sample formats of WFDB: bytes written by the rules of signal(5), read back by read_wfdb.

#include <algorithm>
#include <array>

#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

using test::sentence_of;
using test::TemporaryFolder;
using test::write_file;

constexpr std::array kFormats = {8, 16, 24, 32, 61, 80, 160, 212, 310, 311};

/// Bits of one sample, and the code that means "no value" (kInvalidSample: there is none).
int bits_of(int format) {
  switch (format) {
    case 8:
    case 80:
      return 8;
    case 24:
      return 24;
    case 32:
      return 32;
    case 212:
      return 12;
    case 310:
    case 311:
      return 10;
    default:
      return 16;
  }
}
int32_t no_value(int format) {
  return format == 8 ? kInvalidSample : static_cast<int32_t>(-(int64_t{1} << (bits_of(format) - 1)));
}

/// Appends the lowest `count` bytes of `word`, lowest first.
void append(std::string& bytes, uint64_t word, int count) {
  for (int i = 0; i < count; ++i) bytes.push_back(static_cast<char>(word >> (8 * i)));
}

/// Up to three samples of 10 or two of 12 bits in one group; what an incomplete group leaves over is cut off.
void append_packed(std::string& bytes, int format, const int32_t* v, size_t count) {
  const auto bits = [&](size_t i) {
    return i < count ? static_cast<uint64_t>(v[i]) & (format == 212 ? 0xFFF : 0x3FF) : 0;
  };
  if (format == 212) {
    append(bytes, (bits(0) & 0xFF) | (bits(0) >> 8) << 8 | (bits(1) >> 8) << 12 | (bits(1) & 0xFF) << 16,
           count == 2 ? 3 : 2);
  } else if (format == 310) {
    append(bytes, bits(0) << 1 | (bits(2) & 31) << 11 | bits(1) << 17 | (bits(2) >> 5) << 27, count == 1 ? 2 : 4);
  } else {
    append(bytes, bits(0) | bits(1) << 10 | bits(2) << 20, static_cast<int>(count) + 1);
  }
}

/// `values` in the order of the file; of format 8 they are the differences.
std::string encode(int format, const std::vector<int32_t>& values) {
  std::string bytes;
  const size_t group = format == 212 ? 2 : format > 212 ? 3 : 1;
  for (size_t i = 0; i < values.size(); i += group) {
    const auto word = static_cast<uint64_t>(static_cast<int64_t>(values[i]));
    switch (format) {
      case 61:
        append(bytes, (word >> 8 & 0xFF) | (word & 0xFF) << 8, 2);
        break;
      case 80:
        append(bytes, word + 0x80, 1);
        break;
      case 160:
        append(bytes, word + 0x8000, 2);
        break;
      case 212:
      case 310:
      case 311:
        append_packed(bytes, format, &values[i], std::min(group, values.size() - i));
        break;
      default:
        append(bytes, word, bits_of(format) / 8);
    }
  }
  return bytes;
}

/// Random samples over the whole range of the format, its code for "no value" among them.
std::vector<int32_t> random_values(int format, size_t count) {
  const RandomStream stream(test::seed(), Purpose::test, 0, static_cast<uint32_t>(format));
  std::vector<int32_t> values(count);
  const int unused = 32 - bits_of(format);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t bits = stream.bits(static_cast<uint32_t>(i));
    values[i] = static_cast<int32_t>(bits << unused) >> unused;
    if (bits >> 29 == 7 && format != 8) values[i] = no_value(format);
  }
  return values;
}

int checksum_of(const std::vector<int32_t>& values) {
  uint32_t sum = 0;
  for (const int32_t v : values) sum += static_cast<uint32_t>(v);
  return static_cast<int16_t>(sum & 0xFFFF);
}

std::vector<int32_t> with_invalid(int format, std::vector<int32_t> values) {
  std::replace(values.begin(), values.end(), no_value(format), kInvalidSample);
  return values;
}

/// The most samples whose encoding fits into `bytes` bytes.
int64_t samples_that_fit(int format, size_t bytes) {
  size_t count = 0;
  while (encode(format, std::vector<int32_t>(count + 1)).size() <= bytes) ++count;
  return static_cast<int64_t>(count);
}

TEST_CASE("wfdb: every format returns what was written, at every length from 1 to 13") {
  const TemporaryFolder folder;
  for (const int format : kFormats) {
    for (size_t length = 1; length <= 13; ++length) {
      CAPTURE(format);
      CAPTURE(length);
      const std::vector<int32_t> written = random_values(format, length);
      std::vector<int32_t> expected = written;
      if (format == 8)  // sums of the differences, from the initial value on
        for (size_t i = 0; i < length; ++i) expected[i] += i ? expected[i - 1] : 57;
      write_file(folder / "r.dat", encode(format, written));
      write_file(folder / "r.hea",
                 fmt::format("r 1 100 {}\nr.dat {} 200 12 0 57 {} 0 I\n", length, format, checksum_of(expected)));
      CHECK(read_wfdb(folder / "r").samples.at(0) == with_invalid(format, expected));

      // One byte less is refused; without the length in the header, the file tells it.
      std::string bytes = encode(format, written);
      write_file(folder / "r.hea", fmt::format("r 1 100\nr.dat {} 200 12 0 57\n", format));
      CHECK(read_wfdb(folder / "r").length == samples_that_fit(format, bytes.size()));
      bytes.pop_back();
      write_file(folder / "r.dat", bytes);
      CHECK(read_wfdb(folder / "r").length == samples_that_fit(format, bytes.size()));
      write_file(folder / "r.hea", fmt::format("r 1 100 {}\nr.dat {} 200\n", length, format));
      const std::string sentence = sentence_of<Error>([&] { read_wfdb(folder / "r"); });
      CHECK(sentence.find(fmt::format("r.dat has {} bytes, expected {} for", bytes.size(), bytes.size() + 1)) !=
            std::string::npos);
    }
  }
}

TEST_CASE("wfdb: samples per frame, several files and a byte offset keep every signal apart") {
  const TemporaryFolder folder;
  constexpr size_t kFrames = 5;
  for (const int format : kFormats) {
    if (format == 8) continue;
    CAPTURE(format);
    const std::vector<int32_t> file = random_values(format, kFrames * 6);  // frames of 1 + 3 + 2 samples
    const std::vector<int32_t> other = random_values(16, kFrames);
    std::vector<std::vector<int32_t>> expected(4);
    for (size_t i = 0; i < file.size(); ++i) expected[i % 6 < 1 ? 0 : i % 6 < 4 ? 1 : 3].push_back(file[i]);
    expected[2] = expected[3];
    expected[3] = other;
    write_file(folder / "a.mat", std::string(24, 'x') + encode(format, file));
    write_file(folder / "b.dat", encode(16, other));
    std::string header = "r 4 100 5\n";
    const char* spf[] = {"", "x3", "x2"};
    for (size_t s = 0; s < 3; ++s)
      header += fmt::format("a.mat {}{}+24 100 0 0 0 {} 0 s{}\n", format, spf[s], checksum_of(expected[s]), s);
    write_file(folder / "r.hea", header + fmt::format("b.dat 16 100 0 0 0 {} 0 s3\n", checksum_of(other)));
    const WfdbRecord record = read_wfdb(folder / "r");
    for (size_t s = 0; s < 4; ++s) CHECK(record.samples[s] == with_invalid(s < 3 ? format : 16, expected[s]));
  }
}

TEST_CASE("wfdb: differences of interleaved signals are summed from each signal's own initial value") {
  const TemporaryFolder folder;
  write_file(folder / "r.dat", encode(8, {1, -1, 127, -128, 0, 5}));
  write_file(folder / "r.hea", "r 2 100 3\nr.dat 8 100 8 0 100 557 0 a\nr.dat 8 100 8 0 -7 -275 0 b\n");
  const WfdbRecord record = read_wfdb(folder / "r");
  CHECK(record.samples[0] == std::vector<int32_t>{101, 228, 228});
  CHECK(record.samples[1] == std::vector<int32_t>{-8, -136, -131});
}

TEST_CASE("wfdb: bytes of the manual's bit layouts") {
  const TemporaryFolder folder;
  const auto read = [&](int format, const std::string& bytes) {
    write_file(folder / "r.dat", bytes);
    write_file(folder / "r.hea", fmt::format("r 1\nr.dat {}\n", format));
    return read_wfdb(folder / "r").samples[0];
  };
  // The first bytes of MIT-BIH record 100: 995 and 1011.
  CHECK(read(212, "\xE3\x33\xF3") == std::vector<int32_t>{995, 1011});
  CHECK(read(16, {"\x01\x80\xFF\x7F", 4}) == std::vector<int32_t>{-32767, 32767});
  CHECK(read(61, {"\x80\x01\x7F\xFF", 4}) == std::vector<int32_t>{-32767, 32767});
  CHECK(read(160, {"\x01\x00\xFF\xFF\x00\x00", 6}) == std::vector<int32_t>{-32767, 32767, kInvalidSample});
  CHECK(read(80, {"\x01\xFF\x80\x00", 4}) == std::vector<int32_t>{-127, 127, 0, kInvalidSample});
  CHECK(read(24, {"\x01\x00\x80", 3}) == std::vector<int32_t>{-8388607});
  CHECK(read(310, {"\x02\x08\x04\x00", 4}) == std::vector<int32_t>{1, 2, 1});
  CHECK(read(311, {"\x01\x08\x10\x00", 4}) == std::vector<int32_t>{1, 2, 1});
}

TEST_CASE("wfdb: a skewed signal is moved to its time and ends in invalid samples") {
  const TemporaryFolder folder;
  write_file(folder / "r.dat", encode(16, {1, 10, 11, 2, 20, 21, 3, 30, 31}));
  write_file(folder / "r.hea", "r 2 100 3\nr.dat 16:1 100 16 0 1 6 0 a\nr.dat 16x2:2 100 16 0 10 123 0 b\n");
  const WfdbRecord record = read_wfdb(folder / "r");
  CHECK(record.samples[0] == std::vector<int32_t>{2, 3, kInvalidSample});
  CHECK(record.samples[1] ==
        std::vector<int32_t>{20, 21, 30, 31, kInvalidSample, kInvalidSample});  // 2 samples: 1 frame
  write_file(folder / "r.hea", "r 2 100 3\nr.dat 16:99 100 16 0 1 6 0 a\nr.dat 16x2 100 16 0 10 123 0 b\n");
  CHECK(read_wfdb(folder / "r").samples[0] == std::vector<int32_t>(3, kInvalidSample));
}

TEST_CASE("wfdb: a wrong checksum names record, signal, what was found and what was expected") {
  const TemporaryFolder folder;
  write_file(folder / "r.dat", encode(16, {1, -32768, 3, 4}));
  const auto header = [&](const std::string& checksum) {
    write_file(folder / "r.hea", "r 2 100 2\nr.dat 16 100 16 0 1 4 0 I\nr.dat 16 100 16 0 0 " + checksum + " 0 II\n");
  };
  for (const char* same : {"-32764", "32772", "98308"}) {  // all equal modulo 2^16, and the invalid sample counts
    header(same);
    CHECK(read_wfdb(folder / "r").samples[1] == std::vector<int32_t>{kInvalidSample, 4});
  }
  header("5");
  CHECK(sentence_of<Error>([&] { read_wfdb(folder / "r"); }) ==
        fmt::format("The checksum of signal 1 (II) of the record {} is 32772, expected 5 from the header.",
                    (folder / "r").string()));
}

}  // namespace
}  // namespace systole::data
