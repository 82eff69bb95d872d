// The records of PTB-XL: what is loaded, left out, skipped and refused.

#include <algorithm>
#include <numeric>

#include "kernels/common/parallel.h"
#include "tests/data/ptbxl_folder.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;
using namespace ptbxl_folder;
using test::sentence_of;
using test::TemporaryFolder;

float value(const Dataset& d, size_t r, int l, size_t lead) {
  const size_t leads = d.lead_count();
  return static_cast<float>(d.record(r)[static_cast<size_t>(l) * leads + lead]) * d.scale[r * leads + lead] +
         d.offset[r * leads + lead];
}

void replace_in_file(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = test::read_file(path);
  REQUIRE(text.find(from) != text.npos);
  test::write_file(path, text.replace(text.find(from), from.size(), to));
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
