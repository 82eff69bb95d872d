// The tables of PTB-XL: codes, label sets, measured columns, and what is refused of them.

#include <set>

#include "tests/data/ptbxl_folder.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using namespace ptbxl_folder;
using test::sentence_of;
using test::TemporaryFolder;

TEST_CASE("ptbxl: scp_codes are read in their order, with either kind of quotes") {
  using Codes = std::vector<std::pair<std::string, double>>;
  CHECK(parse_scp_codes("{'NORM': 100.0, 'SR': 0.0}") == Codes{{"NORM", 100}, {"SR", 0}});
  CHECK(parse_scp_codes(" { \"PRC(S)\" :15,'LAO/LAE':50.0 } ") == Codes{{"PRC(S)", 15}, {"LAO/LAE", 50}});
  CHECK(parse_scp_codes("{}").empty());
}

TEST_CASE("ptbxl: scp_codes that are no dict are refused with the place") {
  const auto expected = [](const std::string& text) {
    const std::string sentence = sentence_of<Error>([&] { parse_scp_codes(text); });
    const std::string start =
        "the scp_codes " + (text.empty() ? "(empty)" : text) + " are not a dict of codes and likelihoods: ";
    REQUIRE(sentence.substr(0, start.size()) == start);
    return sentence.substr(start.size());
  };
  CHECK(expected("") == "'{' was expected at character 1.");
  CHECK(expected("['NORM']") == "'{' was expected at character 1.");
  CHECK(expected("{'NORM' 100.0}") == "':' was expected at character 9.");
  CHECK(expected("{NORM: 100.0}") == "a code in quotes was expected at character 2.");
  CHECK(expected("{'': 1}") == "a code in quotes was expected at character 2.");
  CHECK(expected("{'NORM: 100.0}") == "a code in quotes was expected at character 2.");
  CHECK(expected("{'NORM': high}") == "a likelihood from 0 to 100 was expected at character 10.");
  CHECK(expected("{'NORM': 101}") == "a likelihood from 0 to 100 was expected at character 10.");
  CHECK(expected("{'NORM': nan}") == "a likelihood from 0 to 100 was expected at character 10.");
  CHECK(expected("{'NORM': 1.0 'SR': 0}") == "',' or '}' was expected at character 14.");
  CHECK(expected("{'NORM': 1.0") == "',' or '}' was expected at character 13.");
  CHECK(expected("{'NORM': 1.0, }") == "a code in quotes was expected at character 15.");
  CHECK(expected("{'NORM': 1.0}}") == "the end was expected at character 14.");
  CHECK(expected("{'SR': 0, 'SR': 1}") == "another code than SR a second time was expected at character 15.");
}

TEST_CASE("ptbxl: label sets have names, fixed classes and the rule of any likelihood") {
  const TemporaryFolder root;
  write_three(root.path());
  using Classes = std::vector<std::string>;
  using Labels = std::vector<uint8_t>;
  const auto read = [&](LabelSet labels) { return read_ptbxl_metadata(root.path(), labels); };
  CHECK(read(LabelSet::superclass).classes == Classes{"NORM", "MI", "STTC", "CD", "HYP"});
  CHECK(read(LabelSet::superclass).rows[1].labels == Labels{0, 1, 1, 0, 0});  // IMI has likelihood 0
  CHECK(read(LabelSet::superclass).rows[2].labels == Labels{0, 0, 0, 0, 0});
  CHECK(read(LabelSet::subclass).classes == Classes{"IMI", "LVH", "NORM", "STTC"});
  CHECK(read(LabelSet::subclass).rows[1].labels == Labels{1, 0, 0, 1});
  CHECK(read(LabelSet::form).classes == Classes{"NDT", "PVC"});
  CHECK(read(LabelSet::form).rows[1].labels == Labels{1, 0});
  CHECK(read(LabelSet::rhythm).classes == Classes{"SR"});
  CHECK(read(LabelSet::rhythm).rows[0].labels == Labels{1});
  CHECK(read(LabelSet::all).classes == Classes{"IMI", "LVH", "NDT", "NORM", "PVC", "SR"});
  CHECK(read(LabelSet::all).rows[1].labels == Labels{1, 0, 1, 0, 0, 0});

  for (const LabelSet set : {LabelSet::superclass, LabelSet::subclass, LabelSet::form, LabelSet::rhythm, LabelSet::all,
                             LabelSet::low_lvef, LabelSet::high_potassium, LabelSet::none})
    CHECK(parse_label_set(name(set)) == set);
  CHECK(sentence_of<UsageError>([] { parse_label_set("diagnosis"); }) ==
        "There is no label set diagnosis; the label sets are superclass, subclass, form, rhythm, all, "
        "low-lvef, high-potassium, none.");
}

