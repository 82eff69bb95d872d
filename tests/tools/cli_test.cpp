// The program as a user meets it: every command on a small synthetic data set, and every wrong input with its sentence
// and exit code.

#include <nlohmann/json.hpp>

#include "benchmarks/call_work.h"
#include "kernels/common/device.h"
#include "tests/support.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole::test;

namespace {

/// 150 synthetic patients, generated once.
const fs::path& dataset() {
  static const TemporaryFolder folder;
  static const fs::path root = [] {
    const Outcome made = run(fmt::format("generate --out {} --patients 150 --seed 3", (folder / "data").string()));
    REQUIRE_MESSAGE(made.code == 0, made.output);
    return folder / "data";
  }();
  return root;
}

/// A copy of the data set that a test may damage.
fs::path copy_of_dataset(const TemporaryFolder& folder) {
  fs::copy(dataset(), folder / "data", fs::copy_options::recursive);
  return folder / "data";
}

/// A file of the first record of the csv that belongs to a training fold: …,FOLD,records100/….
fs::path training_record(const fs::path& root, const std::string& extension) {
  std::istringstream csv(read_file(root / "ptbxl_database.csv"));
  const std::string before_name = ",records100/";
  for (std::string line; std::getline(csv, line);) {
    const size_t at = line.find(before_name);
    if (at == std::string::npos) continue;
    const int fold = std::stoi(line.substr(line.rfind(',', at - 1) + 1));
    if (fold <= 8) return root / (line.substr(at + 1, line.find(',', at + 1) - at - 1) + extension);
  }
  FAIL("no training record");
  return {};
}

constexpr const char* kSmallPretrain = "--epochs 1 --batch-size 32 --width 4 --projection-hidden 16 --projection-dim 8";

/// Everything that lies in a folder, by name.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// Runs a command that must fail, with this code and with these words in its only line, and must leave nothing in
/// `out`.
void check_refused(const std::string& arguments, int code, const std::vector<std::string>& words, const fs::path& out) {
  const Outcome outcome = run(arguments);
  INFO(arguments << "\n" << outcome.output);
  CHECK(outcome.code == code);
  const size_t last_line = outcome.output.rfind('\n', outcome.output.size() - 2);
  const std::string sentence = outcome.output.substr(last_line == std::string::npos ? 0 : last_line + 1);
  CHECK(sentence.rfind("systole: ", 0) == 0);
  for (const std::string& word : words) CHECK_MESSAGE(sentence.find(word) != std::string::npos, word);
  CHECK(names_in(out).empty());
}

}  // namespace

TEST_CASE("tools: pretrain, finetune, supervised and evaluate run on each other's files") {
  const TemporaryFolder out;
  const std::string root = "--data-root " + dataset().string();
  const std::string encoder = (out / "encoder.pt").string(), classifier = (out / "classifier.pt").string();
  const Outcome pretrained = run(fmt::format("pretrain {} {} --out {} --save-init {} --log-every 1", root,
                                             kSmallPretrain, encoder, (out / "init.safetensors").string()));
  REQUIRE_MESSAGE(pretrained.code == 0, pretrained.output);
  CHECK(fs::exists(out / "init.safetensors"));
  std::istringstream log(read_file(out / "encoder.metrics.jsonl"));
  std::string line;
  size_t lines = 0;
  while (std::getline(log, line)) {
    const auto entry = nlohmann::json::parse(line);
    CHECK((entry.contains("loss") || entry.contains("mean_loss")));
    ++lines;
  }
  CHECK(lines >= 4);

  const std::string small = "--epochs 2 --batch-size 16 --label-fraction 0.3";
  for (const std::string& how : {std::string("--freeze-encoder"), std::string()}) {
    const Outcome tuned =
        run(fmt::format("finetune {} {} --ssl-checkpoint {} {} --out {}", root, small, encoder, how, classifier));
    REQUIRE_MESSAGE(tuned.code == 0, tuned.output);
    const Outcome evaluated = run(fmt::format("evaluate {} --checkpoint {} --json {} --bootstrap 50", root, classifier,
                                              (out / "e.json").string()));
    REQUIRE_MESSAGE(evaluated.code == 0, evaluated.output);
    CHECK(evaluated.output.find("macro") != std::string::npos);
    const auto json = nlohmann::json::parse(read_file(out / "e.json"));
    CHECK(json["folds"] == std::vector<int>{10});
    CHECK(json.contains("metrics"));
  }
  const Outcome selected =
      run(fmt::format("evaluate {} --checkpoint {} --folds 9,10 --bootstrap 10", root, classifier));
  CHECK(selected.output.find("fold 9 was used for model selection: this is no test result") != std::string::npos);
  for (const char* options : {"--loss weighted", "--loss class_balanced", "--loss bce --balance-strategy stratified"}) {
    const Outcome scratch =
        run(fmt::format("supervised {} {} --width 4 --out {} {}", root, small, classifier, options));
    CHECK_MESSAGE(scratch.code == 0, scratch.output);
  }
}

