// systole pack as a user runs it: what the other commands make of the file is what they make of the folder. And systole
// bench data, with scripts in place of wfdb-python.

#include <nlohmann/json.hpp>
#include <set>
#include <zlib.h>

#include "data/record_loader.h"
#include "data/wfdb.h"
#include "tests/support.h"
#include "tests/tools/expect.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

/// 60 synthetic patients, generated and packed once.
struct Patients {
  TemporaryFolder folder;
  fs::path root = folder / "data", pack = folder / "data.ecgs";
  std::string packed;  // what systole pack said
  Patients() {
    succeeded(fmt::format("generate --out {} --patients 60 --seed 4", root.string()));
    packed = succeeded(fmt::format("pack --data-root {} --out {}", root.string(), pack.string()));
  }
};
const Patients& patients() {
  static const Patients made;
  return made;
}

/// Runs a command on the folder and on the pack, and compares all files that it writes.
void check_same_files(const std::string& command, const std::string& result) {
  const TemporaryFolder out;
  for (const auto& [name, root] : {std::pair{"folder", patients().root}, std::pair{"pack", patients().pack}}) {
    fs::create_directory(out / name);
    succeeded(fmt::format("{} --data-root {} --out {}", command, root.string(), (out / name / result).string()));
  }
  INFO(command);
  const std::string from_folder = read_file(out / "folder" / result);
  CHECK(!from_folder.empty());
  CHECK((read_file(out / "pack" / result) == from_folder));
}

const std::string kTiny = "--epochs 2 --batch-size 16 --width 4 --device cpu";

}  // namespace

TEST_CASE("pack: a run from the pack gives the same bytes as from the folder") {
  CHECK(patients().packed.find("labels superclass, subclass, form, rhythm, all, low-lvef, high-potassium") !=
        std::string::npos);
  check_same_files("pretrain --projection-hidden 16 " + kTiny, "encoder.pt");
  for (const char* labels : {"", "--labels rhythm", "--labels high-potassium"})
    check_same_files(fmt::format("finetune {} --label-fraction 1 {}", labels, kTiny), "classifier.pt");
  check_same_files("views --record 3", "views.svg");

  const TemporaryFolder out;
  const std::string classifier = (out / "classifier.pt").string();
  succeeded(fmt::format("finetune --data-root {} --labels low-lvef {} --out {}", patients().pack.string(), kTiny,
                        classifier));
  check_same_files("embed --checkpoint " + classifier, "embeddings.csv");
  nlohmann::json metrics[2];
  for (const fs::path& root : {patients().root, patients().pack}) {
    succeeded(fmt::format("evaluate --data-root {} --checkpoint {} --bootstrap 20 --json {}", root.string(), classifier,
                          (out / "result.json").string()));
    metrics[root == patients().pack] = nlohmann::json::parse(read_file(out / "result.json"))["metrics"];
  }
  CHECK(!metrics[0].empty());
  CHECK(metrics[0] == metrics[1]);
}

TEST_CASE("pack: any number of threads writes the same file") {
  const TemporaryFolder out;
  for (const int threads : {1, 3}) {
    succeeded(fmt::format("pack --data-root {} --threads {} --out {}", patients().root.string(), threads,
                          (out / "again.ecgs").string()));
    CHECK((read_file(out / "again.ecgs") == read_file(patients().pack)));
  }
}

TEST_CASE("pack: a label table goes with a pack, or into it") {
  const TemporaryFolder out;
  const fs::path table = out / "labels.csv", own = out / "own.ecgs";
  std::string rows = "record,patient,odd\n";
  for (int id = 1; id <= 60; ++id) rows += fmt::format("{},P{},{}\n", id, id, id % 9 ? std::to_string(id % 2) : "");
  write_file(table, rows);
  // the patients of the table are others than PTB-XL's: its folds hold
  check_same_files(fmt::format("finetune --label-table {} --label-fraction 1 {}", table.string(), kTiny), "t.pt");

  succeeded(fmt::format("pack --data-root {} --label-table {} --out {}", patients().root.string(), table.string(),
                        own.string()));
  const std::string file = (out / "own.pt").string();
  const std::string folder_and_table = fmt::format("{} --label-table {}", patients().root.string(), table.string());
  std::vector<std::string> embeddings;
  for (const std::string& from : {folder_and_table, own.string()}) {
    succeeded(fmt::format("finetune --data-root {} --label-fraction 1 {} --out {}", from, kTiny, file));
    succeeded(fmt::format("embed --data-root {} --checkpoint {} --out {}", from, file, (out / "own.csv").string()));
    embeddings.push_back(read_file(out / "own.csv"));
  }
  CHECK((embeddings[0] == embeddings[1]));
  check_refused(fmt::format("finetune --data-root {} --labels rhythm --out {}", own.string(), (out / "x.pt").string()),
                2, {own.string(), "with the label sets table, not with rhythm"});
}

