// The packed store: what is written comes back, and whatever else a file may hold is refused with a sentence.

#include "data/pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "data/mitdb.h"
#include "data/pack_format.h"
#include "data/pack_labels.h"
#include "data/ptbxl.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"
#include "tests/support.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using test::sentence_of;
using test::TemporaryFolder;

constexpr size_t kRecords = 5, kLeads = 2, kLength = 7;
constexpr size_t kRecordBytes = kLeads * kLength * sizeof(int16_t);

/// Five records in the folds 1, 1, 2, 2, 10, with a set of three classes and one of one class.
PackContents example() {
  PackContents contents;
  Dataset& d = contents.signals;
  d.name = "example";
  d.length = kLength;
  d.sampling_rate_hz = 100;
  d.leads = {"I", "V1"};
  d.unit = "mV";
  d.label_set = "none";
  for (size_t i = 0; i < kRecords * kLeads * kLength; ++i) d.samples.push_back(static_cast<int16_t>(997 * i - 30000));
  for (size_t i = 0; i < kRecords * kLeads; ++i) {
    d.scale.push_back(i == 3 ? 0.0f : 0.001f * static_cast<float>(i + 1));
    d.offset.push_back(-0.5f * static_cast<float>(i));
  }
  for (size_t r = 0; r < kRecords; ++r) {
    d.record_id.push_back(static_cast<int64_t>(1000 + r) << (8 * r));
    d.record_name.push_back(fmt::format("site/r{}é", r));
    d.patient_id.push_back(-static_cast<int64_t>(r / 2));
  }
  d.fold = {1, 1, 2, 2, 10};
  contents.label_sets = {{"shape", {"A", "B", "C"}, {1, 1, 1, 1, 1}, {1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1}},
                         {"task", {"T"}, {1, 0, 1, 1, 0}, {1, 0, 0, 1, 0}}};
  return contents;
}

/// The example as a file, and other content under the same name.
class ExampleFile {
 public:
  ExampleFile() {
    write_pack(path, example());
    bytes = test::read_file(path);
  }
  void write(const std::string& content) const { test::write_file(path, content); }

  const TemporaryFolder folder;
  const fs::path path = folder / "example.ecgs";
  std::string bytes;
};

Dataset load(const fs::path& path, const std::string& labels = "", std::vector<int> folds = {},
             bool skip_bad_records = false) {
  LoadReport report;
  return load_pack({.root = path, .folds = std::move(folds), .skip_bad_records = skip_bad_records}, labels, report);
}
std::string refusal(const fs::path& path) {
  return sentence_of<Error>([&] { load(path); });
}