// A database with two measured columns and without codes.
void write_measurements(const fs::path& root, const std::vector<std::string>& lvef_and_potassium) {
  std::string text = "ecg_id,patient_id,strat_fold,filename_lr,filename_hr,lvef,potassium\n";
  for (size_t i = 0; i < lvef_and_potassium.size(); ++i)
    text += fmt::format("{0},{0},1,{1},x,{2}\n", i + 1, record_name(static_cast<int>(i) + 1), lvef_and_potassium[i]);
  test::write_file(root / "ptbxl_database.csv", text);
}

TEST_CASE("ptbxl: measured columns make one class each, and records without a value are left out") {
  const TemporaryFolder root;
  write_measurements(root.path(), {"39.9,5.01", "40.0,5.0", ",4", "25,3.99", "61,"});
  using Flags = std::vector<bool>;
  const auto known = [](const PtbxlMetadata& m) {
    Flags flags;
    for (const PtbxlRow& r : m.rows) flags.push_back(r.is_known);
    return flags;
  };
  const PtbxlMetadata lvef = read_ptbxl_metadata(root.path(), LabelSet::low_lvef);
  CHECK(lvef.classes == std::vector<std::string>{"LVEF < 40 %"});
  CHECK(known(lvef) == Flags{true, true, false, true, true});
  CHECK(class_counts(lvef) == std::vector<size_t>{2});
  CHECK(lvef.rows[1].labels == std::vector<uint8_t>{0});
  const PtbxlMetadata potassium = read_ptbxl_metadata(root.path(), LabelSet::high_potassium);
  CHECK(potassium.classes == std::vector<std::string>{"potassium > 5 mmol/l"});
  CHECK(known(potassium) == Flags{true, true, true, false, false});
  CHECK(class_counts(potassium) == std::vector<size_t>{1});

  for (const int id : {1, 2, 3, 4, 5}) write_record(root.path(), id);
  LoadReport report;
  const Dataset d = load_ptbxl({.root = root.path()}, LabelSet::low_lvef, report);
  CHECK(d.record_id == std::vector<int64_t>{1, 2, 4, 5});
  CHECK(d.labels == std::vector<uint8_t>{1, 0, 1, 0});
  CHECK(d.label_set == "low-lvef");
  CHECK(report.sentence() == "Loaded 4 of 5 records; left out, as the label is not known: 1.");
  CHECK(sentence_of<UsageError>(
            [&] { load_ptbxl({.root = root.path(), .drop_unlabelled = true}, LabelSet::low_lvef, report); }) ==
        "--drop-unlabelled goes with label sets of several classes: with LVEF < 40 % alone it would leave out all "
        "negatives.");
}

TEST_CASE("ptbxl: a measured column that is missing or holds something else is refused") {
  const TemporaryFolder root;
  const std::string csv = (root / "ptbxl_database.csv").string();
  const auto refused = [&](LabelSet labels) {
    return sentence_of<Error>([&] { read_ptbxl_metadata(root.path(), labels); });
  };
  write_measurements(root.path(), {"0.55,high"});
  CHECK(refused(LabelSet::low_lvef) == csv + ", line 2: lvef is 0.55, a value from 1 to 100 % was expected.");
  CHECK(refused(LabelSet::high_potassium) == csv + ", line 2: potassium is \"high\", a number was expected.");
  write_tables(root.path(), row(1, "{}"));
  CHECK(refused(LabelSet::low_lvef) ==
        csv +
            " has no column lvef; its columns are ecg_id, patient_id, scp_codes, strat_fold, filename_lr, "
            "filename_hr.");
}

TEST_CASE("ptbxl: signals alone need no statements, and labels of any kind are not read") {
  const TemporaryFolder root;
  write_three(root.path());
  write_tables(root.path(), row(1, "no dict") + row(2, "{'XYZ': 1}"));
  fs::remove(root / "scp_statements.csv");
  LoadReport report;
  const Dataset d = load_ptbxl({.root = root.path()}, LabelSet::none, report);
  CHECK(d.records() == 2);
  CHECK(d.classes.empty());
  CHECK(d.labels.empty());
  CHECK(report.sentence() == "Loaded 2 of 2 records.");
}

