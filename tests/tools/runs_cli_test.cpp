// What a run says about itself: numbers that are not finite, networks that collapse, its record, and whether it can be
// repeated.

#include <cmath>

#include "engine/checkpoint/tensor_file.h"
#include "tests/tools/expect.h"
#include "tests/tools/process.h"
#include "tools/collapse_warning.h"
#include "tools/interruption.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

const std::string kPretrain =
    "pretrain --width 2 --projection-hidden 8 --projection-dim 4 --batch-size 5 --log-every 1";

std::string command(const std::string& options, const fs::path& out) {
  const char* threads = options.find("--threads") == std::string::npos ? " --threads 1" : "";
  return fmt::format("{}{} --data-root {} --out {}", options, threads, few_patients().string(), out.string());
}

std::vector<nlohmann::json> metrics_of(const fs::path& out) {
  std::vector<nlohmann::json> lines;
  std::ifstream file(out.parent_path() / (out.stem().string() + ".metrics.jsonl"));
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

void check_all_finite(const fs::path& model) {
  for (const auto& [section, arrays] : read_tensor_file(model).sections)
    for (const auto& [name, array] : arrays)
      for (const float value : array.to_float()) CHECK_MESSAGE(std::isfinite(value), name);
}

const std::string kDiverges = " --optimizer sgd --lr 1e30";

const std::string kLabelCurve =
    "label-curve --width 2 --fractions 0.5,1 --epochs 4 --arms scratch,frozen-random --bootstrap 10 --batch-size 8 "
    "--signal-length 80 --threads 2";

/// How many runs of a label curve are complete.
std::ptrdiff_t runs_in(const fs::path& curve) {
  std::error_code none;
  std::ptrdiff_t runs = 0;
  for (const auto& file : fs::directory_iterator(curve / "runs", none)) runs += file.path().extension() == ".json";
  return runs;
}

}  // namespace

TEST_CASE("runs: a loss that is not finite stops the run with its step, the records and the last good state") {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  check_refused(command(kPretrain + " --epochs 2 --loss moco" + kDiverges, out), 1,
                {"of step ", "no state was saved before it", "--on-nonfinite skip", "the records of its batch: "});
  check_refused(command(kPretrain + " --epochs 2 --save-every 0" + kDiverges, out), 1,
                {"of step ", " is ", "the last good state is ", "x.state, after step ", "the records of its batch: "});
  CHECK(!fs::exists(out));
  const Outcome resumed =
      run(command(kPretrain + " --epochs 2 --save-every 0 --on-nonfinite skip --resume" + kDiverges, out));
  CHECK_MESSAGE(resumed.code == 0, resumed.output);
  check_all_finite(out);
  check_refused(command("supervised --width 2 --batch-size 5 --epochs 3" + kDiverges, folder / "y.pt"), 1,
                {"of step ", "the records of its batch: "});
}

TEST_CASE("runs: steps that are not finite are skipped and counted, and leave no trace in the weights") {
  const TemporaryFolder folder;
  for (const std::string& options : std::vector<std::string>{
           kPretrain + " --epochs 2 --lr 1e30", kPretrain + " --epochs 2 --lr 1e30 --loss moco --queue-size 8",
           kPretrain + " --epochs 2 --lr 1e30 --method byol",
           "supervised --width 2 --batch-size 5 --epochs 2 --log-every 1 --lr 1e12"}) {
    CAPTURE(options);
    const fs::path out = folder / "x.pt";
    const std::string output = succeeded(command(options + " --on-nonfinite skip --optimizer sgd", out));
    CHECK(output.find(": the step is skipped, as all such steps will be; the records of its batch: ") !=
          std::string::npos);
    CHECK(output.find(" steps were skipped, since they were not finite") != std::string::npos);
    if (options.starts_with("pretrain")) check_all_finite(out);
    const std::vector<nlohmann::json> metrics = metrics_of(out);
    CHECK(metrics.back()["skipped_steps"].get<int>() > 0);
    const auto record = nlohmann::json::parse(read_file(folder / "x.run.json"));
    CHECK(record["skipped_steps"] == metrics.back()["skipped_steps"]);
  }
}