pack::Header header_of(const std::string& bytes) {
  pack::Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

/// Puts right checksums over what may be wrong: such a file was made, not damaged.
void sign(std::string& bytes, pack::Header header) {
  const size_t end = std::clamp<size_t>(header.samples_begin, sizeof header, bytes.size());
  header.tables_checksum = pack::checksum(bytes.data() + sizeof header, end - sizeof header);
  header.header_checksum = pack::checksum(&header, offsetof(pack::Header, header_checksum));
  std::memcpy(bytes.data(), &header, sizeof header);
}

TEST_CASE("pack: what is written comes back, by folds and label sets") {
  const ExampleFile file;
  const PackContents expected = example();
  const Dataset& signals = expected.signals;

  const PackFile pack(file.path);
  CHECK(pack.contents().signals.record_name == signals.record_name);
  CHECK(pack.contents().label_sets[1].is_known == expected.label_sets[1].is_known);

  const Dataset all = load(file.path, "none");
  CHECK(all.samples == signals.samples);
  CHECK(all.scale == signals.scale);
  CHECK(all.offset == signals.offset);
  CHECK(all.record_id == signals.record_id);
  CHECK(all.record_name == signals.record_name);
  CHECK(all.patient_id == signals.patient_id);
  CHECK(all.fold == signals.fold);
  CHECK(all.leads == signals.leads);
  CHECK(all.unit == "mV");
  CHECK(all.name == "example");
  CHECK(all.length == static_cast<int>(kLength));
  CHECK(all.sampling_rate_hz == 100);
  CHECK(all.classes.empty());
  CHECK(!all.has_lead(1, 1));

  const Dataset shaped = load(file.path, "", {2, 10});
  CHECK(shaped.label_set == "shape");
  CHECK(shaped.record_id == std::vector<int64_t>(signals.record_id.begin() + 2, signals.record_id.end()));
  CHECK(shaped.labels == std::vector<uint8_t>{0, 0, 0, 1, 1, 1, 0, 0, 1});
  CHECK(std::equal(shaped.samples.begin(), shaped.samples.end(), signals.record(2)));

  LoadReport report;
  const Dataset task = load_pack({.root = file.path}, "task", report);
  CHECK(task.record_id == std::vector<int64_t>{signals.record_id[0], signals.record_id[2], signals.record_id[3]});
  CHECK(task.labels == std::vector<uint8_t>{1, 0, 1});
  CHECK(report.sentence() == "Loaded 3 of 5 records; left out, as the label is not known: 2.");
  load_pack({.root = file.path, .drop_unlabelled = true}, "shape", report);
  CHECK(report.sentence() == "Loaded 4 of 5 records; left out for want of a label: 1.");
}

TEST_CASE("pack: bytes in memory are read as a file is") {
  const ExampleFile file;
  const std::vector<uint8_t> bytes(file.bytes.begin(), file.bytes.end());
  const PackFile pack("in memory", bytes);
  std::vector<int16_t> samples(kLeads * kLength);
  pack.read_samples(3, samples.data());
  CHECK(std::equal(samples.begin(), samples.end(), example().signals.record(3)));
  CHECK(sentence_of<Error>([&] { PackFile("in memory", std::span(bytes).first(100)); }).starts_with("in memory: "));
}

TEST_CASE("pack: the same content gives the same bytes, at the places that docs/data.md says") {
  const ExampleFile file;
  const fs::path again = file.folder / "again.ecgs";
  write_pack(again, example());
  CHECK(test::read_file(again) == file.bytes);
  CHECK(file.bytes.size() == 4096 + kRecords * kRecordBytes);
  CHECK(file.bytes.substr(0, 8) ==
        "\x89"
        "ECGS\r\n\x1a");
  const auto number = [&](size_t at, size_t bytes) {
    uint64_t value = 0;
    std::memcpy(&value, file.bytes.data() + at, bytes);
    return value;
  };
  CHECK(number(8, 4) == 1);
  CHECK(number(12, 4) == kLeads);
  CHECK(number(16, 8) == kRecords);
  CHECK(number(24, 8) == kLength);
  CHECK(number(40, 8) == 4096);
  CHECK(number(48, 8) == file.bytes.size());
  CHECK(file.bytes[64] == '{');
  const size_t tables = (64 + number(32, 8) + 7) / 8 * 8;
  CHECK(static_cast<int64_t>(number(tables, 8)) == example().signals.record_id[0]);
  CHECK(number(tables + kRecords * (8 + 8 + 2 * 4 * kLeads), 4) ==
        pack::checksum(file.bytes.data() + 4096, kRecordBytes));
  CHECK(number(tables + kRecords * (8 + 8 + 2 * 4 * kLeads + 4) + kRecords - 1, 1) == 10);  // the last fold
}

TEST_CASE("pack: a file that is cut short anywhere is refused") {
  const ExampleFile file;
  for (size_t size = 0; size < file.bytes.size(); ++size) {
    file.write(file.bytes.substr(0, size));
    INFO("cut to " << size << " bytes");
    const std::string sentence = refusal(file.path);
    CHECK(sentence.starts_with(file.path.string()));
    if (size >= sizeof(pack::Header))
      CHECK(sentence == fmt::format("{}: it has {} bytes, {} were expected from its header: it was not copied whole.",
                                    file.path.string(), size, file.bytes.size()));
  }
  file.write(file.bytes + "x");
  CHECK(refusal(file.path).find("it was not copied whole") != std::string::npos);
}

TEST_CASE("pack: no byte can change without being noticed") {
  const ExampleFile file;
  for (size_t at = 0; at < file.bytes.size(); ++at)
    for (const int mask : {0x01, 0x80}) {
      std::string bytes = file.bytes;
      bytes[at] = static_cast<char>(bytes[at] ^ mask);
      file.write(bytes);
      INFO("byte " << at << " changed by " << mask);
      CHECK(refusal(file.path).starts_with(file.path.string()));
    }
}

TEST_CASE("pack: sentences for what is no pack, another version, and damage") {
  const ExampleFile file;
  const std::string path = file.path.string();
  const auto changed = [&](size_t at) {
    std::string bytes = file.bytes;
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    file.write(bytes);
  };
  file.write("ecg_id,patient_id\n");
  CHECK(refusal(file.path) ==
        path + ": it is no packed data set, which systole pack writes, and no folder of a data set either.");
  changed(8);
  CHECK(refusal(file.path) == path + ": it is a packed data set of version 0, version 1 was expected.");
  changed(16);
  CHECK(refusal(file.path).starts_with(path + ": its header is damaged: the checksum of the bytes 0 to 59 is "));
  changed(70);
  CHECK(refusal(file.path).starts_with(
      path + ": its description of the records is damaged: the checksum of the bytes 64 to 4095 is "));
  changed(4096 + 3 * kRecordBytes + 5);
  CHECK(
      refusal(file.path).starts_with(fmt::format("{}: record 3 (site/r3é, bytes {} to {}) is damaged: its checksum is ",
                                                 path, 4096 + 3 * kRecordBytes, 4096 + 4 * kRecordBytes - 1)));
  CHECK(sentence_of<Error>([&] { load(file.folder / "none.ecgs"); }) ==
        fmt::format("The file {} cannot be opened: No such file or directory.", (file.folder / "none.ecgs").string()));
}

TEST_CASE("pack: of several damaged records the first is named by any number of threads, or all are left out") {
  const ExampleFile file;
  std::string bytes = file.bytes;
  for (const size_t record : {1, 2, 4}) bytes[4096 + record * kRecordBytes] ^= 1;
  file.write(bytes);
  for (const int count : {1, 2, 3, 8}) {
    set_threads(count);
    CHECK(refusal(file.path).find("record 1 (") != std::string::npos);
    LoadReport report;
    const Dataset rest = load_pack({.root = file.path, .skip_bad_records = true}, "shape", report);
    const Dataset all = example().signals;
    CHECK(rest.record_id == std::vector<int64_t>{all.record_id[0], all.record_id[3]});
    CHECK(std::equal(rest.record(1), rest.record(1) + kLeads * kLength, all.record(3)));
    CHECK(rest.scale[kLeads] == all.scale[3 * kLeads]);
    CHECK(report.bad == 3);
    CHECK(report.bad_examples.front().find("record 1 (") != std::string::npos);
  }
  set_threads(0);
}

TEST_CASE("pack: counts and places that cannot be are refused before they are used") {
  const ExampleFile file;
  const auto refused = [&](auto pack::Header::*field, uint64_t value, const char* words) {
    std::string bytes = file.bytes;
    pack::Header header = header_of(bytes);
    header.*field = static_cast<std::remove_reference_t<decltype(header.*field)>>(value);
    sign(bytes, header);
    file.write(bytes);
    INFO(words << " " << value);
    CHECK(refusal(file.path).find(words) != std::string::npos);
  };
  const uint64_t most = ~uint64_t{0};
  for (const uint64_t value : std::initializer_list<uint64_t>{0, 257, 0xffffffff})
    refused(&pack::Header::leads, value, "leads, 1 to 256 were expected");
  for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 31, uint64_t{1} << 63, most})
    refused(&pack::Header::records, value, "records, 1 to 1073741824 were expected");
  for (const uint64_t value : {uint64_t{0}, uint64_t{1} << 25, most})
    refused(&pack::Header::length, value, "samples per lead, 1 to 16777216 were expected");
  for (const uint64_t value : {uint64_t{0}, uint64_t{4033}, most})
    refused(&pack::Header::metadata_bytes, value, "bytes of metadata, 1 to 4032 were expected");
  for (const uint64_t value : {uint64_t{0}, uint64_t{63}, uint64_t{file.bytes.size() + 1}, most})
    refused(&pack::Header::samples_begin, value, "bytes before the samples");
  refused(&pack::Header::records, 4, "bytes of samples, 112 were expected for 4 records of 2 leads x 7");
  refused(&pack::Header::records, 1 << 30, "bytes of samples");
  refused(&pack::Header::metadata_bytes, 20, "its metadata are not as expected");
}