TEST_CASE("pack: WFDB records without labels, and a table for them later") {
  const TemporaryFolder out;
  const fs::path root = out / "wfdb", pack = out / "wfdb.ecgs", table = out / "labels.csv";
  std::string rows = "record,patient,odd\n";
  const std::vector<std::string> leads(data::kStandardLeads.begin(), data::kStandardLeads.end());
  for (int i = 0; i < 40; ++i) {
    std::vector<int16_t> samples(12 * 250);
    for (size_t s = 0; s < samples.size(); ++s) samples[s] = static_cast<int16_t>((s * (7 + i)) % 301);
    data::write_wfdb16(root / fmt::format("site/{}", i), 250, leads, 1000, "mV", 0, samples);
    rows += fmt::format("site/{},P{},{}\n", i, i, i % 2);
  }
  write_file(table, rows);
  const std::string packed = succeeded(fmt::format("pack --data-root {} --out {}", root.string(), pack.string()));
  CHECK(packed.find("no labels") != std::string::npos);
  CHECK(packed.find("resampled: 40") != std::string::npos);
  std::string bytes[2];
  for (const fs::path& data : {root, pack}) {
    const std::string file = (out / "c.pt").string();
    succeeded(fmt::format("supervised --data-root {} --label-table {} --label-fraction 1 {} --out {}", data.string(),
                          table.string(), kTiny, file));
    bytes[data == pack] = read_file(file);
  }
  CHECK((bytes[0] == bytes[1]));
  check_refused(fmt::format("finetune --data-root {} --labels rhythm --out {}", pack.string(), (out / "x.pt").string()),
                2, {pack.string(), "packed without labels, not with rhythm"});
}

TEST_CASE("pack: what cannot be packed, and files that are none") {
  const TemporaryFolder out;
  const std::string pack = patients().pack.string(), encoder = (out / "e.pt").string();
  check_refused(fmt::format("pack --data-root {} --out {}", pack, (out / "x.ecgs").string()), 2, {"--data-root", pack});
  check_refused(fmt::format("pack --data-root {} --out {}", patients().root.string(), (out / "none/x.ecgs").string()),
                1, {"none"});
  check_refused(fmt::format("pretrain --data-root {} --sampling-rate 500 --out {}", pack, encoder), 2,
                {pack, "packed at 100 Hz, not 500 Hz"});
  check_refused(fmt::format("finetune --data-root {} --labels aami --out {}", pack, encoder), 2,
                {pack, "not with aami"});
  check_refused(fmt::format("views --data-root {} --record 999999 --out {}", pack, (out / "v.svg").string()), 2,
                {"--record", "999999"});
  const fs::path broken = out / "broken.ecgs";
  write_file(broken, read_file(pack).substr(0, 100000));
  check_refused(fmt::format("pretrain --data-root {} --out {}", broken.string(), encoder), 1,
                {broken.string(), "100000 bytes"});
  std::string bytes = read_file(pack);
  bytes[bytes.size() - 1] ^= 1;
  write_file(broken, bytes);
  check_refused(
      fmt::format("embed --data-root {} --checkpoint {} --out {}", broken.string(), encoder, (out / "x.csv").string()),
      1, {encoder});
  check_refused(fmt::format("pack --data-root {} --out {}", (out / "nowhere").string(), (out / "x.ecgs").string()), 1,
                {"nowhere"});
  CHECK(!fs::exists(out / "x.ecgs"));
}

TEST_CASE("bench data: all ways are measured, and a peer must read the same samples") {
  const TemporaryFolder out;
  const fs::path json = out / "data.json", python = out / "python";
  const std::string base = fmt::format("bench data --data-root {} --samples 1 --threads 2 --json {}",
                                       patients().root.string(), json.string());
  succeeded(base + " --peer none --records 10,20,40");
  const auto result = nlohmann::json::parse(read_file(json));
  CHECK(result["peer"]["missing"] == "--peer none");
  CHECK(result["rows"].size() == 3 * 7);
  std::set<std::string> ways;
  for (const auto& row : result["rows"]) {
    ways.insert(row["by"].get<std::string>() + " " + row["cache"].get<std::string>());
    CHECK(row["seconds"].get<double>() > 0);
    CHECK(row["records_per_second"].get<double>() * row["seconds"].get<double>() ==
          doctest::Approx(row["records"].get<double>()));
  }
  CHECK(ways == std::set<std::string>{"wfdb warm", "wfdb cold", "pack warm", "pack cold", "read only cold"});
  CHECK(result["exponents"].size() == 7);

  const auto answer = [&](const std::string& crc) {
    write_file(python, fmt::format("#!/bin/sh\necho '{{\"name\": \"fake 1.0\"}}'\nwhile read question; do\n"
                                   "  if [ $question = check ]; then echo {}; else echo '{{\"seconds\": 12.5, "
                                   "\"cpu_seconds\": 10}}'; fi\ndone\n",
                                   crc));
    fs::permissions(python, fs::perms::owner_all);
    return base + " --records 10 --peer " + python.string();
  };
  check_refused(answer("1"), 1, {"fake 1.0 reads other samples than Systole"});

  data::LoadReport report;
  std::vector<data::RecordSource> sources;
  const std::string listed = read_file(patients().root / "ptbxl_database.csv");
  for (size_t at = 0; sources.size() < 10; ++at) {
    at = listed.find("records100/", at);
    const std::string name = listed.substr(at, listed.find(',', at) - at);
    sources.push_back({patients().root / name, name, static_cast<int64_t>(at), 1, 1, {}});
  }
  const data::Dataset first =
      data::load_records(sources, {.name = "", .label_set = "none", .classes = {}}, {.root = patients().root}, report);
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(first.samples.data()), first.samples.size() * 2);
  const std::string output = succeeded(answer(std::to_string(crc)));
  CHECK(output.find("peer fake 1.0") != std::string::npos);
  for (const auto& row : nlohmann::json::parse(read_file(json))["rows"])
    if (row["by"] == "pack" && row["cache"] == "warm")
      CHECK(row["times_as_fast_as_peer"].get<double>() == doctest::Approx(12.5 / row["seconds"].get<double>()));

  check_refused(base + " --records 10,100000", 2, {"--records", "100000"});
  check_refused(base + " --records 10,10", 2, {"--records", "10"});
  check_refused(base + " --peer " + (out / "nobody").string(), 2, {"--peer", "nobody"});
  check_refused(fmt::format("bench data --data-root {}", patients().pack.string()), 2, {"--data-root"});
}