TEST_CASE("runs: alignment, uniformity and variance of the embeddings are logged where views are compared") {
  const TemporaryFolder folder;
  for (const std::string& options :
       std::vector<std::string>{kPretrain + " --epochs 1", kPretrain + " --epochs 1 --accumulate 2",
                                kPretrain + " --epochs 1 --method clocs --augment vcg crop.seconds=0.6 "
                                            "crop.disjoint=yes"}) {
    succeeded(command(options, folder / "x.pt"));
    const nlohmann::json line = metrics_of(folder / "x.pt").front();
    CHECK(line["alignment"].get<double>() >= 0);
    CHECK(line["alignment"].get<double>() <= 4);
    CHECK(line["uniformity"].get<double>() <= 0);
    CHECK(line["embedding_variance"].get<double>() > 0);
    CHECK(line["embedding_variance"].get<double>() <= 1);
  }
  succeeded(command("pretrain --method masked --signal-length 80 --width 2 --batch-size 5 --epochs 1 --log-every 1",
                    folder / "x.pt"));
  CHECK(!metrics_of(folder / "x.pt").front().contains("uniformity"));
}

TEST_CASE("runs: a network that does not learn is warned about once") {
  const TemporaryFolder folder;
  // Steps so small that nothing changes, at a temperature that makes all similarities alike.
  const std::string output =
      succeeded(command(kPretrain + " --epochs 4 --lr 1e-30 --temperature 1000", folder / "x.pt"));
  const size_t at = output.find("warning: the loss of epoch 2 stayed at ");
  CHECK(at != std::string::npos);
  CHECK(output.find("warning: the loss of epoch", at + 1) == std::string::npos);
  CHECK(succeeded(command(kPretrain + " --epochs 2 --lr 1e-30", folder / "y.pt")).find("stayed at") ==
        std::string::npos);
}

TEST_CASE("runs: info --run prints what is needed to repeat a run") {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  check_refused("info --run " + folder.path().string(), 1, {"no run lies there"});
  succeeded(command(kPretrain + " --epochs 1 --seed 7 --threads 1", out));
  const std::string text = succeeded("info --run " + out.string());
  for (const std::string& words :
       {std::string("complete, "), kPretrain, std::string("systole 0."), std::string("commit "), std::string("cpu"),
        std::string("checksum of the records: "), std::string("x.metrics.jsonl"), std::string("--lr: 0.001"),
        "systole reproduce " + out.string()})
    CHECK_MESSAGE(text.find(words) != std::string::npos, (words + "\n" + text));
  CHECK(text.find("checksum of the records: 00000000") == std::string::npos);
  CHECK(succeeded("info --run " + folder.path().string()) == text);
  succeeded(command(kPretrain + " --epochs 1", folder / "y.pt"));
  check_refused("info --run " + folder.path().string(), 1, {"holds several runs: x.run.json, y.run.json; name one"});

  Process stopped(command(kPretrain + " --epochs 5000 --save-every 0", folder / "z.pt"));
  stopped.run_until([&] { return fs::exists(folder / "z.state.previous"); });
  CHECK(stopped.end(SIGTERM).code == 143);
  CHECK(succeeded("info --run " + (folder / "z.pt").string()).find("stopped; the same command with --resume goes on") !=
        std::string::npos);
}

TEST_CASE("runs: reproduce makes a run again and finds the same bits, or says what differs first") {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt", classifier = folder / "c.safetensors", record = folder / "x.run.json";
  succeeded(command(kPretrain + " --epochs 2 --save-init=" + (folder / "init.pt").string(), out) + " --resume");
  const std::string init = read_file(folder / "init.pt");
  const auto init_written = fs::last_write_time(folder / "init.pt");
  CHECK(succeeded("reproduce " + out.string()).find("reproduced, bit for bit: ") != std::string::npos);
  CHECK(fs::last_write_time(folder / "init.pt") == init_written);
  succeeded(
      command(fmt::format("finetune --batch-size 5 --epochs 2 --label-fraction 1 --ssl-checkpoint {}", out.string()),
              classifier));
  succeeded("reproduce " + classifier.string());

  const std::string metrics = read_file(folder / "x.metrics.jsonl"), model = read_file(out);
  write_file(folder / "x.metrics.jsonl", metrics + "{}\n");
  check_refused("reproduce " + out.string(), 1, {"x.pt: it or its metrics are not as the run left them"});
  write_file(folder / "x.metrics.jsonl", metrics);

  auto other = nlohmann::ordered_json::parse(read_file(record));
  other["command"].push_back("--seed=43");
  write_file(record, other.dump());
  check_refused("reproduce " + out.string(), 1, {"x.pt is not reproduced: encoder.", "element 0 was "});
  other["command"].back() = "--log-every=7";
  other["command"].erase(std::find(other["command"].begin(), other["command"].end(), "--log-every"));
  other["command"].erase(std::find(other["command"].begin(), other["command"].end(), "1"));
  write_file(record, other.dump());
  check_refused("reproduce " + out.string(), 1, {"x.metrics.jsonl is not reproduced: line "});
  other["command"][1] = "generate";
  write_file(record, other.dump());
  check_refused("reproduce " + out.string(), 1, {"x.pt: its record names the command 'generate'"});
}