TEST_CASE("pack: metadata and tables that cannot be are refused") {
  const ExampleFile file;
  const auto refused = [&](const std::string& from, const std::string& to, const char* words) {
    std::string bytes = file.bytes;
    REQUIRE(from.size() == to.size());
    REQUIRE(bytes.find(from) != std::string::npos);
    bytes.replace(bytes.find(from), from.size(), to);
    sign(bytes, header_of(bytes));
    file.write(bytes);
    INFO(to);
    CHECK(refusal(file.path).find(words) != std::string::npos);
  };
  refused(R"({"name")", R"({{name")", "its metadata are not as expected");
  refused(R"("name":"example")", R"("name":[1,2,3,4])", "its metadata are not as expected");
  refused(R"("leads":["I","V1"])", R"("leads":["I----V"])", "name 1 leads and 5 records, 2 and 5 were expected");
  refused(R"("has_ecg_ids":false)", R"("name":"x","n" :1  )", "the key \"name\" is there twice in one object");
  refused(R"("name":"example")", R"("name":[[[[ ]]]])", "nested deeper than 4 levels");
  refused(R"("sampling_rate_hz":100)", R"("sampling_rate_hz":-10)", "its sampling rate is -10 Hz");
  refused(R"("classes":["T"])", R"("classes":[   ])", "0 classes of a label set");

  const auto refused_table = [&](size_t at_from_checksums, char value, const char* words) {
    std::string bytes = file.bytes;
    const pack::Tables tables(header_of(bytes).metadata_bytes, kRecords, kLeads, {3, 1});
    bytes[tables.fold + at_from_checksums] = value;
    sign(bytes, header_of(bytes));
    file.write(bytes);
    CHECK(refusal(file.path).find(words) != std::string::npos);
  };
  refused_table(2, 11, "record 2 has the fold 11, which cannot be");
  refused_table(0, 0, "record 0 has the fold 0, which cannot be");
  refused_table(kRecords + 4, 2, "record 4 has the label 2, which cannot be");      // shape, is known
  refused_table(2 * kRecords + 5, 7, "record 1 has the label 7, which cannot be");  // shape, labels
  refused_table(6 * kRecords - 1, 3, "record 4 has the label 3, which cannot be");

  std::string bytes = file.bytes;
  const pack::Tables tables(header_of(bytes).metadata_bytes, kRecords, kLeads, {3, 1});
  const float nan = NAN;
  std::memcpy(bytes.data() + tables.scale + 5 * sizeof nan, &nan, sizeof nan);
  sign(bytes, header_of(bytes));
  file.write(bytes);
  CHECK(refusal(file.path).find("record 2 has the scale nan") != std::string::npos);
}

