// MIT-BIH as a data set, on recordings in its format that the test writes: 212, two leads, 360 Hz, annotations.

#include "data/mitdb.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "data/resample.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using test::sentence_of;
using test::TemporaryFolder;

constexpr double kRateHz = 360;
const std::map<char, int> kCodes = {{'N', 1},  {'L', 2},  {'V', 5},  {'F', 6},  {'S', 9}, {'A', 8},
                                    {'j', 11}, {'/', 12}, {'Q', 13}, {'+', 28}, {'!', 31}};

struct Beat {
  double at_s;
  char symbol;
};

void write_annotations(const fs::path& path, const std::vector<Beat>& beats) {
  std::string bytes;
  const auto word = [&](int value) { bytes += {static_cast<char>(value & 0xFF), static_cast<char>(value >> 8)}; };
  int64_t before = 0;
  for (const Beat& beat : beats) {
    const auto sample = static_cast<int64_t>(beat.at_s * kRateHz);
    if (sample - before >= 1024) {  // SKIP and a long time, the high word first
      word(59 << 10);
      word(static_cast<int>((sample - before) >> 16));
      word(static_cast<int>((sample - before) & 0xFFFF));
      before = sample;
    }
    word(kCodes.at(beat.symbol) << 10 | static_cast<int>(sample - before));
    before = sample;
  }
  word(0);
  test::write_file(path, bytes);
}

// A tone of 4 Hz and 1 mV in the first lead and the same upside down in the second, about 30 steps above the baseline.
int16_t sample_of(size_t l, size_t signal) {
  const double mv = std::sin(2 * 3.14159265358979 * 4 * static_cast<double>(l) / kRateHz);
  return static_cast<int16_t>(std::lround(1024 + 30 + (signal ? -200 : 200) * mv));
}

void write_recording(const fs::path& root, int number, double seconds, const std::vector<Beat>& beats,
                     const std::string& second_lead = "V1") {
  const auto length = static_cast<size_t>(seconds * kRateHz);
  std::string bytes;
  uint16_t sums[2] = {};
  for (size_t l = 0; l < length; ++l) {  // format 212: 12 bits of one sample, 12 of the next
    const int a = sample_of(l, 0) & 0xFFF, b = sample_of(l, 1) & 0xFFF;
    bytes += {static_cast<char>(a & 0xFF), static_cast<char>(a >> 8 | (b >> 8) << 4), static_cast<char>(b & 0xFF)};
    for (const size_t s : {0u, 1u}) sums[s] = static_cast<uint16_t>(sums[s] + sample_of(l, s));
  }
  std::string header = fmt::format("{} 2 360 {}\n", number, length);
  for (const size_t s : {0u, 1u})
    header += fmt::format("{0}.dat 212 200 11 1024 {1} {2} 0 {3}\n", number, sample_of(0, s),
                          static_cast<int16_t>(sums[s]), s ? second_lead : "MLII");
  test::write_file(root / fmt::format("{}.hea", number), header);
  test::write_file(root / fmt::format("{}.dat", number), bytes);
  write_annotations(root / fmt::format("{}.atr", number), beats);
}

Dataset load(const fs::path& root, LoadReport& report, const LoadOptions& options = {}, bool with_labels = true) {
  LoadOptions how = options;
  how.root = root;
  return load_mitdb(how, with_labels, report);
}

double value(const Dataset& d, size_t r, size_t l, size_t lead) {
  const size_t place = r * d.lead_count() + lead;
  return static_cast<double>(d.record(r)[l * d.lead_count() + lead]) * static_cast<double>(d.scale[place]) +
         static_cast<double>(d.offset[place]);
}

TEST_CASE("mitdb: windows have the AAMI classes of their beats") {
  const TemporaryFolder root;
  write_recording(root.path(), 208, 65,
                  {{0, '+'},
                   {1, 'N'},
                   {9.99, 'L'},  // 0: N
                   {10, 'N'},
                   {12, 'V'},
                   {15, 'F'},  // 1: V and F
                   {21, 'A'},
                   {22, 'j'},  // 2: S
                   {31, 'N'},
                   {32, 'Q'},  // 3: not known
                   {45, '+'},  // 4: no beat
                   {51, 'j'},
                   {59, 'N'},
                   {60.5, 'V'}});  // 5: N; the rest is no whole window
  LoadReport report;
  const Dataset d = load(root.path(), report);
  CHECK(d.classes == std::vector<std::string>{"N", "S", "V", "F"});
  CHECK(d.label_set == "aami");
  CHECK(d.record_id == std::vector<int64_t>{208000, 208001, 208002, 208005});
  CHECK(d.labels == std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0});
  CHECK(report.missing == 42);
  CHECK(report.sentence() ==
        "Loaded 4 of 6 windows of 10 s; missing: 42 (first: recording 101); left out, as the label "
        "is not known: 2.");
  const Dataset all = load(root.path(), report, {}, false);
  CHECK(all.records() == 6);
  CHECK(all.classes.empty());
  CHECK(all.labels.empty());
}

