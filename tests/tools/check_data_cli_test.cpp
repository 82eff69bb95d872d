// systole check-data, as a user meets it: every kind of finding, once each, and what runs make of the same records.

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "data/ptbxl.h"
#include "data/record_check.h"
#include "data/wfdb.h"
#include "tests/support.h"
#include "tests/tools/expect.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

constexpr int kLength = 200, kNone = -32768;
using Sample = std::function<int(int l, int lead)>;

int usual_sample(int id, int l, int lead) {
  return static_cast<int>(400 * std::sin(0.1 * l + 0.37 * id + lead)) + (l * (7 + id + lead)) % 41;
}

struct Row {
  int patient, fold;
};

/// A data set in PTB-XL's layout that is made record by record.
class Folder {
 public:
  void add(Row row, const Sample& sample = {}, const std::vector<std::string>& leads = kLeads, int length = kLength,
           double rate_hz = 100, const std::string& unit = "mV", double gain = 1000) {
    list(row);
    std::vector<int16_t> samples;
    for (int l = 0; l < length; ++l)
      for (int lead = 0; lead < static_cast<int>(leads.size()); ++lead)
        samples.push_back(static_cast<int16_t>(sample ? sample(l, lead) : usual_sample(id_, l, lead)));
    data::write_wfdb16(root() / name(id_), rate_hz, leads, gain, unit, 0, samples);
  }
  /// A row without a record.
  void list(Row row) {
    ++id_;
    rows_ += fmt::format("{},{},\"{{}}\",{},{},records500/{:05}\n", id_, row.patient, row.fold, name(id_), id_);
    write_file(root() / "ptbxl_database.csv",
               "ecg_id,patient_id,scp_codes,strat_fold,filename_lr,filename_hr\n" + rows_);
  }
  fs::path root() const { return work_ / "data"; }
  fs::path operator/(const std::string& file) const { return work_ / file; }
  static std::string name(int id) { return fmt::format("records100/{:05}", id); }

  static inline const std::vector<std::string> kLeads{"I",  "II", "III", "aVR", "AVL", "avf",
                                                      "V1", "V2", "V3",  "V4",  "v5",  "V6"};

 private:
  TemporaryFolder work_;
  std::string rows_;
  int id_ = 0;
};

/// The names of the records of each kind of finding; kinds without any are left out.
std::map<std::string, std::vector<std::string>> findings(const nlohmann::json& report) {
  std::map<std::string, std::vector<std::string>> result;
  for (const auto& finding : report["findings"]) {
    CHECK(finding["count"] == finding["records"].size());
    for (const auto& record : finding["records"]) result[finding["name"]].push_back(record["record"]);
  }
  return result;
}

nlohmann::json check(const fs::path& root, const fs::path& json, int code, const std::string& options = "") {
  const Outcome outcome = run(fmt::format("check-data {} --json {} {}", root.string(), json.string(), options));
  INFO(outcome.output);
  REQUIRE(outcome.code == code);
  return nlohmann::json::parse(read_file(json));
}

/// Everything below a folder, to see that nothing changes.
std::map<std::string, std::string> content_of(const fs::path& root) {
  std::map<std::string, std::string> content;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    content[entry.path().string()] = entry.is_regular_file() ? read_file(entry.path()) : "";
  return content;
}

}  // namespace

