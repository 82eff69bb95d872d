// Runs that are ended at any moment, by kill -9, by a signal, by a full disk, with states that are damaged afterwards,
// go on with --resume to the bits of a run that nothing has ended.

#include "kernels/common/philox.h"
#include "tests/tools/expect.h"
#include "tests/tools/process.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

const std::string kPretrainAny =
    "pretrain --width 2 --projection-hidden 8 --projection-dim 4 --batch-size 5 --log-every 2 --schedule cosine "
    "--signal-length 80";
const std::string kSupervisedAny =
    "supervised --width 2 --batch-size 5 --log-every 2 --select auroc --signal-length 80";
const std::string kShort = " --epochs 6 --save-every 0";
const std::string kPretrain = kPretrainAny + kShort, kSupervised = kSupervisedAny + kShort;

/// A command on the few patients with --out.
std::string command(const std::string& options, const fs::path& out) {
  const char* threads = options.find("--threads") == std::string::npos ? " --threads 1" : "";
  return fmt::format("{}{} --data-root {} --out {}", options, threads, few_patients().string(), out.string());
}

Made made_without_interruption(const std::string& options) {
  const TemporaryFolder folder;
  succeeded(command(options, folder / "x.pt"));
  return made_at(folder / "x.pt");
}

fs::path state_of(const fs::path& out) {
  return out.parent_path() / "x.state";
}
fs::path previous_of(const fs::path& out) {
  return out.parent_path() / "x.state.previous";
}

/// A run that was ended by kill -9 when its metrics had so many lines. The previous state is there, and the state,
/// unless it was ended between the two renames of a save.
void run_until_lines(const std::string& options, const fs::path& out, int64_t lines) {
  Process process(command(options, out));
  process.run_until([&] { return lines_in(out.parent_path() / "x.metrics.jsonl") >= lines; });
  REQUIRE(process.end(SIGKILL).code == 128 + SIGKILL);
  REQUIRE(fs::exists(previous_of(out)));
}

void check_resumes(const std::string& options, const fs::path& out, const Made& expected) {
  const Outcome outcome = run(command(options, out) + " --resume");
  INFO(options << "\n" << outcome.output);
  REQUIRE(outcome.code == 0);
  const Made made = made_at(out);
  CHECK(made.metrics == expected.metrics);
  CHECK((made.model == expected.model));
  for (const fs::path& gone : {state_of(out), previous_of(out), out.parent_path() / "x.lock"})
    CHECK_MESSAGE(!fs::exists(gone), gone.string());
}

/// Kills the run at `moments` random moments of its time, each time from its start, and lets it go on.
void check_killed_at_random(const std::string& options, uint32_t moments, uint32_t which) {
  const auto begin = std::chrono::steady_clock::now();
  const Made expected = made_without_interruption(options);
  std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  const RandomStream random(seed(), Purpose::test, 0, which);
  int killed = 0;
  for (uint32_t moment = 0; moment < moments || killed == 0; ++moment) {
    REQUIRE(moment < 50);
    const TemporaryFolder folder;
    Process process(command(options, folder / "x.pt"));
    std::this_thread::sleep_for(time * random.uniform(moment));
    const bool was_running = process.end(SIGKILL).code == 128 + SIGKILL;
    killed += was_running;
    if (!was_running) time *= 0.8;  // the first run took longer, beside other load
    check_resumes(options, folder / "x.pt", expected);
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 3);  // model, metrics, record: no temporary file
  }
}

/// Sends the signal to a run after three lines of metrics, and lets it go on. False where the run ended before the
/// signal.
bool check_signal_stops(const std::string& options, int signal, int code) {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  Process process(command(options, out));
  process.run_until([&] { return lines_in(folder / "x.metrics.jsonl") >= 3; });
  const Outcome outcome = process.end(signal);
  if (outcome.code == 0) return false;
  INFO(options << "\n" << outcome.output);
  CHECK(outcome.code == code);
  CHECK(outcome.output.find("the same command with --resume goes on") != std::string::npos);
  CHECK(fs::exists(state_of(out)));
  CHECK(!fs::exists(folder / "x.lock"));
  CHECK(!fs::exists(out));
  check_resumes(options, out, made_without_interruption(options));
  return true;
}

void flip_byte(const fs::path& file, size_t at) {
  std::string content = read_file(file);
  content.at(at) = static_cast<char>(content[at] ^ 0x10);
  write_file(file, content);
}

}  // namespace

TEST_CASE("resume: pretrain killed at 20 random moments ends with the same bits") {
  check_killed_at_random(kPretrain, 20, 1);
}

TEST_CASE("resume: supervised and finetune killed at random moments end with the same bits") {
  check_killed_at_random(kSupervised, 4, 2);
  const std::string finetune =
      "finetune --width 2 --batch-size 5 --epochs 4 --label-fraction 1 --save-every 0 --signal-length 80";
  check_killed_at_random(finetune + " --head-lr 0.01", 3, 3);
  check_killed_at_random(finetune + " --freeze-encoder", 3, 4);
}

