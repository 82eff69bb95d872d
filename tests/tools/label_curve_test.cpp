// systole label-curve on a small generated data set: what it writes, what it does not make again, what has no part in
// its results, and what it refuses.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "tests/support.h"
#include "tests/tools/run.h"
#include "tools/label_curve_run.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

/// 40 patients, made once, and two encoders that differ in their weights alone.
struct Material {
  TemporaryFolder folder;
  fs::path data = folder / "data", a = folder / "a.pt", b = folder / "b.pt";

  Material() {
    const auto make = [](const std::string& command) {
      const Outcome outcome = run(command);
      REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
    };
    make(fmt::format("generate --out {} --patients 40 --seed 6", data.string()));
    for (const auto& [seed, file] : {std::pair{1, a}, {2, b}})
      make(
          fmt::format("pretrain --data-root {} --out {} --seed {} --width 4 --epochs 1 --batch-size 32 "
                      "--projection-hidden 8 --projection-dim 4 --augment none",
                      data.string(), file.string(), seed));
  }
};
const Material& material() {
  static const Material made;
  return made;
}

constexpr const char* kSmall = "--fractions 0.2,1 --epochs 3,2 --seeds 1,2 --batch-size 16 --bootstrap 50 --threads 2";

Outcome label_curve(const fs::path& out, const std::string& options) {
  return run(fmt::format("label-curve --data-root {} --out {} {}", material().data.string(), out.string(), options));
}
Outcome successful(const fs::path& out, const std::string& options) {
  const Outcome outcome = label_curve(out, options);
  REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
  return outcome;
}
std::string with_encoder() {
  return fmt::format("{} --ssl-checkpoint simclr={}", kSmall, material().a.string());
}

/// Without the seconds, which end its lines.
std::string csv(const fs::path& out) {
  return std::regex_replace(read_file(out / "label_curve.csv"), std::regex(",[0-9.]+\n"), "\n");
}
nlohmann::json curve_of(const fs::path& out) {
  nlohmann::json curve = nlohmann::json::parse(read_file(out / "label_curve.json"));
  curve.erase("settings");  // with the command line and the date
  for (nlohmann::json& run : curve["runs"]) run.erase("seconds");
  return curve;
}

std::map<std::string, fs::file_time_type> runs_in(const fs::path& out) {
  std::map<std::string, fs::file_time_type> runs;
  for (const auto& entry : fs::directory_iterator(out / "runs"))
    runs[entry.path().filename().string()] = entry.last_write_time();
  return runs;
}

void check_refused(const fs::path& out, const std::string& options, int code, const std::string& words) {
  const Outcome outcome = label_curve(out, options);
  INFO(options << "\n" << outcome.output);
  CHECK(outcome.code == code);
  CHECK(outcome.output.find("systole: ") != std::string::npos);
  CHECK(outcome.output.find(words) != std::string::npos);
}

/// The curve of the data set in this process, for one fraction and one seed.
tools::LabelCurve small_curve(std::vector<std::string> checkpoints = {},
                              std::vector<std::string> arms = {"scratch", "frozen-random"}) {
  tools::LabelCurveOptions o;
  o.data.root = material().data;
  if (checkpoints.empty()) o.encoder.width = 4;
  o.checkpoints = std::move(checkpoints);
  o.arms = std::move(arms);
  o.fractions = {0.3};
  o.epochs = {4};
  o.frozen_epochs = {4};
  o.seeds = {1};
  o.recipe.training.batch_size = 16;
  o.common.device = "cpu";
  return tools::prepare_label_curve(o);
}

}  // namespace