TEST_CASE("tools: the same seed gives the same bytes for any number of threads, another seed other ones") {
  const TemporaryFolder out;
  const auto encoder = [&](const char* file, const std::string& options) {
    const Outcome outcome = run(fmt::format("pretrain --data-root {} {} --out {} {}", dataset().string(),
                                            kSmallPretrain, (out / file).string(), options));
    REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
    return read_file(out / file);
  };
  const std::string one = encoder("a.safetensors", "--threads 1");
  CHECK(one == encoder("b.safetensors", "--threads 3"));
  CHECK(one != encoder("c.safetensors", "--seed 43"));
}

TEST_CASE("tools: help lists the commands and every option with its default") {
  const Outcome commands = run("--help");
  CHECK(commands.code == 0);
  for (const char* name : {"generate", "pack", "pretrain", "finetune", "supervised", "evaluate", "label-curve", "embed",
                           "views", "bench", "info", "reproduce"})
    CHECK(commands.output.find(name) != std::string::npos);
  const Outcome pretrain = run("pretrain --help");
  CHECK(pretrain.code == 0);
  for (const char* text : {"--temperature", "0.07", "--batch-size", "256", "--epochs", "20", "--seed", "42"})
    CHECK_MESSAGE(pretrain.output.find(text) != std::string::npos, text);
}

TEST_CASE("tools: info names devices, kernels, encoders with their sizes, losses and recipes") {
  const Outcome info = run("info");
  CHECK(info.code == 0);
  CHECK(info.output.find("conv1d.forward                     cpu simt cuda\n") != std::string::npos);
  for (const char* text : {"cpu", "simt", "cuda", "538624 parameters", "539909", "simclr", "focal", "simple"})
    CHECK_MESSAGE(info.output.find(text) != std::string::npos, text);
}

TEST_CASE("tools: docs/step_launches.md lists what a GPU is given in a step, and every kernel's work is counted") {
  const Outcome page = run("bench step --launches --augment ssrl --precision bf16");
  REQUIRE(page.code == 0);
  const std::string table = page.output.substr(page.output.find("One step of"));
  CHECK_MESSAGE(read_file(fs::path(SYSTOLE_SOURCE_DIR) / "docs/step_launches.md").find(table) != std::string::npos,
                "the table of docs/step_launches.md is not what its command prints");
  // The convolutions of the encoder's six layers, forward and two gradients, by hand: two views of 128 records.
  const double flop = 2.0 * 256 *
                      (2.0 * 500 * 11 * 12 * 64 + 3.0 * 500 * 7 * 64 * 64 + 3.0 * 250 * 7 * 64 * 128 +
                       3.0 * 250 * 5 * 128 * 128 + 3.0 * 125 * 5 * 128 * 256 + 3.0 * 125 * 3 * 256 * 256);
  double sum = 0;
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string> cells;
    std::istringstream cell(line);
    for (std::string text; std::getline(cell, text, '|');) cells.push_back(text);
    if (line.starts_with("| `conv1d.")) sum += std::stod(cells.at(6));
  }
  CHECK(1e9 * sum == doctest::Approx(flop).epsilon(0.01));
  const std::string index = run("info --kernels").output;
  for (size_t at = index.find("| `"); at != std::string::npos; at = index.find("| `", at + 1)) {
    const std::string kernel = index.substr(at + 3, index.find('`', at + 3) - at - 3);
    CHECK_MESSAGE(systole::benchmarks::is_counted(kernel), kernel);
  }
  for (const char* more : {"--batch-size 2,4", "--length 10,20", "--profile"})
    CHECK(run(fmt::format("bench step --launches {}", more)).code == 2);
}