TEST_CASE("resume: what each method has beside its weights goes on too") {
  for (const std::string options :
       {"--loss moco --queue-size 7 --positives patient", "--learn-temperature --accumulate 2", "--optimizer lars",
        "--loss siglip --learn-temperature --optimizer sgd --weight-decay 0.01"}) {
    const TemporaryFolder folder;
    const Made expected = made_without_interruption(kPretrain + " " + options);
    run_until_lines(kPretrain + " " + options, folder / "x.pt", 6);
    check_resumes(kPretrain + " " + options, folder / "x.pt", expected);
  }
  const std::string small = "pretrain --width 2 --batch-size 5 --epochs 5 --log-every 1 --save-every 0";
  for (const std::string options :
       {"--method byol --projection-hidden 8 --projection-dim 4 --ema-schedule cosine",
        "--method dade --augment vcg crop.seconds=0.6", "--method masked --signal-length 80",
        "--patient-pairs 1 --encoder ResNet1D --optimizer adamw --weight-decay 0.1 --signal-length 40",
        "--device simt --projection-hidden 4 --projection-dim 2 --signal-length 24"}) {
    const TemporaryFolder folder;
    const Made expected = made_without_interruption(small + " " + options);
    run_until_lines(small + " " + options, folder / "x.pt", 8);
    check_resumes(small + " " + options, folder / "x.pt", expected);
  }
}

TEST_CASE("resume: a run goes on with another number of threads and another --save-every") {
  const TemporaryFolder folder;
  const Made expected = made_without_interruption(kPretrain);
  run_until_lines(kPretrain, folder / "x.pt", 5);
  check_resumes(kPretrainAny + " --epochs 6 --threads 2 --lr 1e-3", folder / "x.pt", expected);
}

TEST_CASE("resume: a damaged state falls back to the one before it; two damaged ones are refused") {
  const Made expected = made_without_interruption(kPretrain);
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  run_until_lines(kPretrain, out, 5);
  if (!fs::exists(state_of(out))) fs::copy_file(previous_of(out), state_of(out));
  const auto size = fs::file_size(state_of(out));
  SUBCASE("truncated") {
    fs::resize_file(state_of(out), size / 2);
  }
  SUBCASE("truncated to nothing") {
    fs::resize_file(state_of(out), 0);
  }
  SUBCASE("one byte flipped") {
    flip_byte(state_of(out), size / 3);
  }
  SUBCASE("one byte of its first line flipped") {
    flip_byte(state_of(out), 20);
  }
  SUBCASE("both damaged") {
    flip_byte(state_of(out), size - 1);
    fs::resize_file(previous_of(out), size - 1);
    check_refused(command(kPretrain, out) + " --resume", 1,
                  {"x.state is damaged", "x.state.previous is damaged", "delete what is damaged to start it anew"});
    CHECK(fs::file_size(state_of(out)) == size);
    return;
  }
  const std::string previous = read_file(previous_of(out));
  const Outcome refused = run(command(kPretrain, out) + " --resume --lr 0.5");
  CHECK(refused.code == 2);
  CHECK(refused.output.find("x.state is damaged: ") != std::string::npos);
  CHECK((read_file(previous_of(out)) == previous));  // nothing is lost by it
  check_resumes(kPretrain, out, expected);
}

TEST_CASE("resume: a full disk ends the run in a sentence, and the state before it goes on") {
  const Made expected = made_without_interruption(kPretrain);
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  Outcome full = Process(command(kPretrain, out), "ulimit -f 4;").wait();  // no state fits
  CHECK(full.code == 1);
  CHECK_MESSAGE(full.output.find("x.state: File too large; no state was saved before it") != std::string::npos,
                full.output);
  CHECK(!fs::exists(out));
  run_until_lines(kPretrain, out, 5);
  full = Process(command(kPretrain, out) + " --resume", "ulimit -f 4;").wait();
  CHECK(full.code == 1);
  CHECK_MESSAGE(full.output.find("the last good state is") != std::string::npos, full.output);
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path())) {  // no temporary file, no lock
    const fs::path& left = entry.path();
    CHECK_MESSAGE((left == state_of(out) || left == previous_of(out) || left.filename() == "x.metrics.jsonl"),
                  left.string());
  }
  check_resumes(kPretrain, out, expected);
}

TEST_CASE("resume: a place that cannot be written is refused before anything else") {
  const TemporaryFolder folder;
  write_file(folder / "file", "");
  fs::create_directories(folder / "x.state");
  check_refused(command(kPretrain, folder / "x.pt"), 1, {"x.state: it is a folder"});
  check_refused(command(kPretrain, folder / "file/y.pt"), 1, {"the folder", "file does not exist"});
  fs::create_directories(folder / "z.run.json");
  check_refused(command(kSupervised, folder / "z.pt"), 1, {"z.run.json: it is a folder"});
}