TEST_CASE("label-curve: every arm at every fraction and seed, in files, a table and a report") {
  const TemporaryFolder out;
  const Outcome outcome = successful(out / "curve", with_encoder());
  CHECK(outcome.output.find("finetuned-simclr") != std::string::npos);
  for (const char* file : {"label_curve.csv", "label_curve.json", "label_curve.svg", "report.html", "settings.json"})
    CHECK_MESSAGE(fs::exists(out / "curve" / file), file);
  const nlohmann::json curve = curve_of(out / "curve");
  CHECK(curve["arms"].size() == 4);
  CHECK(curve["points"].size() == 4 * 2);
  CHECK(curve["runs"].size() == 4 * 2 * 2);
  CHECK(runs_in(out / "curve").size() == 16);
  CHECK(curve["roc"].size() == 4 * 2 * curve["classes"].size());
  std::map<std::pair<double, int>, std::set<int>> labelled;
  for (const nlohmann::json& run : curve["runs"]) {
    labelled[{run["fraction"], run["seed"]}].insert(run["labelled_records"].get<int>());
    CHECK(run["best_epoch"] <= (run["fraction"] == 1 ? 2 : 3));
  }
  const int training = curve["records"]["training"];
  for (const auto& [point, records] : labelled) {
    CHECK(records.size() == 1);                                       // the same for all arms
    CHECK(std::abs(*records.begin() - point.first * training) <= 4);  // whole patients
  }
}

TEST_CASE("label-curve: a point is the mean of its runs, a gain the difference of two points") {
  const TemporaryFolder out;
  successful(out / "curve", with_encoder());
  const nlohmann::json curve = curve_of(out / "curve");
  const auto mean_of = [&](const nlohmann::json& arm, const nlohmann::json& fraction) {
    double sum = 0;
    for (const nlohmann::json& run : curve["runs"])
      if (run["arm"] == arm && run["fraction"] == fraction) sum += run["test_auroc"].get<double>() / 2;
    return sum;
  };
  for (const nlohmann::json& point : curve["points"]) {
    const double mean = mean_of(point["arm"], point["fraction"]);
    CHECK(point["auroc"]["mean"].get<double>() == doctest::Approx(mean));
    CHECK(point["auroc"]["low"] <= point["auroc"]["high"]);
    CHECK(point.contains("gain") == (point["arm"] != "scratch"));
    if (point.contains("gain"))
      CHECK(point["gain"]["mean"].get<double>() ==
            doctest::Approx(mean - mean_of("scratch", point["fraction"])).epsilon(1e-9));
  }
}

TEST_CASE("label-curve: what is there is not made again, and a run made again is the same") {
  const TemporaryFolder out;
  const fs::path folder = out / "curve";
  successful(folder, with_encoder());
  const auto before = runs_in(folder);
  const std::string csv_before = csv(folder);
  const nlohmann::json curve_before = curve_of(folder);
  fs::remove(folder / "runs/finetuned-simclr_0.2_2.json");
  CHECK(successful(folder, with_encoder()).output.find("1 of 16 runs are to be made") != std::string::npos);
  for (const auto& [name, time] : runs_in(folder))
    CHECK_MESSAGE((before.at(name) == time) == (name != "finetuned-simclr_0.2_2.json"), name);
  CHECK(csv(folder) == csv_before);
  CHECK(curve_of(folder) == curve_before);
}

TEST_CASE("label-curve: the number of jobs and threads changes nothing") {
  const TemporaryFolder out;
  successful(out / "one", with_encoder() + " --jobs 1");
  successful(out / "two", with_encoder() + " --jobs 3");
  CHECK(csv(out / "one") == csv(out / "two"));
  CHECK(curve_of(out / "one") == curve_of(out / "two"));
}

TEST_CASE("label-curve: a folder grows by seeds, fractions and encoders, and keeps to its settings") {
  const TemporaryFolder out;
  const fs::path folder = out / "curve";
  const std::string a = " --ssl-checkpoint simclr=" + material().a.string();
  const std::string frozen = "--arms frozen --epochs 2 --bootstrap 10 --batch-size 16";
  successful(folder, frozen + a + " --fractions 1 --seeds 1");
  const Outcome grown =
      successful(folder, frozen + a + " other=" + material().b.string() + " --fractions 0.5,1 --seeds 1,2");
  CHECK(grown.output.find("7 of 8 runs are to be made") != std::string::npos);
  const std::string again = frozen + " --fractions 1 --seeds 1";
  check_refused(folder, again + a + " --lr-frozen 0.1", 2, "its runs were made with --lr-frozen 0.02, not 0.1");
  check_refused(folder, again + a + " --frozen-epochs 3", 2, "made with --frozen-epochs (for 1) 2, not 3");
  check_refused(folder, again + " --ssl-checkpoint simclr=" + material().b.string(), 2,
                "made with --ssl-checkpoint (for simclr) ");
  CHECK(runs_in(folder).size() == 8);
}

