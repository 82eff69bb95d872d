// Labels of one's own: the table, its folds, and the records that it names.

#include "data/label_table.h"

#include <map>
#include <set>

#include "data/wfdb_folder.h"
#include "kernels/common/error.h"
#include "tests/support.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using test::sentence_of;
using test::TemporaryFolder;

const std::vector<std::string> kLeads(kStandardLeads.begin(), kStandardLeads.end());

// Lead number n holds n + 1, so that a resampled record is known by its values; the last one alternates.
void write_record(const fs::path& path, double rate_hz = 100, int length = 40, const std::string& unit = "mV") {
  std::vector<int16_t> samples;
  for (int l = 0; l < length; ++l)
    for (size_t lead = 0; lead < kLeads.size(); ++lead)
      samples.push_back(static_cast<int16_t>(1000 * (lead + 1 + (lead == 11 ? static_cast<size_t>(l % 2) : 0))));
  write_wfdb16(path, rate_hz, kLeads, 1000, unit, 0, samples);
}

float value(const Dataset& d, size_t r, size_t l, size_t lead) {
  const size_t place = r * d.lead_count() + lead;
  return static_cast<float>(d.record(r)[l * d.lead_count() + lead]) * d.scale[place] + d.offset[place];
}

struct Folder {
  TemporaryFolder work;
  fs::path table = work / "labels.csv", root = work / "data";
  LoadReport report;

  Folder() { fs::create_directories(root); }
  LabelTable read(const std::string& csv) const {
    test::write_file(table, csv);
    return read_label_table(table);
  }
  std::string refused(const std::string& csv) const {
    const std::string text = sentence_of<Error>([&] { read(csv); });
    REQUIRE(text.find(table.string()) == 0);
    return text.substr(table.string().size());
  }
  Dataset load(const std::string& csv, LoadOptions options = {}, bool with_labels = true) {
    test::write_file(table, csv);
    options.root = root;
    return load_label_table(table, options, with_labels, report);
  }
};

TEST_CASE("label table: rows, classes, folds, and what is not known") {
  const Folder folder;
  const LabelTable t = folder.read("patient,record,af,fold,lvh\nP7,a/1,1,2,0\nP9,a/2,,10,1\nP7,a/3,0.0,2,1.0\n");
  CHECK(t.classes == std::vector<std::string>{"af", "lvh"});
  CHECK(t.has_folds);
  REQUIRE(t.rows.size() == 3);
  CHECK(t.rows[2].record == "a/3");
  CHECK(t.rows[0].labels == std::vector<uint8_t>{1, 0});
  CHECK(t.rows[2].labels == std::vector<uint8_t>{0, 1});
  CHECK(t.rows[0].is_known);
  CHECK(!t.rows[1].is_known);
  CHECK(t.rows[1].fold == 10);
  CHECK(t.rows[0].patient_id == 1);  // names are numbered
  CHECK(t.rows[1].patient_id == 2);
  CHECK(t.rows[2].patient_id == 1);
  CHECK(folder.read("record,patient,x\na,30,1\nb,-4,0\n").rows[1].patient_id == -4);  // numbers are kept
}

TEST_CASE("label table: what makes no sense is refused by line and column") {
  const Folder folder;
  CHECK(folder.refused("record,x\na,1\n") == " has no column patient; its columns are record, x.");
  CHECK(folder.refused("patient,x\n1,1\n") == " has no column record; its columns are patient, x.");
  CHECK(folder.refused("record,patient,x\na,1,yes\n") == ", line 2: x is \"yes\", 0, 1 or nothing was expected.");
  CHECK(folder.refused("record,patient,x\na,1,0\nb,2,2\n") == ", line 3: x is \"2\", 0, 1 or nothing was expected.");
  CHECK(folder.refused("record,patient,x\na,1,0\nb,1,0\na,1,1\n") == ", line 4: the record a is also in line 2.");
  CHECK(folder.refused("record,patient,x\na,,0\n") == ", line 2: patient is empty.");
  CHECK(folder.refused("record,patient,x\n,1,0\n") == ", line 2: record is empty.");
  CHECK(folder.refused("record,patient,fold,x\na,1,0,0\n") == ", line 2: fold is 0, a fold from 1 to 10 was expected.");
  CHECK(folder.refused("record,patient,fold,x\na,1,,0\n") == ", line 2: fold is \"\", a whole number was expected.");
  CHECK(folder.refused(",record,patient,x\n0,a,1,0\n") ==
        ": column 1 has no name; every column but record, patient and fold is a class.");
  CHECK(folder.refused("record,patient,x,x\na,1,0,0\n") == " has two columns x.");
}