TEST_CASE("ptbxl: a row of the tables that makes no sense is refused by file and line") {
  const TemporaryFolder root;
  const std::string csv = (root / "ptbxl_database.csv").string();
  const auto refused = [&](const std::string& rows) {
    write_tables(root.path(), rows);
    return sentence_of<Error>([&] { read_ptbxl_metadata(root.path(), LabelSet::superclass); });
  };
  const std::string good = row(1, "{}");
  CHECK(
      refused(good + row(2, "{'NORM'}")) ==
      csv +
          ", line 3: the scp_codes {'NORM'} are not a dict of codes and likelihoods: ':' was expected at character 8.");
  CHECK(refused(good + row(2, "{'XYZ': 0}")) ==
        csv + ", line 3: the code XYZ is not a statement of scp_statements.csv.");
  CHECK(refused(good + row(2, "{}", 11)) == csv + ", line 3: strat_fold is 11, a fold from 1 to 10 was expected.");
  CHECK(refused(good + row(2, "{}", 1, "")) == csv + ", line 3: patient_id is \"\", a whole number was expected.");
  CHECK(refused(good + row(2, "{}", 1, "7.5")) ==
        csv + ", line 3: patient_id is \"7.5\", a whole number was expected.");
  CHECK(refused(good + row(2, "{}") + row(1, "{}")) == csv + ", line 4: the ecg_id 1 is also in line 2.");

  write_tables(root.path(), good);
  const std::string statements = (root / "scp_statements.csv").string();
  const auto refused_statement = [&](const std::string& line) {
    test::write_file(root / "scp_statements.csv", kStatements + line);
    return sentence_of<Error>([&] { read_ptbxl_metadata(root.path(), LabelSet::superclass); });
  };
  CHECK(refused_statement("X,x,1.0,,,ODD,X\n") ==
        statements + ", line 8: the diagnostic_class of X is ODD, one of NORM, MI, STTC, CD, HYP was expected.");
  CHECK(refused_statement("SR,x,,,1.0,,\n") == statements + ", line 8: the statement SR is there a second time.");
  CHECK(refused_statement("X,x,yes,,,MI,X\n") ==
        statements + ", line 8: diagnostic is \"yes\", a whole number was expected.");
}

TEST_CASE("ptbxl: a folder that is none is refused, and a folder below that is one is named") {
  const TemporaryFolder root;
  const std::string path = root.path().string();
  CHECK(refusal(root / "none") == "There is no folder " + path + "/none.");
  CHECK(refusal(root.path()) == "The folder " + path + " has no ptbxl_database.csv, which every PTB-XL folder has.");
  write_tables(root / "ptb-xl", row(1, "{}"));
  CHECK(refusal(root.path()) == "The folder " + path + " has no ptbxl_database.csv, which every PTB-XL folder has; " +
                                    path + "/ptb-xl has one.");
  fs::remove(root / "ptb-xl/scp_statements.csv");
  CHECK(refusal(root / "ptb-xl") ==
        "The folder " + path + "/ptb-xl has no scp_statements.csv, which every PTB-XL folder has.");
  test::write_file(root / "ptbxl_database.csv", "ecg_id,patient_id,scp_codes,strat_fold,filename_lr\n");
  test::write_file(root / "scp_statements.csv", kStatements);
  CHECK(refusal(root.path()) ==
        path +
            "/ptbxl_database.csv has no column filename_hr; its columns are ecg_id, patient_id, scp_codes, strat_fold, "
            "filename_lr.");
}

TEST_CASE("ptbxl: the class counts of the real database are the published ones") {
  const fs::path root = test::real_data("ptbxl_metadata");
  if (root.empty()) return;
  const PtbxlMetadata superclass = read_ptbxl_metadata(root, LabelSet::superclass);
  CHECK(superclass.rows.size() == 21799);
  CHECK(class_counts(superclass) == std::vector<size_t>{9514, 5469, 5235, 4898, 2649});
  CHECK(read_ptbxl_metadata(root, LabelSet::subclass).classes.size() == 23);
  CHECK(read_ptbxl_metadata(root, LabelSet::form).classes.size() == 19);
  CHECK(read_ptbxl_metadata(root, LabelSet::rhythm).classes.size() == 12);
  CHECK(read_ptbxl_metadata(root, LabelSet::all).classes.size() == 71);

  std::set<std::pair<int64_t, int>> patient_folds;
  std::set<int64_t> patients;
  for (const PtbxlRow& r : superclass.rows) {
    patients.insert(r.patient_id);
    patient_folds.emplace(r.patient_id, r.fold);
  }
  CHECK(patients.size() == patient_folds.size());  // no patient is in two folds
}

}  // namespace
}  // namespace systole::data
