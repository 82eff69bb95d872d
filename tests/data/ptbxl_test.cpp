#include "data/ptbxl.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "tests/support.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using test::sentence_of;
using test::TemporaryFolder;

const std::vector<std::string> kLeads(kStandardLeads.begin(), kStandardLeads.end());
constexpr int kLength = 20;

std::string record_name(int ecg_id) {
  return fmt::format("records100/00000/{:05}_lr", ecg_id);
}

int16_t sample_of(int ecg_id, int l, size_t lead) {
  return static_cast<int16_t>(100 * ecg_id + 10 * l + static_cast<int>(lead));
}

// Writes sample_of(ecg_id, l, position of the lead in `leads`), 1000 steps per unit.
void write_record(const fs::path& root, int ecg_id, const std::vector<std::string>& leads = kLeads,
                  int length = kLength, double rate_hz = 100, const std::string& unit = "mV", int baseline = 0) {
  std::vector<int16_t> samples;
  for (int l = 0; l < length; ++l)
    for (size_t lead = 0; lead < leads.size(); ++lead) samples.push_back(sample_of(ecg_id, l, lead));
  write_wfdb16(root / record_name(ecg_id), rate_hz, leads, 1000, unit, baseline, samples);
}

std::string row(int ecg_id, const std::string& codes, int fold = 1, const std::string& patient = "7.0") {
  return fmt::format("{},{},\"{}\",{},{},records500/00000/{:05}_hr\n", ecg_id, patient, codes, fold,
                     record_name(ecg_id), ecg_id);
}

const std::string kHeader = "ecg_id,patient_id,scp_codes,strat_fold,filename_lr,filename_hr\n";
const std::string kStatements =
    ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\n"
    "NORM,normal,1.0,,,NORM,NORM\nIMI,\"inferior, old\",1.0,,,MI,IMI\nNDT,non-specific,1.0,1.0,,STTC,STTC\n"
    "LVH,x,1.0,,,HYP,LVH\nPVC,x,,1.0,,,\nSR,x,,,1.0,,\n";

void write_tables(const fs::path& root, const std::string& rows) {
  test::write_file(root / "ptbxl_database.csv", kHeader + rows);
  test::write_file(root / "scp_statements.csv", kStatements);
}

// Three whole records in folds 1, 1 and 2; the third has no superclass.
void write_three(const fs::path& root) {
  write_tables(root, row(1, "{'NORM': 100.0, 'SR': 0.0}") + row(2, "{'IMI': 0.0, 'NDT': 35.0}", 1, "8.0") +
                         row(3, "{'SR': 0.0}", 2, "9.0"));
  for (int id : {1, 2, 3}) write_record(root, id);
}

Dataset load(const fs::path& root, LoadReport& report, bool skip_bad_records = false) {
  LoadOptions options;
  options.root = root;
  options.skip_bad_records = skip_bad_records;
  return load_ptbxl(options, LabelSet::superclass, report);
}
Dataset load(const fs::path& root) {
  LoadReport report;
  return load(root, report);
}
std::string refusal(const fs::path& root) {
  return sentence_of<Error>([&] { load(root); });
}

float value(const Dataset& d, size_t r, int l, size_t lead) {
  const size_t leads = d.lead_count();
  return static_cast<float>(d.record(r)[static_cast<size_t>(l) * leads + lead]) * d.scale[r * leads + lead] +
         d.offset[r * leads + lead];
}

std::vector<size_t> class_counts(const PtbxlMetadata& metadata) {
  std::vector<size_t> counts(metadata.classes.size());
  for (const PtbxlRow& r : metadata.rows)
    for (size_t c = 0; c < counts.size(); ++c) counts[c] += r.labels[c];
  return counts;
}

void replace_in_file(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = test::read_file(path);
  REQUIRE(text.find(from) != text.npos);
  test::write_file(path, text.replace(text.find(from), from.size(), to));
}

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

TEST_CASE("ptbxl: records come out as they were written, with ids, folds and labels") {
  const TemporaryFolder root;
  write_three(root.path());
  LoadReport report;
  const Dataset d = load(root.path(), report);
  CHECK(d.records() == 3);
  CHECK(d.length == kLength);
  CHECK(d.sampling_rate_hz == 100);
  CHECK(d.unit == "mV");
  CHECK(d.leads == kLeads);
  CHECK(d.record_id == std::vector<int64_t>{1, 2, 3});
  CHECK(d.patient_id == std::vector<int64_t>{7, 8, 9});
  CHECK(d.fold == std::vector<int>{1, 1, 2});
  CHECK(d.labels == std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0});
  for (size_t r = 0; r < 3; ++r)
    for (int l = 0; l < kLength; ++l)
      for (size_t lead = 0; lead < 12; ++lead)
        REQUIRE(value(d, r, l, lead) == doctest::Approx(sample_of(static_cast<int>(r) + 1, l, lead) / 1000.0));
  CHECK(report.sentence() == "Loaded 3 of 3 records; without any label of the set: 1.");
}