TEST_CASE("label-curve: a run that fails ends the command with its sentence; finished runs stay") {
  const TemporaryFolder out;
  const fs::path folder = out / "curve";
  const std::string options = "--width 4 --fractions 1 --epochs 2 --seeds 1 --bootstrap 10 --lr-scratch 1e38";
  successful(folder, options + " --arms frozen-random");
  const std::string results = read_file(folder / "label_curve.csv");
  check_refused(folder, options + " --arms scratch,frozen-random", 1, "systole: run scratch_1_1: ");
  CHECK(read_file(folder / "label_curve.csv") == results);
  CHECK(runs_in(folder).size() == 1);
}

TEST_CASE("label-curve: a damaged run is named") {
  const TemporaryFolder out;
  const fs::path folder = out / "curve";
  const std::string options = "--arms frozen-random --width 4 --fractions 1 --epochs 1 --seeds 1 --bootstrap 10";
  successful(folder, options);
  write_file(folder / "runs/frozen-random_1_1.json", "{\"arm\": ");
  check_refused(folder, options, 1, "frozen-random_1_1.json: is no file of systole label-curve");
  write_file(folder / "runs/frozen-random_1_1.json", "{\"probabilities\": [[0.5]]}");
  check_refused(folder, options, 1, "frozen-random_1_1.json: holds no run with");
}

TEST_CASE("label-curve: test labels have no part in training and choice") {
  for (size_t arm : {0, 1}) {
    nlohmann::ordered_json results[2];
    for (int flipped : {0, 1}) {
      tools::LabelCurve curve = small_curve();
      if (flipped)
        for (size_t r : curve.test)
          for (size_t c = 0; c < curve.dataset.classes.size(); ++c)
            curve.dataset.labels[r * curve.dataset.classes.size() + c] ^= 1;
      results[flipped] = tools::LabelCurveRunner(curve).run({arm, 0, 1});
    }
    CHECK(results[0]["probabilities"] == results[1]["probabilities"]);
    CHECK(results[0]["best_epoch"] == results[1]["best_epoch"]);
    CHECK(results[0]["validation"] == results[1]["validation"]);
    CHECK(results[0]["test"] != results[1]["test"]);
  }
}

TEST_CASE("label-curve: the epoch is that of the best validation AUROC") {
  tools::LabelCurve curve = small_curve();
  curve.options.lr_scratch = 0.05;  // so high that some epochs are a step back
  double best = 0;
  int steps_back = 0;
  for (int epochs = 1; epochs <= 6; ++epochs) {
    curve.options.epochs = {epochs};
    const nlohmann::ordered_json result = tools::LabelCurveRunner(curve).run({0, 0, 1});
    const double auroc = result["validation"]["auroc"];
    CHECK(auroc >= best);
    if (auroc > best) CHECK(result["best_epoch"] == epochs);
    steps_back += result["best_epoch"] < epochs;
    best = auroc;
  }
  CHECK(steps_back > 0);
}

TEST_CASE("label-curve: of the weight decays of a head the best on the validation records is taken") {
  tools::LabelCurve curve = small_curve();
  const auto result = [&](std::vector<double> decays) {
    curve.options.frozen_weight_decay = std::move(decays);
    nlohmann::ordered_json run = tools::LabelCurveRunner(curve).run({1, 0, 1});
    run.erase("seconds");
    return run;
  };
  const auto none = result({0}), large = result({3}), both = result({0, 3});
  const double auroc_none = none["validation"]["auroc"], auroc_large = large["validation"]["auroc"];
  REQUIRE(auroc_none != auroc_large);
  CHECK(both == (auroc_none > auroc_large ? none : large));
  CHECK(both == result({3, 0}));
}