TEST_CASE("check-data: every kind of finding is named with its records, and bad is what runs leave out") {
  Folder f;
  const auto sample_of = [](int id) { return [id](int l, int lead) { return usual_sample(id, l, lead); }; };
  for (int fold = 1; fold <= 10; ++fold) f.add({fold, fold});  // 1 to 10: all is well
  f.add({11, 1}, [](int l, int lead) { return lead == 3 ? 5 : usual_sample(11, l, lead); });
  f.add({12, 1}, [](int l, int lead) { return std::min(usual_sample(12, l, lead), lead == 2 ? 250 : 9999); });
  f.add({13, 1}, [](int l, int lead) { return l < 5 && lead == 1 ? kNone : usual_sample(13, l, lead); });
  f.add({14, 1}, {}, Folder::kLeads, kLength, 100, "mV", 1);  // 800 mV
  f.add({15, 3}, sample_of(3));                               // as record 3, in its fold
  f.add({16, 10}, sample_of(4));                              // as record 4 of fold 4
  f.add({5, 9});                                              // patient 5, of fold 5
  f.list({18, 1});                                            // 18: not downloaded
  f.add({19, 1});
  fs::resize_file(f.root() / (Folder::name(19) + ".dat"), 100);
  std::vector<std::string> leads = Folder::kLeads;
  leads.back() = "V7";
  f.add({20, 1}, {}, leads);
  f.add({21, 1}, [](int l, int lead) { return lead == 6 && l % 5 ? kNone : usual_sample(21, l, lead); });
  f.add({22, 1}, [](int, int lead) { return lead; });
  f.add({23, 1}, {}, Folder::kLeads, kLength, 100, "NU");
  f.add({24, 1}, {}, Folder::kLeads, kLength, 250);
  f.add({25, 1}, {}, Folder::kLeads, kLength / 2);
  f.add({26, 1}, {}, Folder::kLeads, kLength * 2);
  const auto before = content_of(f.root());

  const nlohmann::json report = check(f.root(), f / "report.json", 1);
  const auto names = [](std::vector<int> ids) {
    std::vector<std::string> result;
    for (const int id : ids) result.push_back(Folder::name(id));
    return result;
  };
  const std::map<std::string, std::vector<std::string>> expected{{"constant-lead", names({11})},
                                                                 {"saturated-lead", names({12})},
                                                                 {"gaps", names({13})},
                                                                 {"amplitude", names({14})},
                                                                 {"same-signal", names({15})},
                                                                 {"same-signal-in-two-folds", names({16})},
                                                                 {"patient-in-two-folds", names({17})},
                                                                 {"missing", names({18})},
                                                                 {"unreadable", names({19})},
                                                                 {"leads", names({20})},
                                                                 {"no-values", names({21})},
                                                                 {"flat", names({22})},
                                                                 {"unit", names({23})},
                                                                 {"rate", names({24})},
                                                                 {"length", names({25, 26})}};
  CHECK(findings(report) == expected);
  CHECK(report["rows"] == 26);
  CHECK(report["usable"] == 17);
  CHECK(report["passed"] == false);
  CHECK(content_of(f.root()) == before);

  const std::string root = f.root().string();
  check_refused("check-data " + root, 1, {"8 of 26 records are bad, and 2 would spoil an evaluation"});
  check_refused(fmt::format("pack --data-root {} --out {}", root, (f / "a.ecgs").string()), 1,
                {Folder::name(19), "--skip-bad-records"});
  const std::string packed =
      succeeded(fmt::format("pack --data-root {} --skip-bad-records --out {}", root, (f / "a.ecgs").string()));
  CHECK_MESSAGE(packed.find("17 records of 12 leads x 200 samples") != std::string::npos, packed);

  const auto of_pack = findings(check(f / "a.ecgs", f / "pack.json", 1));  // which has no bad ones any more
  for (const char* kind : {"constant-lead", "saturated-lead", "amplitude", "same-signal", "same-signal-in-two-folds",
                           "patient-in-two-folds"})
    CHECK_MESSAGE(of_pack.at(kind) == expected.at(kind), kind);
  CHECK(of_pack.size() == 6);
}

TEST_CASE("check-data: a data set without findings passes, for any number of threads") {
  Folder f;
  for (int fold = 1; fold <= 10; ++fold) f.add({fold, fold});
  f.add({7, 7});
  f.list({12, 1});  // a partial download is no fault
  const nlohmann::json one = check(f.root(), f / "1.json", 0, "--threads 1");
  CHECK(one["passed"] == true);
  CHECK(one["usable"] == 11);
  CHECK(one == check(f.root(), f / "2.json", 0, "--threads 3"));
  const std::string table = succeeded("check-data " + f.root().string());
  CHECK_MESSAGE(table.find("11 of 12 records can be used, of 10 patients in the folds 1, 2, 3,") != std::string::npos,
                table);
}