TEST_CASE("ptbxl: leads are found by name, whatever their order and spelling") {
  const TemporaryFolder root;
  write_tables(root.path(), row(1, "{}"));
  const std::vector<std::string> leads = {"v6", "V5", "V4", "V3", "v2", "V1", "avf", "aVL", "aVR", "iii", "ii", "i"};
  write_record(root.path(), 1, leads);
  const Dataset d = load(root.path());
  for (size_t lead = 0; lead < 12; ++lead) CHECK(d.record(0)[lead] == sample_of(1, 0, 11 - lead));
}

TEST_CASE("ptbxl: baselines become offsets, and voltages come out in mV") {
  const TemporaryFolder root;
  write_tables(root.path(), row(1, "{}") + row(2, "{}") + row(3, "{}") + row(4, "{}"));
  write_record(root.path(), 1, kLeads, kLength, 100, "mV", 50);
  write_record(root.path(), 2, kLeads, kLength, 100, "uV");
  write_record(root.path(), 3, kLeads, kLength, 100, "V");
  write_record(root.path(), 4, kLeads, kLength, 100, "mv");
  const Dataset d = load(root.path());
  CHECK(d.unit == "mV");
  CHECK(value(d, 0, 3, 2) == doctest::Approx((sample_of(1, 3, 2) - 50) / 1000.0));
  CHECK(value(d, 1, 3, 2) == doctest::Approx(sample_of(2, 3, 2) / 1e6));
  CHECK(value(d, 2, 3, 2) == doctest::Approx(sample_of(3, 3, 2)));
  CHECK(value(d, 3, 3, 2) == doctest::Approx(sample_of(4, 3, 2) / 1000.0));
}

TEST_CASE("ptbxl: samples without value are interpolated and counted") {
  const TemporaryFolder root;
  write_tables(root.path(), row(1, "{}"));
  constexpr int16_t kNone = -32768;
  std::vector<int16_t> samples(12 * 8, 5);
  const std::vector<int16_t> lead_ii = {kNone, 10, 20, kNone, kNone, 50, 40, kNone};
  for (size_t l = 0; l < 8; ++l) samples[l * 12 + 1] = lead_ii[l];
  write_wfdb16(root.path() / record_name(1), 100, kLeads, 1000, "mV", 40, samples);
  LoadReport report;
  const Dataset d = load(root.path(), report);
  const std::vector<int16_t> filled = {10, 10, 20, 30, 40, 50, 40, 40};
  for (size_t l = 0; l < 8; ++l) {
    CHECK(d.record(0)[l * 12 + 1] == filled[l]);
    CHECK(d.record(0)[l * 12] == 5);
  }
  CHECK(report.invalid_samples == 4);
  CHECK(report.sentence() ==
        "Loaded 1 of 1 records; without any label of the set: 1; invalid samples interpolated: 4.");
}

// A record in format 32, which write_wfdb16 cannot make, whose lead I is given and whose other leads are zero.
void write_wide_record(const fs::path& root, int ecg_id, const std::vector<int32_t>& lead_i) {
  std::string header = fmt::format("{:05}_lr 12 100 {}\n", ecg_id, lead_i.size()), bytes;
  for (const std::string& lead : kLeads) header += fmt::format("{:05}_lr.dat 32 1000/mV 32 0 0 0 0 {}\n", ecg_id, lead);
  for (const int32_t sample : lead_i)
    for (size_t byte = 0; byte < 12 * 4; ++byte)
      bytes += byte < 4 ? static_cast<char>(static_cast<uint32_t>(sample) >> 8 * byte & 0xFF) : '\0';
  const int64_t sum = std::accumulate(lead_i.begin(), lead_i.end(), int64_t{0});
  header.replace(header.find(" 0 0 0 I"), 8, fmt::format(" {} {} 0 I", lead_i[0], static_cast<uint16_t>(sum)));
  test::write_file(root / (record_name(ecg_id) + ".hea"), header);
  test::write_file(root / (record_name(ecg_id) + ".dat"), bytes);
}