TEST_CASE("label-curve: fine-tuning depends on how the head was trained before only with --probe-first") {
  tools::LabelCurve curve = small_curve({material().a.string()}, {"finetuned"});
  const auto probabilities = [&](bool probe_first, double lr_frozen) {
    curve.options.probe_first = probe_first;
    curve.options.lr_frozen = lr_frozen;
    return tools::LabelCurveRunner(curve).run({0, 0, 1})["probabilities"];
  };
  const auto plain = probabilities(false, 0.02), probed = probabilities(true, 0.02);
  CHECK(probabilities(false, 0.1) == plain);
  CHECK(probed != plain);
  CHECK(probabilities(true, 0.1) != probed);
  CHECK(probabilities(true, 0.02) == probed);
}

TEST_CASE("label-curve: an encoder that stays frozen gives the same features to every run, a random one to its seed") {
  tools::LabelCurve curve = small_curve();
  const auto probabilities = [&](tools::LabelCurveRunner& runner, uint64_t seed) {
    return runner.run({1, 0, seed})["probabilities"];
  };
  tools::LabelCurveRunner runner(curve), other(curve);
  const auto first = probabilities(runner, 1);
  CHECK(probabilities(runner, 2) != first);
  CHECK(probabilities(runner, 1) == first);  // from the features that it kept
  CHECK(probabilities(other, 1) == first);
}

TEST_CASE("label-curve: wrong options and encoders are refused in a sentence, and nothing is written") {
  const TemporaryFolder out;
  const fs::path folder = out / "curve";
  const std::string a = material().a.string();
  check_refused(folder, "--fractions 0.1,0.1", 2, "--fractions must be a list without repeats, not 0.1,0.1");
  check_refused(folder, "--fractions 0.5,0.1", 2, "--fractions must be ascending, above 0 and at most 1");
  check_refused(folder, "--fractions 0.5,2", 2, "--fractions must be ascending, above 0 and at most 1, not 0.5,2");
  check_refused(folder, "--fractions 0.5,1 --epochs 1,2,3", 2, "one for each of the 2 fractions, not 1,2,3");
  check_refused(folder, "--epochs 0", 2, "--epochs must be one number of epochs");
  check_refused(folder, "--seeds 1,2,1", 2, "--seeds must be a list without repeats");
  check_refused(folder, "--arms frozen,finetuned", 2, "--arms must be such that something is left to train");
  check_refused(folder, "--lr-head -1", 2, "--lr-head must be positive, not -1");
  check_refused(folder, "--batch-size 1", 2, "--batch-size must be at least 2, not 1");
  check_refused(folder, "--bootstrap 0", 2, "--bootstrap must be between 1 and 1000000, not 0");
  check_refused(folder, "--select loss", 2, "--select");
  check_refused(folder, "--width 8 --ssl-checkpoint " + a, 2, "go without --ssl-checkpoint");
  check_refused(folder, fmt::format("--ssl-checkpoint {0} {0}", a), 2, "different names (NAME=FILE), not 'a' twice");
  check_refused(folder, "--ssl-checkpoint a/b=" + a, 2, "FILE or NAME=FILE with a name of letters");
  check_refused(folder, "--ssl-checkpoint " + (out / "none.pt").string(), 1, "none.pt");
  check_refused(out / "no/such/folder", "", 1, "does not exist");
  check_refused(material().a, "", 2, "--out must be a folder");
  CHECK(fs::is_empty(out.path()));

  const fs::path wide = out / "wide.pt";
  const Outcome made = run(fmt::format(
      "pretrain --data-root {} --out {} --width 6 --epochs 1 --batch-size 32 --projection-hidden 8 --projection-dim 4",
      material().data.string(), wide.string()));
  REQUIRE_MESSAGE(made.code == 0, made.output);
  check_refused(folder, fmt::format("--ssl-checkpoint {} {}", a, wide.string()), 2,
                "the encoders of one label curve must have the same architecture");
  CHECK(!fs::exists(folder));
}