TEST_CASE("runs: a label curve has a record for its folder, and is reproduced as a whole") {
  const TemporaryFolder folder;
  const fs::path curve = folder / "curve", record = curve / "label_curve.run.json";
  const std::string options =
      "label-curve --width 2 --fractions 0.5,1 --epochs 2 --seeds 1,2 --arms scratch,frozen-random --bootstrap 10 "
      "--batch-size 8 --signal-length 80 --jobs 2 --threads 2";
  succeeded(command(options, curve / "") + " --resume");
  CHECK(!fs::exists(curve / "label_curve.state"));
  const std::string text = succeeded("info --run " + curve.string());
  for (const std::string words : {"curve/label_curve.json", "complete, ", options.c_str(), "systole 0.",
                                  "checksum of the records: ", "--epochs: {", "--lr-scratch: 0.001", "--seeds: 1 2",
                                  "  label_curve.csv", "  runs", "systole reproduce "})
    CHECK_MESSAGE(text.find(words) != std::string::npos, (words + "\n" + text));
  for (const char* absent : {"\nseed ", "--jobs: ", "null"})
    CHECK_MESSAGE(text.find(absent) == std::string::npos, text);
  CHECK(succeeded("info --run " + (curve / "label_curve.json").string()) == text);
  const std::string whole = read_file(curve / "label_curve.json");
  CHECK(succeeded("reproduce " + curve.string()).find("reproduced, bit for bit: ") != std::string::npos);
  CHECK(read_file(curve / "label_curve.json") == whole);

  const fs::path one = curve / "runs/scratch_0.5_2.json";
  const std::string made = read_file(one);
  write_file(one, "{}");
  check_refused("reproduce " + curve.string(), 1, {"label_curve.json: it or its runs are not as the run left them"});
  write_file(one, made);
  auto other = nlohmann::ordered_json::parse(read_file(record));
  other["command"].push_back("--lr-scratch=0.1");
  write_file(record, other.dump());
  check_refused("reproduce " + curve.string(), 1,
                {"curve is not reproduced: runs/scratch_0.5_1.json: /", " was ", " and is "});
  other["command"].back() = "--bootstrap=11";
  other["command"].erase(std::find(other["command"].begin(), other["command"].end(), "--bootstrap"));
  other["command"].erase(std::find(other["command"].begin(), other["command"].end(), "10"));
  write_file(record, other.dump());
  check_refused("reproduce " + curve.string(), 1,
                {"curve is not reproduced: label_curve.json: /settings/bootstrap replicates was 10 and is 11"});
}

TEST_CASE("runs: of a label curve that was stopped, and of one that grows, info --run says what goes on") {
  const TemporaryFolder folder;
  const fs::path curve = folder / "curve";
  const std::string options =
      "label-curve --width 2 --fractions 1 --epochs 1 --arms scratch --bootstrap 10 --batch-size 8 --signal-length 80";
  const std::string more = options + " --seeds 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20";
  succeeded(command(options + " --seeds 1", curve));
  const std::string finished = read_file(curve / "label_curve.run.json");
  Process stopped(command(more, curve));
  stopped.run_until([&] { return fs::exists(curve / "runs/scratch_1_2.json"); });
  CHECK(stopped.end(SIGKILL).code == 128 + SIGKILL);
  const std::string text = succeeded("info --run " + curve.string());
  CHECK_MESSAGE(text.find("stopped; the same command with --resume goes on") != std::string::npos, text);
  CHECK(text.find(more) != std::string::npos);
  check_refused("reproduce " + curve.string(), 1, {"label_curve.json: the run was stopped"});
  CHECK(read_file(curve / "label_curve.run.json") == finished);  // of what still stands there
  succeeded("reproduce " + (curve / "label_curve.run.json").string());

  write_file(curve / "label_curve.state", "damaged");  // holds nothing that the curve needs
  succeeded(command(options + " --seeds 1,2", curve));
  for (const char* gone : {"label_curve.state", "label_curve.state.previous"}) CHECK(!fs::exists(curve / gone));
  const auto before = nlohmann::json::parse(finished),
             after = nlohmann::json::parse(read_file(curve / "label_curve.run.json"));
  CHECK(after["results"]["runs"] != before["results"]["runs"]);
  CHECK(after["settings"]["--seeds"] == "1 2");
  succeeded("reproduce " + curve.string());
}