TEST_CASE("ptbxl: samples beyond 16 bits are stored with an offset or a coarser step, to half a step") {
  const std::vector<std::vector<int32_t>> signals = {{0, 8000000, -8000000, 123456, 7},
                                                     {1000000, 1000001, 1000003, 999999, 1030000},
                                                     {-32769, 32766, 0, 5, 1},
                                                     {40000, 7, 0, 0, 0}};
  for (const std::vector<int32_t>& signal : signals) {
    CAPTURE(signal[0]);
    const TemporaryFolder root;
    write_tables(root.path(), row(1, "{'NORM': 1}"));
    write_wide_record(root.path(), 1, signal);
    LoadReport report;
    const Dataset d = load(root.path(), report);
    const auto [low, high] = std::minmax_element(signal.begin(), signal.end());
    const double step = std::max(1.0, (static_cast<double>(*high) - *low) / 65533);
    CHECK(d.scale[0] == doctest::Approx(step / 1000).epsilon(1e-6));
    for (int l = 0; l < 5; ++l)
      CHECK(std::abs(value(d, 0, l, 0) - signal[static_cast<size_t>(l)] / 1000.0) <= step / 2000 * 1.01 + 1e-3);
    CHECK(report.rescaled_leads == 1);
    CHECK(report.sentence() == "Loaded 1 of 1 records; leads beyond 16 bits rescaled: 1.");
  }
}

TEST_CASE("ptbxl: missing records are counted, and an empty load is refused") {
  const TemporaryFolder root;
  write_three(root.path());
  fs::remove(root / (record_name(1) + ".dat"));
  fs::remove(root / (record_name(2) + ".hea"));
  LoadReport report;
  CHECK(load(root.path(), report).record_id == std::vector<int64_t>{3});
  CHECK(report.sentence() ==
        "Loaded 1 of 3 records; missing: 2 (first: records100/00000/00001_lr); without any label of the "
        "set: 1.");
  fs::remove(root / (record_name(3) + ".hea"));
  CHECK(refusal(root.path()) == "Nothing could be loaded from " + root.path().string() +
                                    ": Loaded 0 of 3 records; missing: 3 (first: records100/00000/00001_lr).");
}

TEST_CASE("ptbxl: another rate than the folder holds is refused with the one that it holds") {
  const TemporaryFolder root;
  write_three(root.path());
  LoadOptions options;
  options.root = root.path();
  options.sampling_rate_hz = 500;
  LoadReport report;
  CHECK(sentence_of<Error>([&] { load_ptbxl(options, LabelSet::superclass, report); }) ==
        "Nothing could be loaded from " + root.path().string() +
            ": Loaded 0 of 3 records; missing: 3 (first: records500/00000/00001_hr). It holds records100, so a "
            "sampling rate of 100 Hz can be loaded.");
  options.sampling_rate_hz = 250;
  CHECK(sentence_of<UsageError>([&] { load_ptbxl(options, LabelSet::superclass, report); }) ==
        "PTB-XL has sampling rates of 100 and 500 Hz, not 250 Hz.");
}

TEST_CASE("ptbxl: of several broken records the first is named, by any number of threads") {
  const TemporaryFolder root;
  write_three(root.path());
  const auto path_of = [&](int id, const char* extension) { return root.path() / (record_name(id) + extension); };
  replace_in_file(path_of(3, ".hea"), " 100 ", " x ");  // seen in the header, before any samples are read
  std::string samples = test::read_file(path_of(2, ".dat"));
  samples[0] ^= 1;
  test::write_file(path_of(2, ".dat"), samples);
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    CHECK(refusal(root.path()).find(record_name(2)) != std::string::npos);
    LoadReport report;
    CHECK(load(root.path(), report, true).record_id == std::vector<int64_t>{1});
    REQUIRE(report.bad_examples.size() == 2);
    CHECK(report.bad_examples[0].find(record_name(2)) != std::string::npos);
    CHECK(report.bad_examples[1].find(record_name(3)) != std::string::npos);
  }
  set_threads(0);
}

// Loads a folder of three records of which the second is broken; returns the sentence without the skip and checks the
// skip.
template <class Break>
std::string sentence_of_broken(const Break& break_record) {
  const TemporaryFolder root;
  write_three(root.path());
  break_record(root.path());
  std::string sentence = refusal(root.path());
  const std::string path = (root.path() / record_name(2)).string();
  CHECK_MESSAGE(sentence.find(path) != sentence.npos, sentence);  // the record is named
  const std::string hint = " The option --skip-bad-records leaves broken records out.";
  REQUIRE_MESSAGE(sentence.find(hint) != sentence.npos, sentence);
  sentence.erase(sentence.find(hint));

  LoadReport report;
  const Dataset d = load(root.path(), report, true);
  CHECK(d.record_id == std::vector<int64_t>{1, 3});
  CHECK(d.labels.size() == 10);
  CHECK(d.samples.size() == 2 * kLength * 12);
  CHECK(value(d, 1, 4, 5) == doctest::Approx(sample_of(3, 4, 5) / 1000.0));
  CHECK(report.bad == 1);
  CHECK(report.bad_examples == std::vector<std::string>{sentence});
  CHECK(report.sentence() ==
        "Loaded 2 of 3 records; broken and left out: 1 (first: " + sentence + "); without any label of the set: 1.");
  const size_t named = sentence.find(path);
  return sentence.substr(0, named) + "R" + sentence.substr(named + path.size());
}