TEST_CASE("pack: files that were made to do harm load or are refused, and nothing else happens") {
  const ExampleFile file;
  const RandomStream random(test::seed(), Purpose::test, 0, 77);
  const size_t metadata_end = sizeof(pack::Header) + header_of(file.bytes).metadata_bytes;
  uint32_t draw = 0;
  size_t refused = 0;
  constexpr int kCases = 3000;
  for (int i = 0; i < kCases; ++i) {
    std::string bytes = file.bytes;
    const uint32_t changes = 1 + random.below(draw++, 4);
    for (uint32_t c = 0; c < changes; ++c) {
      const uint32_t within = i % 3 == 0 ? 60 : static_cast<uint32_t>(metadata_end);
      const uint32_t at = 12 + random.below(draw++, within - 12);
      bytes[at] = static_cast<char>(random.below(draw++, 256));
    }
    pack::Header header = header_of(bytes);
    header.file_bytes = bytes.size();
    sign(bytes, header);
    file.write(bytes);
    try {
      load(file.path);
    } catch (const Error& error) {
      ++refused;
      CHECK(std::string(error.what()).find(file.path.string()) != std::string::npos);
    }
  }
  CHECK(refused > kCases / 2);
}

TEST_CASE("pack: label sets and sampling rates that a pack does not have") {
  const ExampleFile file;
  const std::string path = file.path.string();
  CHECK(sentence_of<UsageError>([&] { load(file.path, "rhythm"); }) ==
        path + " was packed with the label sets shape, task, not with rhythm.");
  LoadReport report;
  CHECK(sentence_of<UsageError>([&] { load_pack({.root = file.path, .sampling_rate_hz = 500}, "none", report); }) ==
        path + " was packed at 100 Hz, not 500 Hz.");
  CHECK(sentence_of<UsageError>([&] {
          load_pack({.root = file.path, .drop_unlabelled = true}, "task", report);
        }).starts_with("--drop-unlabelled goes with label sets of several classes"));
  CHECK(sentence_of<Error>([&] { load(file.path, "", {3, 4}); }) == "No record of " + path + " is in fold 3, 4.");

  PackContents bare = example();
  bare.label_sets.clear();
  write_pack(file.path, bare);
  CHECK(load(file.path).classes.empty());
  CHECK(sentence_of<UsageError>([&] { load(file.path, "rhythm"); }) ==
        path + " was packed without labels, not with rhythm.");
}