TEST_CASE("tools: docs/kernels.md says what the kernel tables hold") {
  const Outcome kernels = run("info --kernels");
  CHECK(kernels.code == 0);
  CHECK_MESSAGE(kernels.output == read_file(fs::path(SYSTOLE_SOURCE_DIR) / "docs/kernels.md"),
                "run: systole info --kernels > docs/kernels.md");
}

TEST_CASE("tools: a recipe is printed, changed in a file and on the command line, and kept in the encoder's file") {
  const TemporaryFolder out;
  const Outcome ssrl = run("info --recipe ssrl");
  CHECK(ssrl.code == 0);
  const auto recipe = nlohmann::json::parse(ssrl.output);
  CHECK(recipe["augmentations"]["mixup"] == nlohmann::json{{"p", 0.4}, {"alpha", 0.2}});
  const fs::path file = out / "mine.json";
  std::ofstream(file) << ssrl.output;
  const std::string encoder = (out / "encoder.safetensors").string();
  const Outcome trained = run(fmt::format(
      "pretrain --data-root {} --out {} --epochs 1 --batch-size 32 --width 2 --projection-hidden 8 --recipe {} "
      "--augment no-mixup crop.seconds=2 crop.disjoint=yes lead_noise.fraction=0.1:0.2",
      dataset().string(), encoder, file.string()));
  REQUIRE_MESSAGE(trained.code == 0, trained.output);
  CHECK(trained.output.find("views of 200 samples") != std::string::npos);
  const std::string written = read_file(encoder);
  CHECK(written.find("cutmix") != std::string::npos);
  CHECK(written.find("mixup") == std::string::npos);
}

TEST_CASE("tools: bad recipes are refused") {
  const TemporaryFolder out;
  const std::string command =
      fmt::format("pretrain --data-root {} --out {} ", dataset().string(), (out / "x.pt").string());
  check_refused(command + "--augment ssrl mixup.p=1.5", 2, {"mixup.p=1.5", "between 0 and 1"}, out.path());
  check_refused(command + "--augment ssrl nonsense.p=1", 2, {"unknown augmentation 'nonsense'", "mixup"}, out.path());
  check_refused(command + "--augment mixup", 2, {"mixup.p=0.5"}, out.path());
  check_refused(command + "--augment ssrl band_pass.high_hz=60:80", 2, {"band_pass.high_hz", "60 Hz", "100 Hz"},
                out.path());
  check_refused(command + "--augment none crop.seconds=30", 2, {"3000 samples", "1000"}, out.path());
  check_refused(command + "--augment none crop.seconds=6 crop.disjoint=yes", 2, {"2 segments of 600", "1000"},
                out.path());
  check_refused(command + "--augment none crop.seconds=5 --signal-length 400", 2, {"--signal-length", "500"},
                out.path());
  check_refused(command + "--recipe missing.json", 2, {"missing.json"}, out.path());
}

TEST_CASE("tools: bench augment measures the recipe and each augmentation") {
  const TemporaryFolder out;
  const fs::path json = out / "bench.json";
  const Outcome bench =
      run("bench augment --augment vcg --batch-size 2 --length 100 --samples 1 --json " + json.string());
  REQUIRE_MESSAGE(bench.code == 0, bench.output);
  const auto result = nlohmann::json::parse(read_file(json));
  CHECK(result["rows"][0]["augmentation"] == "vcg");
  CHECK(result["rows"].size() >= 20);
  CHECK(result["rows"][0]["bytes"] == 2 * 2 * 100 * 12 * 6);
  const TemporaryFolder empty;
  check_refused("bench augment --length 0", 2, {"--length", "between 1 and 10000"}, empty.path());
}