TEST_CASE("mitdb: signals are resampled, in mV, without their mean, on the leads of their names") {
  const TemporaryFolder root;
  write_recording(root.path(), 114, 40, {{1, 'N'}, {11, 'N'}, {21, 'N'}, {31, 'N'}}, "V5");
  for (const int rate_hz : {100, 250, 500}) {
    LoadReport report;
    const Dataset d = load(root.path(), report, {.sampling_rate_hz = rate_hz});
    REQUIRE(d.records() == 4);
    CHECK(d.length == 10 * rate_hz);
    CHECK(d.unit == "mV");
    for (size_t lead = 0; lead < 12; ++lead) CHECK(d.has_lead(1, lead) == (lead == 1 || lead == 10));
    for (size_t l = 0; l < static_cast<size_t>(d.length); ++l) {
      const double mv = std::sin(2 * 3.14159265358979 * 4 * static_cast<double>(l) / rate_hz);
      REQUIRE(std::abs(value(d, 1, l, 1) - mv) < 0.005);  // the source has steps of 0.005 mV
      REQUIRE(std::abs(value(d, 1, l, 10) + mv) < 0.005);
      REQUIRE(value(d, 1, l, 0) == 0);
    }
  }
}

TEST_CASE("mitdb: no patient is on both sides of the split, and every part has all classes' recordings") {
  const TemporaryFolder root;
  for (int number = 100; number <= 234; ++number) write_recording(root.path(), number, 10, {{1, 'N'}});
  LoadReport report;
  const Dataset d = load(root.path(), report);
  CHECK(d.records() == 43);  // 48 less four with paced beats and 201, whose patient is that of 202
  std::map<int, std::set<int64_t>> recordings;
  for (size_t r = 0; r < d.records(); ++r) recordings[d.fold[r] <= 8 ? 1 : d.fold[r]].insert(d.record_id[r] / 1000);
  CHECK(recordings[9] == std::set<int64_t>{119, 205, 220, 223});
  CHECK(recordings[10].size() == 22);
  CHECK(recordings[1].size() == 17);
  CHECK(recordings[1].count(208) == 1);
  CHECK(recordings[10].count(100) == 1);
  for (const int left_out : {102, 104, 107, 217, 201})
    for (const auto& [fold, members] : recordings) CHECK(members.count(left_out) == 0);
  CHECK(std::set<int>(d.fold.begin(), d.fold.end()).size() == 10);
  CHECK(load(root.path(), report, {.folds = {9}}).records() == 4);
}

TEST_CASE("mitdb: a recording with a lead that has no values is broken") {
  const TemporaryFolder root;
  write_recording(root.path(), 101, 10, {{1, 'N'}});
  write_wfdb16(root / "106", kRateHz, {"MLII", "V1"}, 200, "mV", 0, std::vector<int16_t>(2 * 3600, -32768));
  write_annotations(root / "106.atr", {{1, 'N'}});
  LoadReport report;
  CHECK(load(root.path(), report, {.skip_bad_records = true}).records() == 1);
  CHECK(std::count_if(report.left_out.begin(), report.left_out.end(),
                      [](const LeftOut& record) { return record.problem == RecordProblem::no_values; }) == 1);
  CHECK(report.bad_examples == std::vector<std::string>{(root / "106").string() +
                                                        ".hea: lead MLII has values in 0 of its 3600 samples, at least "
                                                        "half were expected."});
}

TEST_CASE("mitdb: another lead and a broken recording are refused by name, or skipped") {
  const TemporaryFolder root;
  write_recording(root.path(), 101, 10, {{1, 'N'}});
  write_recording(root.path(), 106, 10, {{1, 'N'}}, "ECG2");
  const std::string path = (root / "106").string();
  LoadReport report;
  CHECK(sentence_of<Error>([&] { load(root.path(), report); }) ==
        path +
            ".hea has the lead ECG2; MLII and V1 to V6 were expected. The option --skip-bad-records leaves broken "
            "records out.");
  CHECK(load(root.path(), report, {.skip_bad_records = true}).records() == 1);
  CHECK(report.bad == 1);
  write_recording(root.path(), 106, 9, {{1, 'N'}});
  CHECK(sentence_of<Error>([&] { load(root.path(), report); }).find("106.hea has 3240 samples, at least 10 s were") !=
        std::string::npos);
}

TEST_CASE("mitdb: a folder is known by its recordings") {
  const TemporaryFolder root;
  CHECK(!is_mitdb(root.path()));
  test::write_file(root / "1.atr", "");
  CHECK(!is_mitdb(root.path()));
  write_recording(root.path(), 234, 10, {});
  CHECK(is_mitdb(root.path()));
  LoadReport report;
  CHECK(sentence_of<Error>([&] { load(root.path(), report); }) ==
        fmt::format("Nothing could be loaded from {}: Loaded 0 of 1 windows of 10 s; missing: 42 (first: recording "
                    "101); left out, as the label is not known: 1.",
                    root.path().string()));
}

TEST_CASE("mitdb: the four real recordings give the windows of their beats") {
  const fs::path root = test::real_data("mitdb");
  if (root.empty()) return;
  LoadReport report;
  const Dataset d = load(root, report);
  CHECK(report.rows == 4 * 180);
  std::map<int, std::vector<size_t>> counts;
  for (size_t r = 0; r < d.records(); ++r) {
    auto& count = counts[d.fold[r] <= 8 ? 1 : d.fold[r]];
    count.resize(4);
    for (size_t c = 0; c < 4; ++c) count[c] += d.label(r, c);
  }
  for (const auto& [fold, count] : counts)
    MESSAGE("fold ", fold, ": N ", count[0], " S ", count[1], " V ", count[2], " F ", count[3]);
  CHECK(counts[9][2] > 100);  // 119 has 444 premature beats
  CHECK(counts[1][3] > 50);   // 208 has 373 fusion beats
  CHECK(counts[10][1] > 10);  // 100 has 33 atrial premature beats
}

}  // namespace
}  // namespace systole::data
