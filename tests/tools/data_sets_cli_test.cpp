// Tasks and data sets beside PTB-XL's superclasses, as a user meets them: measured columns, label tables, folders of
// recordings.

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

#include "data/csv.h"
#include "data/wfdb.h"
#include "tests/support.h"
#include "tests/tools/expect.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

/// 60 synthetic patients, generated once.
const fs::path& patients() {
  static const TemporaryFolder folder;
  static const fs::path root = [] {
    const Outcome made = run(fmt::format("generate --out {} --patients 60 --seed 4", (folder / "data").string()));
    REQUIRE_MESSAGE(made.code == 0, made.output);
    return folder / "data";
  }();
  return root;
}

constexpr const char* kSmall = "--epochs 2 --batch-size 16 --width 4";

/// The generated database as a hospital would export it: ecg_id, patient, and two labels, one of which is not known for
/// every seventh record.
std::string own_labels() {
  const data::CsvTable csv = data::read_csv(patients() / "ptbxl_database.csv");
  const size_t id = csv.column("ecg_id"), patient = csv.column("patient_id"), lvef = csv.column("lvef");
  std::string text = "record,patient,weak_heart,even\n";
  for (size_t row = 0; row < csv.rows.size(); ++row) {
    const auto ecg_id = csv.whole_number(row, id);
    text += fmt::format("{},{},{},{}\n", ecg_id, csv.whole_number(row, patient), csv.number(row, lvef) < 55 ? 1 : 0,
                        ecg_id % 7 ? std::to_string(ecg_id % 2) : "");
  }
  return text;
}

/// The recordings of the generated data set as plain WFDB files at another rate would be: copied under names of their
/// own, with a header that says 250 Hz.
void write_plain_records(const fs::path& to, const fs::path& table) {
  const data::CsvTable csv = data::read_csv(patients() / "ptbxl_database.csv");
  const size_t file = csv.column("filename_lr"), patient = csv.column("patient_id"), lvef = csv.column("lvef");
  std::string text = "record,patient,weak_heart\n";
  for (size_t row = 0; row < csv.rows.size(); ++row) {
    const data::WfdbRecord record = data::read_wfdb(patients() / csv.rows[row][file]);
    std::vector<std::string> leads;
    std::vector<int16_t> samples;
    for (const data::WfdbSignal& signal : record.header.signals) leads.push_back(signal.description);
    for (size_t l = 0; l < static_cast<size_t>(record.length); ++l)
      for (const auto& lead : record.samples) samples.push_back(static_cast<int16_t>(lead[l]));
    data::write_wfdb16(to / fmt::format("site/{}", row), 250, leads, 1000, "mV", 0, samples);
    text += fmt::format("site/{},P{},{}\n", row, csv.rows[row][patient], csv.number(row, lvef) < 55 ? 1 : 0);
  }
  write_file(table, text);
}

}  // namespace

TEST_CASE("data sets: low-lvef and high-potassium are tasks of one class from training to the report") {
  const TemporaryFolder out;
  const std::string root = "--data-root " + patients().string(), file = (out / "classifier.pt").string();
  for (const std::string& labels : {std::string("low-lvef"), std::string("high-potassium")}) {
    const std::string trained =
        succeeded(fmt::format("finetune {} --labels {} --label-fraction 0.5 {} --out {}", root, labels, kSmall, file));
    CHECK((trained.find("left out, as the label is not known") != std::string::npos) == (labels == "high-potassium"));
    CHECK(trained.find("without any label") == std::string::npos);
    succeeded(
        fmt::format("evaluate {} --checkpoint {} --bootstrap 20 --json {}", root, file, (out / "e.json").string()));
    const auto classes = nlohmann::json::parse(read_file(out / "e.json"))["metrics"]["classes"];
    REQUIRE(classes.size() == 1);
    CHECK(classes[0]["name"] == (labels == "low-lvef" ? "LVEF < 40 %" : "potassium > 5 mmol/l"));
  }
  for (const char* loss : {"bce", "weighted", "class_balanced"})
    succeeded(fmt::format("supervised {} --labels low-lvef --loss {} --balance-strategy stratified {} --out {}", root,
                          loss, kSmall, file));
  check_refused(fmt::format("supervised {} --labels low-lvef --drop-unlabelled --out {}", root, file), 2,
                {"--drop-unlabelled", "LVEF < 40 %"});
}

TEST_CASE("data sets: a label table on a data set in PTB-XL's layout") {
  const TemporaryFolder out;
  const fs::path table = out / "labels.csv";
  write_file(table, own_labels());
  const std::string how = fmt::format("--data-root {} --label-table {}", patients().string(), table.string());
  const std::string file = (out / "classifier.pt").string(), encoder = (out / "encoder.pt").string();
  const std::string pretrained = succeeded(
      fmt::format("pretrain {} --epochs 1 --batch-size 32 --width 4 --projection-hidden 16 --out {}", how, encoder));
  CHECK(pretrained.find("not known") == std::string::npos);  // signals are enough
  const std::string trained = succeeded(fmt::format(
      "finetune {} --ssl-checkpoint {} --freeze-encoder --label-fraction 1 --epochs 2 --out {}", how, encoder, file));
  CHECK(trained.find("left out, as the label is not known: ") != std::string::npos);
  succeeded(fmt::format("evaluate {} --checkpoint {} --bootstrap 20 --json {}", how, file, (out / "e.json").string()));
  const auto classes = nlohmann::json::parse(read_file(out / "e.json"))["metrics"]["classes"];
  REQUIRE(classes.size() == 2);
  CHECK(classes[0]["name"] == "weak_heart");

  check_refused(fmt::format("finetune {} --labels rhythm --out {}", how, file), 2, {"--labels", "--label-table"});
  write_file(table, "record,patient,x\n1,1,maybe\n");
  check_refused(fmt::format("finetune {} --out {}", how, file), 1, {table.string(), "line 2", "x is \"maybe\""});
  check_refused(fmt::format("finetune --data-root {} --label-table {} --out {}", patients().string(),
                            (out / "none.csv").string(), file),
                1, {"none.csv"});
}

TEST_CASE("data sets: a label table on WFDB files of another rate, and the files alone for pre-training") {
  const TemporaryFolder work;
  const fs::path root = work / "data", table = work / "labels.csv";
  write_plain_records(root, table);
  const std::string folder = "--data-root " + root.string(), how = folder + " --label-table " + table.string();
  const std::string encoder = (work / "encoder.pt").string(), file = (work / "classifier.pt").string();
  const std::string pretrained = succeeded(
      fmt::format("pretrain {} --epochs 1 --batch-size 32 --width 4 --projection-hidden 16 --out {}", folder, encoder));
  CHECK(pretrained.find("resampled: ") != std::string::npos);
  CHECK(pretrained.find("views of 400 samples") != std::string::npos);
  succeeded(fmt::format("finetune {} --ssl-checkpoint {} --label-fraction 1 --epochs 2 --out {}", how, encoder, file));
  const std::string evaluated = succeeded(fmt::format("evaluate {} --checkpoint {} --bootstrap 20", how, file));
  CHECK(evaluated.find("weak_heart") != std::string::npos);
  check_refused(fmt::format("supervised {} --out {}", folder, file), 1, {"--label-table"});
}