TEST_CASE("label table: records of WFDB files are resampled, cut to the usual length, and counted") {
  Folder folder;
  write_record(folder.root / "a/one", 500, 200);
  write_record(folder.root / "two", 100, 40);
  write_record(folder.root / "long", 100, 50);
  const std::string csv = "record,patient,x\na/one,1,1\ntwo,2,0\nlong,3,1\ngone,4,1\ntwo_more,5,\n";
  const Dataset d = folder.load(csv);
  CHECK(d.length == 40);
  CHECK(d.sampling_rate_hz == 100);
  CHECK(d.unit == "mV");
  CHECK(d.name == "labels.csv");
  CHECK(d.label_set == "table");
  CHECK(d.classes == std::vector<std::string>{"x"});
  CHECK(d.labels == std::vector<uint8_t>{1, 0, 1});
  CHECK(d.record_id == std::vector<int64_t>{1, 2, 3});  // the rows
  for (size_t r = 0; r < 3; ++r)
    for (const size_t l : {0u, 17u, 39u}) CHECK(value(d, r, l, 6) == doctest::Approx(7));
  CHECK(
      folder.report.sentence() ==
      "Loaded 3 of 5 records; missing: 1 (first: gone); left out, as the label is not known: 1; resampled: 1; longer, "
      "of which the middle was taken: 1.");

  const Dataset signals = folder.load(csv, {}, false);
  CHECK(signals.classes.empty());
  CHECK(signals.label_set == "none");
  CHECK(signals.records() == 3);
  CHECK(folder.report.missing == 2);  // without labels, the last row counts too
}

TEST_CASE("label table: the middle of a longer record is taken, and a shorter one is broken") {
  Folder folder;
  for (const char* name : {"a", "b"}) write_record(folder.root / name, 100, 4);
  std::vector<int16_t> samples;
  for (int l = 0; l < 9; ++l) samples.insert(samples.end(), 12, static_cast<int16_t>(1000 * l));
  write_wfdb16(folder.root / "c", 100, kLeads, 1000, "mV", 0, samples);
  const Dataset d = folder.load("record,patient,x\na,1,1\nb,2,0\nc,3,0\n");
  for (const size_t l : {0u, 1u, 2u, 3u}) CHECK(value(d, 2, l, 0) == doctest::Approx(2.0 + static_cast<double>(l)));

  write_record(folder.root / "c", 200, 6);
  CHECK(sentence_of<Error>([&] { folder.load("record,patient,x\na,1,1\nb,2,0\nc,3,0\n"); }) ==
        (folder.root / "c").string() +
            ".hea has 3 samples per lead at 100 Hz, 4 were expected as in the other records. The option "
            "--skip-bad-records leaves broken records out.");
  CHECK(folder.load("record,patient,x\na,1,1\nb,2,0\nc,3,0\n", {.skip_bad_records = true}).records() == 2);
  CHECK(folder.report.bad == 1);
}

TEST_CASE("label table: the length is that of all folds, so that every part of a task has the same") {
  Folder folder;
  for (const char* name : {"a", "b", "c"}) write_record(folder.root / name, 100, 40);
  write_record(folder.root / "d", 100, 60);
  const std::string csv = "record,patient,fold,x\na,1,1,1\nb,2,1,0\nc,3,9,0\nd,4,10,1\n";
  const Dataset test_fold = folder.load(csv, {.folds = {10}});
  CHECK(test_fold.length == 40);
  CHECK(sentence_of<Error>([&] {
          folder.load(csv, {.folds = {2, 3}});
        }) == "No record of " + folder.root.string() + " is in fold 2, 3.");
  CHECK(test_fold.records() == 1);
}