TEST_CASE("ptbxl: a broken record is refused by name, or skipped and counted by request") {
  const std::string all_leads = "I, II, III, AVR, AVL, AVF, V1, V2, V3, V4, V5, V6";
  const auto rewritten = [](auto... what) {
    return sentence_of_broken([=](const fs::path& root) { write_record(root, 2, what...); });
  };
  CHECK(rewritten(kLeads, kLength, 125.0) == "R.hea has a sampling rate of 125 Hz, 100 Hz was expected.");
  CHECK(rewritten(kLeads, kLength + 1) == "R.hea has 21 samples per lead, 20 were expected as in the other records.");
  CHECK(rewritten(kLeads, kLength, 100.0, "NU") == "R.hea is in NU, the unit mV was expected as in the other records.");
  CHECK(rewritten(std::vector<std::string>{"I", "V9"}) ==
        "R.hea has 2 leads (I, V9), the 12 leads " + all_leads + " were expected.");
  std::vector<std::string> leads = kLeads;
  leads[11] = "V7";
  CHECK(rewritten(leads) == "R.hea has no lead V6; its leads are I, II, III, AVR, AVL, AVF, V1, V2, V3, V4, V5, V7.");
  CHECK(sentence_of_broken([](const fs::path& root) {
          replace_in_file(root / (record_name(2) + ".hea"), "/mV 16 0 201 ", "/NU 16 0 201 ");
        }) == "R.hea: lead I is in mV and lead II in NU, one unit was expected.");
}

TEST_CASE("ptbxl: a record with a lead of gaps, and one without any signal, are broken") {
  const auto rewritten = [](const auto& sample_at) {
    return sentence_of_broken([&](const fs::path& root) {
      std::vector<int16_t> samples;
      for (int l = 0; l < kLength; ++l)
        for (size_t lead = 0; lead < 12; ++lead) samples.push_back(static_cast<int16_t>(sample_at(l, lead)));
      write_wfdb16(root / record_name(2), 100, kLeads, 1000, "mV", 0, samples);
    });
  };
  constexpr int kNone = -32768;
  CHECK(rewritten([](int l, size_t lead) { return lead == 7 && l < 11 ? kNone : 10 * l; }) ==
        "R.hea: lead V2 has values in 9 of its 20 samples, at least half were expected.");
  CHECK(rewritten([](int l, size_t lead) { return lead == 7 ? kNone : 10 * l; }) ==
        "R.hea: lead V2 has values in 0 of its 20 samples, at least half were expected.");
  CHECK(rewritten([](int, size_t lead) { return 10 * static_cast<int>(lead); }) ==
        "R.hea: all leads are constant, an ECG was expected.");
}

TEST_CASE("ptbxl: damage to a file, which the WFDB reader finds, is a broken record") {
  sentence_of_broken([](const fs::path& root) { fs::resize_file(root / (record_name(2) + ".dat"), 100); });
  sentence_of_broken([](const fs::path& root) { test::write_file(root / (record_name(2) + ".hea"), ""); });
  const std::string empty = sentence_of_broken([](const fs::path& root) {
    replace_in_file(root / (record_name(2) + ".hea"), " 12 100 20\n", " 12 100\n");
    test::write_file(root / (record_name(2) + ".dat"), "");
  });
  CHECK(empty == "R.hea has no samples.");
  const std::string checksum = sentence_of_broken([](const fs::path& root) {
    std::string bytes = test::read_file(root / (record_name(2) + ".dat"));
    bytes[50] ^= 1;
    test::write_file(root / (record_name(2) + ".dat"), bytes);
  });
  CHECK_MESSAGE(checksum.find("checksum") != checksum.npos, checksum);
}