TEST_CASE("tools: the same commands run on simt, with the losses of the cpu") {
  const TemporaryFolder out;
  REQUIRE(run(fmt::format("generate --out {} --patients 14 --seed 5", (out / "data").string())).code == 0);
  const std::string root = "--data-root " + (out / "data").string();
  const auto losses = [&](const std::string& name, const std::string& device) {
    const Outcome outcome = run(
        fmt::format("pretrain {} --out {} --epochs 1 --batch-size 4 --width 2 --projection-hidden 8 --projection-dim 4 "
                    "--signal-length 64 --optimizer sgd --lr 0.05 --temperature 0.5 --log-every 1 --augment ssrl {}",
                    root, (out / (name + ".safetensors")).string(), device));
    REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
    std::vector<double> values;
    std::istringstream log(read_file(out / (name + ".metrics.jsonl")));
    for (std::string line; std::getline(log, line);)
      if (const auto entry = nlohmann::json::parse(line); entry.contains("loss")) values.push_back(entry["loss"]);
    CHECK(outcome.output.rfind("device " + name.substr(0, name.find('-')), 0) == 0);  // the first line
    return values;
  };
  const std::vector<double> cpu = losses("cpu", "--device cpu"), simt = losses("simt", "--device simt");
  REQUIRE(cpu.size() >= 2);
  REQUIRE(cpu.size() == simt.size());
  for (size_t i = 0; i < cpu.size(); ++i) CHECK(simt[i] == doctest::Approx(cpu[i]).epsilon(1e-3));

  const std::vector<double> bf16 = losses("simt-bf16", "--device simt --precision bf16");
  CHECK(bf16 != simt);
  const std::vector<double> emulated = losses("cpu-bf16", "--device cpu --precision bf16");
  CHECK(emulated != cpu);
  for (size_t i = 0; i < cpu.size(); ++i) {
    CHECK(bf16[i] == doctest::Approx(cpu[i]).epsilon(0.05));
    CHECK(emulated[i] == doctest::Approx(cpu[i]).epsilon(0.05));
  }
  const std::string file = read_file(out / "simt-bf16.safetensors");
  for (const char* text : {R"(\"device\": \"simt\")", R"(\"precision\": \"bf16\")", R"(\"conv\": \"systole\")"})
    CHECK_MESSAGE(file.find(text) != std::string::npos, text);

  const std::string classifier = (out / "classifier.pt").string(), encoder = (out / "simt.safetensors").string();
  for (const char* how : {"--freeze-encoder", ""}) {
    const Outcome tuned =
        run(fmt::format("finetune {} --ssl-checkpoint {} --epochs 1 --batch-size 8 --out {} {} "
                        "--device simt",
                        root, encoder, classifier, how));
    REQUIRE_MESSAGE(tuned.code == 0, tuned.output);
  }
  std::vector<std::string> reports;
  for (const char* device : {"cpu", "simt"}) {
    const fs::path json = out / (std::string(device) + ".json");
    const Outcome evaluated = run(fmt::format("evaluate {} --checkpoint {} --bootstrap 10 --json {} --device {}", root,
                                              classifier, json.string(), device));
    REQUIRE_MESSAGE(evaluated.code == 0, evaluated.output);
    const auto report = nlohmann::json::parse(read_file(json));
    CHECK(report["device"] == device);
    reports.push_back(report["metrics"].dump());
  }
  CHECK(reports[0] == reports[1]);
}

