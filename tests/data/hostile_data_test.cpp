// Data sets that were made to do harm: names and links that lead out of the folder, and headers that ask for more
// memory than their files could fill. Each is refused with a sentence, before memory is taken.

#include <filesystem>
#include <limits>
#include <sys/stat.h>

#include "data/csv.h"
#include "data/input_file.h"
#include "data/label_table.h"
#include "data/mitdb.h"
#include "data/ptbxl.h"
#include "data/resample.h"
#include "data/wfdb.h"
#include "data/wfdb_folder.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using test::sentence_of;
using test::TemporaryFolder;
using test::write_file;

const std::vector<std::string> kLeads(kStandardLeads.begin(), kStandardLeads.end());

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// 12 leads of a slope each.
void write_record(const fs::path& record, int length = 20) {
  std::vector<int16_t> samples;
  for (int l = 0; l < length; ++l)
    for (int lead = 0; lead < 12; ++lead) samples.push_back(static_cast<int16_t>(10 * l + lead));
  write_wfdb16(record, 100, kLeads, 1000, "mV", 0, samples);
}

/// A header that promises 12 leads of `length` samples in `file`.
std::string header_of(int64_t length, const std::string& file = "r.dat", const std::string& rate = "100",
                      const std::string& format = "16", const std::string& gain = "1000") {
  std::string text = fmt::format("r 12 {} {}\n", rate, length);
  for (const std::string& lead : kLeads) text += fmt::format("{} {} {}/mV 16 0    {}\n", file, format, gain, lead);
  return text;
}

struct Folders {
  TemporaryFolder work;
  fs::path root = fs::canonical(work.path()) / "data", outside = fs::canonical(work.path()) / "outside";
  Folders() {
    fs::create_directories(root);
    fs::create_directories(outside);
  }
  std::string refused(const std::string& record = "r") const {
    return sentence_of<Error>([&] { read_wfdb(root / record); });
  }
};

TEST_CASE("hostile data: which names stay below their folder") {
  for (const char* name : {"a", "a/b", "records100/00000/00001_lr", "..a", "a..", "a/..b", ".", ""})
    CHECK_MESSAGE(stays_below(name), name);
  for (const char* name : {"..", "../a", "a/..", "a/../b", "/a", "/", "a\\b", "a/../../b"})
    CHECK_MESSAGE(!stays_below(name), name);
  CHECK(!stays_below(std::string_view("a\0b", 3)));
}

TEST_CASE("hostile data: names in a header cannot lead elsewhere") {
  const Folders f;
  write_record(f.outside / "r");
  for (const char* name : {"../outside/r.dat", "/etc/passwd", "sub/../../outside/r.dat"}) {
    write_file(f.root / "r.hea", header_of(20, name));
    CHECK(f.refused() == fmt::format("{}, line 2: the name is \"{}\", expected a file in or below the header's folder.",
                                     (f.root / "r.hea").string(), name));
  }
  write_file(f.root / "r.hea", "r/1 12 100 20\n../outside/r 20\n");
  CHECK(contains(f.refused(), "line 2: the name is \"../outside/r\""));
}

TEST_CASE("hostile data: symbolic links are followed within the data folder, and no further") {
  const Folders f;
  write_record(f.outside / "r");
  write_record(f.root / "sub/inside");
  fs::create_symlink(f.root / "sub/inside.hea", f.root / "r.hea");
  fs::create_symlink("sub/inside.dat", f.root / "inside.dat");
  CHECK(read_wfdb(f.root / "r").length == 20);

  const auto refuse = [&](const fs::path& link, const fs::path& target) {
    CHECK(f.refused() == fmt::format("{} leads to {}, a file in the data folder {} was expected.", link.string(),
                                     target.string(), f.root.string()));
  };
  fs::remove(f.root / "r.hea");
  fs::create_symlink(f.outside / "r.hea", f.root / "r.hea");
  refuse(f.root / "r.hea", f.outside / "r.hea");

  fs::remove(f.root / "r.hea");
  write_record(f.root / "r");
  fs::remove(f.root / "r.dat");
  fs::create_symlink(f.outside / "r.dat", f.root / "r.dat");
  refuse(f.root / "r.dat", f.outside / "r.dat");

  write_file(f.root / "r.hea", "r/1 12 100 20\nthere/r 20\n");  // a segment in a folder that is a link
  fs::create_symlink(f.outside, f.root / "there");
  CHECK(contains(f.refused(), (f.outside / "r.hea").string()));

  fs::create_directory(f.work / "data2");  // whose name begins as the root's
  write_record(fs::canonical(f.work / "data2") / "r");
  fs::remove(f.root / "r.hea");
  fs::create_symlink(fs::canonical(f.work / "data2") / "r.hea", f.root / "r.hea");
  CHECK(contains(f.refused(), "a file in the data folder"));
}