TEST_CASE("ptbxl: the folds asked for are loaded, and one without records is refused") {
  const TemporaryFolder root;
  write_three(root.path());
  LoadOptions options;
  options.root = root.path();
  LoadReport report;
  options.folds = {1};
  CHECK(load_ptbxl(options, LabelSet::superclass, report).record_id == std::vector<int64_t>{1, 2});
  CHECK(report.rows == 2);
  options.folds = {2, 10};
  CHECK(sentence_of<Error>([&] { load_ptbxl(options, LabelSet::superclass, report); }) ==
        "Fold 10 holds no records in " + (root / "ptbxl_database.csv").string() + "; its folds are 1, 2.");
  options.folds = {1, 2};
  fs::remove(root / (record_name(3) + ".dat"));
  CHECK(sentence_of<Error>([&] { load_ptbxl(options, LabelSet::superclass, report); }) ==
        "No record of fold 2 could be loaded from " + root.path().string() +
            ": Loaded 2 of 3 records; missing: 1 (first: records100/00000/00003_lr).");
}

TEST_CASE("ptbxl: unlabelled records are dropped by request") {
  const TemporaryFolder root;
  write_three(root.path());
  LoadOptions options;
  options.root = root.path();
  options.drop_unlabelled = true;
  LoadReport report;
  CHECK(load_ptbxl(options, LabelSet::superclass, report).record_id == std::vector<int64_t>{1, 2});
  CHECK(report.sentence() == "Loaded 2 of 3 records; left out for want of a label: 1.");
}

TEST_CASE("ptbxl: progress counts every record once, and the result does not depend on the number of threads") {
  const TemporaryFolder root;
  std::string rows;
  for (int id = 1; id <= 37; ++id) {
    rows += row(id, "{'NORM': 1}");
    if (id % 5) write_record(root.path(), id);
  }
  write_tables(root.path(), rows);
  LoadOptions options;
  options.root = root.path();
  std::vector<size_t> calls;
  options.progress = [&](size_t done, size_t total) {
    CHECK(total == 30);
    calls.push_back(done);
  };
  LoadReport report;
  set_threads(1);
  const Dataset one = load_ptbxl(options, LabelSet::superclass, report);
  set_threads(4);
  calls.clear();
  const Dataset four = load_ptbxl(options, LabelSet::superclass, report);
  set_threads(0);
  std::vector<size_t> expected(30);
  std::iota(expected.begin(), expected.end(), 1);
  CHECK(calls == expected);
  CHECK(one.samples == four.samples);
  CHECK(one.record_id == four.record_id);
}

TEST_CASE("ptbxl: sentences count with thousands separators") {
  LoadReport report;
  report.rows = 21799;
  report.loaded = 21797;
  report.missing = 2;
  report.missing_examples = {"a", "b"};
  report.invalid_samples = 1234567;
  CHECK(report.sentence() ==
        "Loaded 21,797 of 21,799 records; missing: 2 (first: a); invalid samples interpolated: 1,234,567.");
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

TEST_CASE("ptbxl: a partial download of the real data set obeys Einthoven's law") {
  const fs::path root = test::real_data("ptbxl");
  if (root.empty()) return;
  LoadOptions options;
  options.root = root;
  LoadReport report;
  const Dataset low = load_ptbxl(options, LabelSet::superclass, report);
  CHECK(low.records() == 63);
  CHECK(low.length == 1000);
  CHECK(report.missing == 34);
  options.sampling_rate_hz = 500;
  const Dataset high = load_ptbxl(options, LabelSet::superclass, report);
  CHECK(high.records() == 97);
  CHECK(high.length == 5000);
  CHECK(high.unit == "mV");
  double worst = 0;
  for (size_t r = 0; r < high.records(); ++r)
    for (int l = 0; l < high.length; ++l)
      worst = std::max(
          worst, std::abs(static_cast<double>(value(high, r, l, 0)) + value(high, r, l, 2) - value(high, r, l, 1)));
  CHECK(worst <= 0.0041);  // III = II − I, in steps of 1 µV, to the rounding of the published data
}

TEST_CASE("ptbxl: the normalised real records have deviation one and the published labels") {
  const fs::path root = test::real_data("ptbxl_z100");
  if (root.empty()) return;
  LoadOptions options;
  options.root = root;
  LoadReport report;
  const Dataset d = load_ptbxl(options, LabelSet::superclass, report);
  CHECK(d.records() == 1819);
  CHECK(d.unit == "NU");
  std::vector<size_t> counts(5);
  for (size_t r = 0; r < d.records(); ++r)
    for (size_t c = 0; c < 5; ++c) counts[c] += d.label(r, c);
  CHECK(counts == std::vector<size_t>{964, 262, 527, 462, 193});
}

}  // namespace
}  // namespace systole::data