std::string ptbxl_row(int ecg_id, int fold) {
  return fmt::format("{0},{0},{1},records100/{0:05}_lr,records500/{0:05}_hr\n", ecg_id, fold);
}

TEST_CASE("label table: records of PTB-XL's layout are ecg_ids, with its folds unless the table has its own") {
  Folder folder;
  test::write_file(folder.root / "ptbxl_database.csv", "ecg_id,patient_id,strat_fold,filename_lr,filename_hr\n" +
                                                           ptbxl_row(4, 3) + ptbxl_row(5, 9) + ptbxl_row(6, 10));
  for (const int id : {4, 5, 6}) write_record(folder.root / fmt::format("records100/{:05}_lr", id));
  const Dataset d = folder.load("record,patient,x\n6,1,1\n4,2,0\n");
  CHECK(d.record_id == std::vector<int64_t>{6, 4});
  CHECK(d.fold == std::vector<int>{10, 3});
  CHECK(d.labels == std::vector<uint8_t>{1, 0});
  CHECK(folder.load("record,patient,x,fold\n6,1,1,2\n4,2,0,2\n").fold == std::vector<int>{2, 2});

  CHECK(sentence_of<Error>([&] { folder.load("record,patient,x\n6,1,1\n7,2,0\n"); }) ==
        folder.table.string() + ", line 3: the record 7 is not an ecg_id of " +
            (folder.root / "ptbxl_database.csv").string() + ".");
  CHECK(sentence_of<Error>([&] { folder.load("record,patient,x\n6,1,1\n5,1,0\n"); }) ==
        folder.table.string() +
            ", line 3: the patient of the record 5 is in fold 9, but with the record 6 in fold 10.");
  CHECK(sentence_of<UsageError>([&] { folder.load("record,patient,x\n6,1,1\n", {.sampling_rate_hz = 250}); }) ==
        "PTB-XL has sampling rates of 100 and 500 Hz, not 250 Hz.");
}

TEST_CASE("label table: without labels or with one class, what cannot be is refused") {
  Folder folder;
  write_record(folder.root / "a");
  CHECK(sentence_of<Error>([&] { folder.load("record,patient\na,1\n"); }) ==
        folder.table.string() + " has no column of labels beside record, patient and fold.");
  CHECK(folder.load("record,patient\na,1\n", {}, false).records() == 1);
  CHECK(sentence_of<UsageError>([&] { folder.load("record,patient,x\na,1,0\n", {.drop_unlabelled = true}); }) ==
        "--drop-unlabelled goes with label sets of several classes: with x alone it would leave out all negatives.");
  CHECK(sentence_of<Error>([&] { folder.load("record,patient,x\nb,1,0\n"); }) ==
        "Nothing could be loaded from " + folder.root.string() + ": Loaded 0 of 1 records; missing: 1 (first: b).");
}

TEST_CASE("wfdb folder: all records below it are loaded in the order of their paths, without labels") {
  Folder folder;
  write_record(folder.root / "p2/b", 400, 160);
  write_record(folder.root / "p1/a");
  CHECK(is_wfdb_folder(folder.root));
  const Dataset d = load_wfdb_folder({.root = folder.root / ""}, folder.report);
  CHECK(d.records() == 2);
  CHECK(d.length == 40);
  CHECK(d.name == "data");
  CHECK(d.classes.empty());
  CHECK(d.fold == std::vector<int>{1, 1});
  CHECK(d.patient_id == std::vector<int64_t>{1, 2});
  CHECK(folder.report.resampled == 1);

  const auto test_fold = [&] { load_wfdb_folder({.root = folder.root, .folds = {9, 10}}, folder.report); };
  CHECK(sentence_of<Error>(test_fold) ==
        "The records of " + folder.root.string() +
            " came without a label table, so all are in fold 1: --label-table gives folds and labels.");

  CHECK(!is_wfdb_folder(folder.work / "none"));
  test::write_file(folder.root / "p1/ptbxl_database.csv", "");  // a download one folder too high
  CHECK(!is_wfdb_folder(folder.root));
}

}  // namespace
}  // namespace systole::data