TEST_CASE("check-data: WFDB records of other rates and lengths are resampled and cut, and it is said") {
  const TemporaryFolder work;
  const auto write = [&](const std::string& name, double rate_hz, int length, int id) {
    std::vector<int16_t> samples;
    for (int l = 0; l < length; ++l)
      for (int lead = 0; lead < 12; ++lead) samples.push_back(static_cast<int16_t>(usual_sample(id, l, lead)));
    data::write_wfdb16(work / ("data/" + name), rate_hz, Folder::kLeads, 1000, "mV", 0, samples);
  };
  for (int i = 0; i < 3; ++i) write(fmt::format("usual{}", i), 100, 200, i);
  write("fast", 500, 1000, 3);
  write("long", 100, 300, 4);
  write("short", 100, 100, 5);
  const auto found = findings(check(work / "data", work / "report.json", 1));
  const std::map<std::string, std::vector<std::string>> expected{
      {"resampled", {"fast"}}, {"cut", {"long"}}, {"length", {"short"}}};
  CHECK(found == expected);
}

TEST_CASE("check-data: what is no data set, and nothing that can be used, are sentences") {
  const TemporaryFolder work;
  check_refused("check-data " + (work / "none").string(), 1, {(work / "none").string()});
  check_refused("check-data", 2, {"DIR is required"});
  Folder f;
  f.list({1, 1});
  check_refused("check-data " + f.root().string(), 1, {"Nothing could be loaded from", "missing: 1"});
  check_refused(fmt::format("check-data {} --json {}", f.root().string(), (f / "none/x.json").string()), 1, {"none"});
}

TEST_CASE("check-data: a lead counts as saturated when it is held at an extreme value, not when it passes it") {
  data::WfdbRecord record;
  record.header.sampling_rate_hz = 500;
  record.header.signals.resize(1);
  record.header.signals[0].description = "V2";
  record.length = 1000;
  const auto saturated = [&](int held, int value) {
    record.samples.assign(1, {});
    for (int l = 0; l < 1000; ++l) record.samples[0].push_back(l % 100 < held ? value : (l * 37) % 199 - 99);
    return !data::find_oddities(record).saturated_leads.empty();
  };
  CHECK(saturated(10, 300));  // 20 ms of every 200
  CHECK(saturated(10, -300));
  CHECK(!saturated(9, 300));
  CHECK(!saturated(10, 50));  // within its range: a plateau
  record.samples.assign(1, std::vector<int32_t>(1000, 7));
  CHECK(data::find_oddities(record).saturated_leads.empty());
  CHECK(data::find_oddities(record).constant_leads == std::vector<std::string>{"V2"});
}

TEST_CASE("check-data: real recordings with masked leads and without any signal are bad") {
  const fs::path folder = real_data("edge_cases");
  if (folder.empty()) return;
  const TemporaryFolder work;
  const auto found = findings(check(folder, work / "report.json", 1));
  CHECK(found.at("no-values") == std::vector<std::string>{"01018_lr"});
  CHECK(found.at("flat") == std::vector<std::string>{"9190_all_data_is_zero"});
}

TEST_CASE("check-data: real data sets pass, a partial download among them") {
  const TemporaryFolder work;
  for (const char* name : {"ptbxl", "ptbxl_z100", "mitdb", "ludb", "cinc2021"}) {
    const fs::path folder = real_data(name);
    if (folder.empty()) continue;
    CAPTURE(name);
    const nlohmann::json report = nlohmann::json::parse([&] {
      run(fmt::format("check-data {} --json {}", folder.string(), (work / "report.json").string()));
      return read_file(work / "report.json");
    }());
    CHECK(report["usable"] > 0);
    CHECK(report["passed"] == true);
  }
}