TEST_CASE("tools: wrong usage ends with code 2 and names the option and what was expected") {
  const TemporaryFolder out;
  const std::string root = "--data-root " + dataset().string(), file = "--out " + (out / "x.pt").string();
  check_refused(fmt::format("pretrain {} {} --frobnicate", root, file), 2, {"--frobnicate"}, out.path());
  check_refused("frobnicate", 2, {"unknown command 'frobnicate'", "pretrain"}, out.path());
  check_refused("", 2, {"subcommand"}, out.path());
  check_refused("pretrain " + root, 2, {"--out"}, out.path());
  for (const char* fraction : {"0", "2", "-0.1", "nan"})
    check_refused(fmt::format("finetune {} {} --label-fraction {}", root, file, fraction), 2,
                  {"--label-fraction", "above 0 and at most 1", fraction}, out.path());
  check_refused(fmt::format("pretrain {} {} --temperature 0", root, file), 2, {"--temperature", "positive"},
                out.path());
  check_refused(fmt::format("pretrain {} {} --epochs 0", root, file), 2, {"--epochs", "at least 1"}, out.path());
  check_refused(fmt::format("pretrain {} {} --epochs three", root, file), 2, {"--epochs", "three"}, out.path());
  check_refused(fmt::format("pretrain {} {} --augment harsh", root, file), 2, {"harsh", "none, ssrl, vcg"}, out.path());
  check_refused(fmt::format("pretrain {} {} --device tpu", root, file), 2, {"tpu", "auto, cpu, simt or cuda"},
                out.path());
  check_refused(fmt::format("pretrain {} {} --precision f16", root, file), 2, {"f16", "f32, tf32 or bf16"}, out.path());
  for (const char* device : {"cpu", "simt"})
    check_refused(fmt::format("supervised {} {} --device {} --conv cudnn", root, file, device), 2,
                  {"cudnn needs the device cuda", device}, out.path());
  check_refused(fmt::format("pretrain {} {} --conv mine", root, file), 2, {"mine", "wgmma or cudnn"}, out.path());
  if (!systole::is_available(systole::Device::cuda))
    check_refused(fmt::format("pretrain {} {} --device cuda", root, file), 2, {"the device cuda cannot be used"},
                  out.path());
  check_refused(fmt::format("pretrain {} {} --signal-length 5000", root, file), 2,
                {"--signal-length", "1000 samples", "5000"}, out.path());
  check_refused(fmt::format("pretrain {} --out {}", root, (out / "x.bin").string()), 2, {"x.bin", ".pt"}, out.path());
  check_refused(fmt::format("generate --out {} --patients 0", (out / "d").string()), 2, {"--patients"}, out.path());
  check_refused(fmt::format("finetune {} {} --ssl-checkpoint {}", root, file, (out / "x.pt").string()), 2,
                {"--out", "--ssl-checkpoint"}, out.path());
  check_refused(fmt::format("supervised {} {} --loss hinge", root, file), 2, {"--loss", "hinge"}, out.path());
}