TEST_CASE("resume: a folder that may not be written is refused before anything else") {
  // Root may write to any folder, so root runs the program as nobody.
  const bool root = ::geteuid() == 0;
  const std::string before = root ? "setpriv --reuid=65534 --regid=65534 --clear-groups" : "";
  if (const Outcome outcome = run("--version", before); outcome.code != 0) {
    MESSAGE("skipped: nobody cannot run the program: " << outcome.output);
    return;
  }
  const TemporaryFolder folder;
  fs::permissions(folder.path(), fs::perms::others_exec, fs::perm_options::add);
  const auto refused = [&](const std::string& name, const std::vector<std::string>& words) {
    const std::string nothing = (folder / "no_data").string(), out = (folder / name / "x.pt").string();
    for (const std::string& options : {kPretrain, kSupervised})
      check_refused(fmt::format("{} --data-root {} --out {}", options, nothing, out), 1, words, before);
    check_refused(fmt::format("label-curve --data-root {} --out {}", nothing, (folder / name).string()), 1, words,
                  before);
    CHECK(fs::is_empty(folder / name));
  };
  for (const char* name : {"open", "closed"}) {
    fs::create_directories(folder / name);
    if (root) REQUIRE(::chown((folder / name).c_str(), 65534, 65534) == 0);
  }
  fs::permissions(folder / "closed", fs::perms::owner_read | fs::perms::owner_exec);
  refused("closed", {"closed", "Permission denied"});
  refused("open", {"no_data"});
  fs::permissions(folder / "closed", fs::perms::owner_all);
}

TEST_CASE("resume: Ctrl-C and SIGTERM finish the step, save, and say how to go on") {
  std::signal(SIGINT, SIG_DFL);  // a shell lets what it starts in the background ignore it, and what that starts too
  for (const auto& [any, signal, code] :
       {std::tuple{kPretrainAny, SIGINT, 130}, {kPretrainAny, SIGTERM, 143}, {kSupervisedAny, SIGTERM, 143}}) {
    int epochs = 60;
    while (!check_signal_stops(fmt::format("{} --epochs {} --save-every 3600", any, epochs), signal, code)) {
      epochs *= 2;  // beside other load the run can end before the signal comes
      REQUIRE(epochs < 2000);
    }
  }
}

TEST_CASE("resume: a run that was stopped is neither overwritten nor mixed with another") {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  run_until_lines(kPretrain, out, 3);
  // Between two renames the state is x.state.previous alone.
  check_refused(command(kPretrain, out), 1, {"x.state", " is the state of a run that was stopped", "--resume goes on"});
  const std::string resumed = command(kPretrain, out) + " --resume ";
  check_refused(resumed + "--lr 0.01", 2, {"x.state is of another run: --lr is 0.001 there and 0.01 here"});
  check_refused(resumed + "--augment simple", 2, {"--augment is"});
  check_refused(resumed + "--seed 3", 2, {"--seed is 42 there and 3 here"});
  check_refused(resumed + "--device simt", 2, {"device is ", " there and simt here"});
  const fs::path others = folder / "others";
  succeeded(fmt::format("generate --out {} --patients 14 --seed 6", others.string()));
  check_refused(fmt::format("{} --data-root {} --out {} --resume", kPretrain, others.string(), out.string()), 2,
                {"x.state is of another run: ", " records is ", " there and "});
  fs::remove(folder / "x.metrics.jsonl");
  check_refused(resumed, 1, {"x.metrics.jsonl: ", "bytes of the run that is to go on were expected"});
}

TEST_CASE("resume: without a state a run starts anew, and a complete one is left alone") {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  succeeded(command(kSupervised, out) + " --resume");
  const Made made = made_at(out);
  const auto written = fs::last_write_time(out);
  CHECK(succeeded(command(kSupervised, out) + " --resume").find("x.pt is complete: nothing is left to do") !=
        std::string::npos);
  CHECK(fs::last_write_time(out) == written);
  check_refused(command(kSupervised, out) + " --resume --loss focal", 2,
                {"x.pt is the result of another run: --loss is bce there and focal here"});
  write_file(folder / "x.metrics.jsonl", "{}\n");
  CHECK(succeeded(command(kSupervised, out) + " --resume").find("is not as its run left it") != std::string::npos);
  CHECK((made_at(out) == made));
}

TEST_CASE("resume: two runs cannot write to one place, and a lock that a crash left behind is no obstacle") {
  const TemporaryFolder folder;
  const fs::path out = folder / "x.pt";
  Process first(command(kPretrainAny + " --epochs 5000 --save-every 0", out));
  first.run_until([&] { return fs::exists(state_of(out)); });
  check_refused(command(kPretrain, out) + " --resume", 1,
                {"x.pt is being written by process " + std::to_string(first.id()) + " on host ", "x.lock"});
  check_refused(command(kSupervised, out), 1, {"x.pt is being written by process "});
  const std::string owner = std::to_string(first.id());
  CHECK(first.end(SIGKILL).code == 128 + SIGKILL);
  CHECK(fs::exists(folder / "x.lock"));
  fs::remove(state_of(out));
  fs::remove(previous_of(out));
  CHECK(succeeded(command(kPretrain, out)).find("was left behind by process " + owner) != std::string::npos);
  CHECK(!fs::exists(folder / "x.lock"));
}