TEST_CASE("runs: the first signal is noted, and a second one ends the process") {
  std::signal(SIGINT, SIG_DFL);  // a shell lets what it starts in the background ignore it
  for (const int signal : {SIGINT, SIGTERM}) {
    const tools::SignalWatch watch;
    CHECK(tools::SignalWatch::signal() == 0);
    const int standard_error = ::dup(STDERR_FILENO);
    ::close(STDERR_FILENO);  // so that its word to the user fails
    errno = ENOENT;
    std::raise(signal);
    CHECK(errno == ENOENT);  // of the code that the signal stopped
    ::dup2(standard_error, STDERR_FILENO);
    ::close(standard_error);
    CHECK(tools::SignalWatch::signal() == signal);
    for (const int second : {SIGINT, SIGTERM}) {
      struct sigaction action {};
      REQUIRE(sigaction(second, nullptr, &action) == 0);
      CHECK((action.sa_handler == SIG_DFL));
    }
  }
}

TEST_CASE("label-curve: killed at any moment it goes on to the same results; a second one is refused") {
  const std::string options = kLabelCurve + " --seeds 1,2,3 --resume";
  const auto without_seconds = [](const fs::path& folder) {
    std::string csv;
    std::ifstream file(folder / "label_curve.csv");
    for (std::string line; std::getline(file, line);) csv += line.substr(0, line.rfind(',')) + "\n";
    return csv;
  };
  const TemporaryFolder folder;
  const fs::path curve = folder / "curve";
  succeeded(command(options, folder / "expected"));
  for (const std::ptrdiff_t more : {1, 0, 2}) {
    Process process(command(options, curve));
    const std::ptrdiff_t enough = runs_in(curve) + more;
    process.run_until([&] { return fs::exists(curve / "lock") && runs_in(curve) >= enough; });
    if (more == 1) {
      process.send(SIGSTOP);
      check_refused(command(options, curve), 1, {"is being written by process ", "curve/lock"});
    }
    CHECK(process.end(SIGKILL).code == 128 + SIGKILL);
  }
  CHECK(runs_in(curve) < 12);
  succeeded(command(options, curve));
  CHECK(without_seconds(curve) == without_seconds(folder / "expected"));
  for (const auto& file : fs::directory_iterator(curve / "runs"))
    CHECK_MESSAGE(file.path().extension() == ".json", file.path().string());
  CHECK(!fs::exists(curve / "lock"));
}

TEST_CASE("label-curve: Ctrl-C and SIGTERM, which may reach its workers too, let the runs at work end") {
  std::signal(SIGINT, SIG_DFL);  // a shell lets what it starts in the background ignore it
  const TemporaryFolder folder;
  std::ptrdiff_t before = 0;
  for (const int signal : {SIGINT, SIGTERM}) {
    Process process(command(kLabelCurve + " --seeds 1,2,3,4,5,6,7,8,9,10", folder / "curve"));
    process.run_until([&] { return runs_in(folder / "curve") > before; });
    process.send_to_all(signal);
    const Outcome stopped = process.wait();
    INFO(stopped.output);
    CHECK(stopped.code == 128 + signal);
    CHECK(stopped.output.find("runs made, which stay: the same command goes on") != std::string::npos);
    CHECK(!fs::exists(folder / "curve" / "lock"));
    CHECK(runs_in(folder / "curve") > before);
    before = runs_in(folder / "curve");
  }
}