TEST_CASE("tools: missing and damaged files end with code 1, name the file and leave nothing behind") {
  const TemporaryFolder work, out;
  const std::string file = "--out " + (out / "x.pt").string();
  const auto pretrain = [&](const fs::path& root) {
    return fmt::format("pretrain --data-root {} {} {}", root.string(), kSmallPretrain, file);
  };
  check_refused(pretrain(work / "nowhere"), 1, {"nowhere"}, out.path());
  check_refused(fmt::format("pretrain --data-root {} --out {}", dataset().string(), (out / "no/such/x.pt").string()), 1,
                {"no/such"}, out.path());

  SUBCASE("truncated samples") {
    const fs::path root = copy_of_dataset(work), dat = training_record(root, ".dat");
    fs::resize_file(dat, 23'000);
    check_refused(pretrain(root), 1, {dat.stem().string(), "23000", "24000"}, out.path());
    const Outcome skipped = run(pretrain(root) + " --skip-bad-records");
    CHECK(skipped.code == 0);
    CHECK(skipped.output.find("1") != std::string::npos);
  }
  SUBCASE("malformed header") {
    const fs::path root = copy_of_dataset(work), hea = training_record(root, ".hea");
    write_file(hea, "00001_lr twelve 100 1000\n");
    check_refused(pretrain(root), 1, {hea.filename().string(), "twelve"}, out.path());
  }
  SUBCASE("wrong checksum") {
    const fs::path root = copy_of_dataset(work), dat = training_record(root, ".dat");
    std::string bytes = read_file(dat);
    bytes[100] = static_cast<char>(bytes[100] + 1);
    write_file(dat, bytes);
    check_refused(pretrain(root), 1, {dat.stem().string(), "checksum"}, out.path());
  }
  SUBCASE("unknown format") {
    const fs::path root = copy_of_dataset(work), hea = training_record(root, ".hea");
    std::string text = read_file(hea);
    const size_t at = text.find(".dat 16 ");
    REQUIRE(at != std::string::npos);
    text.replace(at, 8, ".dat 17 ");
    write_file(hea, text);
    check_refused(pretrain(root), 1, {hea.filename().string(), "17"}, out.path());
  }
  SUBCASE("a csv without a column") {
    const fs::path root = copy_of_dataset(work), csv = root / "ptbxl_database.csv";
    std::string text = read_file(csv);
    text.replace(text.find("strat_fold"), 10, "some_thing");
    write_file(csv, text);
    check_refused(pretrain(root), 1, {"ptbxl_database.csv", "strat_fold"}, out.path());
  }
  SUBCASE("a fold that is not there") {
    const fs::path root = copy_of_dataset(work), csv = root / "ptbxl_database.csv";
    std::istringstream text(read_file(csv));
    std::string kept, line;
    while (std::getline(text, line))
      if (line.find(",9,records100/") == std::string::npos) kept += line + "\n";
    write_file(csv, kept);
    check_refused(fmt::format("supervised --data-root {} --width 4 {}", root.string(), file), 1, {"fold", "9"},
                  out.path());
  }
}

TEST_CASE("tools: checkpoints that do not fit are refused with a sentence") {
  const TemporaryFolder work, out;
  const std::string root = "--data-root " + dataset().string(), file = "--out " + (out / "x.pt").string();
  const fs::path encoder = work / "encoder.safetensors";
  REQUIRE(run(fmt::format("pretrain {} {} --out {}", root, kSmallPretrain, encoder.string())).code == 0);

  check_refused(fmt::format("finetune {} {} --ssl-checkpoint {}", root, file, (work / "none.pt").string()), 1,
                {"none.pt"}, out.path());
  check_refused(fmt::format("evaluate {} --checkpoint {} --json {}", root, encoder.string(), (out / "e.json").string()),
                1, {"encoder.safetensors", "no classifier"}, out.path());

  // Another shape: the width of one layer is changed in the header, and with it nothing else.
  std::string bytes = read_file(encoder);
  const size_t at = bytes.find("[16,16,3]");
  REQUIRE(at != std::string::npos);
  bytes.replace(at, 9, "[48,16,1]");
  write_file(work / "shape.safetensors", bytes);
  check_refused(fmt::format("finetune {} {} --ssl-checkpoint {}", root, file, (work / "shape.safetensors").string()), 1,
                {"shape.safetensors", "features.5.block.0.weight", "[48, 16, 1]", "[16, 16, 3]"}, out.path());

  write_file(work / "text.pt", "this is not a checkpoint");
  check_refused(fmt::format("finetune {} {} --ssl-checkpoint {}", root, file, (work / "text.pt").string()), 1,
                {"text.pt"}, out.path());
}

TEST_CASE("tools: generate refuses a folder that holds something and leaves it as it is") {
  const TemporaryFolder out;
  write_file(out / "data/notes.txt", "mine");
  const Outcome outcome = run(fmt::format("generate --out {} --patients 3", (out / "data").string()));
  CHECK(outcome.code == 1);
  CHECK(outcome.output.find("data") != std::string::npos);
  CHECK(names_in(out / "data") == std::vector<std::string>{"notes.txt"});
  CHECK(names_in(out.path()) == std::vector<std::string>{"data"});
}