void check_same(const Dataset& a, const Dataset& b) {
  CHECK((a.samples == b.samples));
  CHECK((a.scale == b.scale));
  CHECK((a.offset == b.offset));
  CHECK((a.record_id == b.record_id));
  CHECK((a.record_name == b.record_name));
  CHECK((a.patient_id == b.patient_id));
  CHECK((a.fold == b.fold));
  CHECK((a.labels == b.labels));
  CHECK(a.classes == b.classes);
  CHECK(a.label_set == b.label_set);
  CHECK(a.leads == b.leads);
  CHECK(a.unit == b.unit);
  CHECK(a.name == b.name);
  CHECK(a.length == b.length);
}

TEST_CASE("pack: real PTB-XL records come out of a pack as out of the folder, with every label set") {
  const fs::path root = test::real_data("ptbxl_z100");
  if (root.empty()) return;
  const TemporaryFolder folder;
  const fs::path path = folder / "ptbxl.ecgs";
  LoadReport from_folder, from_pack;
  PackContents contents{
      .signals = load_ptbxl({.root = root}, LabelSet::none, from_folder), .has_ecg_ids = true, .label_sets = {}};
  contents.label_sets = ptbxl_label_sets(root, contents.signals);
  REQUIRE(contents.label_sets.size() == 5);
  write_pack(path, contents);
  for (const char* labels : {"superclass", "subclass", "form", "rhythm", "all", "none"}) {
    INFO(labels);
    check_same(load_ptbxl({.root = root, .folds = {2, 9}}, parse_label_set(labels), from_folder),
               load_pack({.root = path, .folds = {2, 9}}, labels, from_pack));
    CHECK(from_folder.sentence() == from_pack.sentence());
  }
}

TEST_CASE("pack: windows of real MIT-BIH recordings come out of a pack as out of the folder") {
  const fs::path root = test::real_data("mitdb");
  if (root.empty()) return;
  const TemporaryFolder folder;
  const fs::path path = folder / "mitdb.ecgs";
  LoadReport report;
  PackContents contents{.signals = load_mitdb({.root = root}, false, report), .label_sets = {}};
  contents.label_sets = mitdb_label_sets({.root = root}, contents.signals);
  write_pack(path, contents);
  check_same(load_mitdb({.root = root}, false, report), load_pack({.root = path}, "none", report));
  check_same(load_mitdb({.root = root}, true, report), load_pack({.root = path}, "", report));
}

}  // namespace
}  // namespace systole::data