TEST_CASE("hostile data: a pipe or a device in place of a file is not waited for") {
  const Folders f;
  REQUIRE(mkfifo((f.root / "r.hea").c_str(), 0600) == 0);
  CHECK(f.refused() == (f.root / "r.hea").string() + " is not a regular file.");
  CHECK(sentence_of<Error>([] { read_csv("/dev/zero"); }) == "/dev/zero is not a regular file.");
}

TEST_CASE("hostile data: files that are too large for what they are, are not read") {
  const Folders f;
  write_file(f.root / "r.hea", header_of(20));
  fs::resize_file(f.root / "r.hea", uintmax_t{1} << 40);  // takes no room on the disk
  CHECK(f.refused() == fmt::format("The file {} has 1099511627776 bytes, at most 16777216 were expected.",
                                   (f.root / "r.hea").string()));
  write_file(f.root / "r.atr", "");
  fs::resize_file(f.root / "r.atr", uintmax_t{1} << 40);
  CHECK(contains(sentence_of<Error>([&] { read_annotations(f.root / "r.atr"); }), "at most 268435456 were expected"));
  write_file(f.root / "t.csv", "a,b\n");
  fs::resize_file(f.root / "t.csv", uintmax_t{1} << 40);
  CHECK(contains(sentence_of<Error>([&] { read_csv(f.root / "t.csv"); }), "at most 1073741824 were expected"));
}

TEST_CASE("hostile data: a header cannot ask for samples that no file holds") {
  const Folders f;
  write_file(f.root / "r.dat", "1234");
  write_file(f.root / "r.hea", header_of(int64_t{1} << 40));
  CHECK(f.refused() == (f.root / "r.hea").string() +
                           ", line 1: the number of samples per signal is \"1099511627776\", expected at most "
                           "2147483648.");
  write_file(f.root / "r.hea", header_of(100'000'000));
  CHECK(contains(f.refused(), "has 4 bytes, expected 2400000000 for 100000000 frames of 12 samples"));
  write_file(f.root / "r.hea", header_of(100'000'000, "~", "100", "0"));
  CHECK(f.refused() == fmt::format("The record {} would have 1200000000 samples that stand in no file, expected at "
                                   "most 67108864.",
                                   (f.root / "r").string()));
  write_file(f.root / "s.hea", "s 1 100 2\nr.dat 16 200\n");
  write_file(f.root / "r.hea", "r/2 1 100 2147483648\ns 2\n~ 2147483646\n");
  CHECK(contains(f.refused(), "would have 2147483646 samples that stand in no file"));
  write_file(f.root / "r.hea", "r/2 1 100 12\ns 2\n~ 10\n");  // a small gap is one
  CHECK(read_wfdb(f.root / "r").length == 12);
}

TEST_CASE("hostile data: a record cannot list one large header a million times") {
  const Folders f;
  write_file(f.root / "s.hea", "s 0 100 0\n#" + std::string(1 << 22, 'x') + "\n");
  std::string text = "r/9 0 100\n";
  for (int i = 0; i < 9; ++i) text += "s 0\n";
  write_file(f.root / "r.hea", text);
  CHECK(
      contains(f.refused(), fmt::format("s.hea has 4194316 bytes, at most {} were expected", (1 << 24) - 3 * 4194316)));
}

TEST_CASE("hostile data: absurd gains and rates are refused") {
  const Folders f;
  write_file(f.root / "r.dat", std::string(24 * 20, 'x'));
  for (const char* gain : {"1e-300", "-1e-10", "1e13", "1e308"}) {
    write_file(f.root / "r.hea", header_of(20, "r.dat", "100", "16", gain));
    CHECK(f.refused() ==
          fmt::format("{}, line 2: the gain is \"{}\", expected 0 or a magnitude from 1e-09 to 1000000000000.",
                      (f.root / "r.hea").string(), gain));
  }
  for (const char* gain : {"1e-9", "-1e12", "0"}) {
    write_file(f.root / "r.hea", header_of(20, "r.dat", "100", "16", gain));
    CHECK(read_wfdb(f.root / "r").length == 20);
  }
  const auto refused = [](int64_t length, double from, double to) {
    return sentence_of<Error>([&] { resampled_length(length, from, to); });
  };
  CHECK(refused(1000, 1e-300, 100) ==
        "A sampling rate of 1e-300 Hz cannot be resampled; from 1 Hz to 1 MHz were "
        "expected.");
  CHECK(refused(1000, 1, 500) ==
        "1000 samples at 1 Hz would become 500000 at 500 Hz; at most 32 times as many and "
        "268435456 in all were expected.");
  CHECK(contains(refused(int64_t{1} << 31, 500, 100), "268435456 in all were expected"));
  CHECK(resampled_length(1000, 50, 1000) == 20000);
}

TEST_CASE("hostile data: tables cannot name records elsewhere") {
  const Folders f;
  write_record(f.outside / "r");
  for (const char* name : {"../outside/r", "/etc/passwd", "records100/../../outside/r"}) {
    const std::string row = fmt::format("1,7,\"{{}}\",1,{},r\n", name);
    write_file(f.root / "ptbxl_database.csv", "ecg_id,patient_id,scp_codes,strat_fold,filename_lr,filename_hr\n" + row);
    CHECK(sentence_of<Error>([&] { read_ptbxl_metadata(f.root, LabelSet::none); }) ==
          fmt::format("{}, line 2: filename_lr is \"{}\", a record in or below the folder was expected.",
                      (f.root / "ptbxl_database.csv").string(), name));
    write_file(f.root / "labels.csv", fmt::format("record,patient\n{},1\n", name));
    CHECK(sentence_of<Error>([&] { read_label_table(f.root / "labels.csv"); }) ==
          fmt::format("{}, line 2: record is \"{}\", a record in or below the data folder was expected.",
                      (f.root / "labels.csv").string(), name));
  }
  fs::remove(f.root / "ptbxl_database.csv");
  write_file(f.outside / "t.csv", "ecg_id\n");
  fs::create_symlink(f.outside / "t.csv", f.root / "ptbxl_database.csv");
  CHECK(contains(sentence_of<Error>([&] { read_ptbxl_metadata(f.root, LabelSet::none); }),
                 (f.outside / "t.csv").string() + ", a file in the data folder"));
}

TEST_CASE("hostile data: a load takes memory only for records whose files hold what their headers say") {
  const Folders f;
  write_record(f.root / "good");
  for (const char* name : {"a", "b", "c"}) {  // the most common length by far
    write_file(f.root / (std::string(name) + ".hea"), header_of(100'000'000, std::string(name) + ".dat"));
    write_file(f.root / (std::string(name) + ".dat"), "1234");
  }
  LoadReport report;
  CHECK(contains(sentence_of<Error>([&] { load_wfdb_folder({.root = f.root}, report); }),
                 "a.dat has 4 bytes, expected 2400000000"));
  const Dataset d = load_wfdb_folder({.root = f.root, .skip_bad_records = true}, report);
  CHECK(d.record_name == std::vector<std::string>{"good"});
  CHECK(report.bad == 3);
}

TEST_CASE("hostile data: a load follows no link out of its folder") {
  const Folders f;
  write_record(f.root / "good");
  write_record(f.outside / "other");
  fs::create_symlink(f.outside / "other.hea", f.root / "other.hea");
  fs::create_symlink(f.outside / "other.dat", f.root / "other.dat");
  LoadReport report;
  const Dataset d = load_wfdb_folder({.root = f.root, .skip_bad_records = true}, report);
  CHECK(d.record_name == std::vector<std::string>{"good"});
  REQUIRE(report.left_out.size() == 1);
  CHECK(report.left_out[0].name == "other");
  CHECK(report.left_out[0].problem == RecordProblem::unreadable);
  CHECK(contains(report.left_out[0].sentence, "a file in the data folder"));

  const fs::path linked = f.outside / "linked";  // the root itself may be a link
  fs::create_directory_symlink(f.root, linked);
  CHECK(load_wfdb_folder({.root = linked, .skip_bad_records = true}, report).records() == 1);
}

}  // namespace
}  // namespace systole::data
