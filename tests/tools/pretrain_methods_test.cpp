// systole pretrain --method: every method runs, on simt with the losses of the cpu, and its encoder serves a
// classifier.

#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

std::string pretrain(const fs::path& out, const std::string& options) {
  return fmt::format(
      "pretrain --data-root {} --out {} --epochs 1 --batch-size 6 --width 2 --optimizer sgd --lr 0.01 --log-every 1 {}",
      few_patients().string(), out.string(), options);
}

std::vector<double> losses(const fs::path& file) {
  std::vector<double> values;
  std::istringstream text(read_file(file));
  for (std::string line; std::getline(text, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line);
    if (entry.contains("loss")) values.push_back(entry["loss"]);
  }
  return values;
}

struct Run {
  const char* name;
  const char* options;
};
const Run kRuns[] = {
    {"byol",
     "--method byol --projection-hidden 8 --projection-dim 4 --ema-schedule cosine --augment simple crop.seconds=0.8"},
    {"clocs of leads", "--method clocs --slots leads --projection-hidden 8 --augment vcg crop.seconds=0.6"},
    {"clocs of segments",
     "--method clocs --slots segments --projection-hidden 8 --augment vcg crop.seconds=0.6 crop.disjoint=yes"},
    {"clocs of both", "--method clocs --projection-hidden 8 --augment vcg crop.seconds=0.6 crop.disjoint=yes"},
    {"dade", "--method dade --augment vcg crop.seconds=0.6"},
    {"dade, dual stream", "--method dade --encoder DualStream --augment vcg crop.seconds=0.6"},
    {"masked", "--method masked --signal-length 80"},
};

}  // namespace

TEST_CASE("tools: every method trains, on simt with the losses of the cpu") {
  const TemporaryFolder out;
  for (const Run& method : kRuns) {
    CAPTURE(method.name);
    std::vector<std::vector<double>> found;
    for (const char* device : {"cpu", "simt"}) {
      const Outcome outcome = run(pretrain(out / "x.pt", fmt::format("{} --device {}", method.options, device)));
      REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
      found.push_back(losses(out / "x.metrics.jsonl"));
    }
    REQUIRE(found[0].size() >= 2);
    REQUIRE(found[0].size() == found[1].size());
    for (size_t i = 0; i < found[0].size(); ++i) CHECK(found[1][i] == doctest::Approx(found[0][i]).epsilon(1e-3));
  }
}

TEST_CASE("tools: an encoder of eight leads serves classifiers on data of twelve") {
  const TemporaryFolder out;
  const std::string root = few_patients().string(), encoder = (out / "x.pt").string();
  REQUIRE(run(pretrain(encoder, "--method dade --augment vcg crop.seconds=1")).code == 0);
  const std::string classifier = (out / "c.pt").string();
  const Outcome tuned = run(fmt::format(
      "finetune --data-root {} --ssl-checkpoint {} --epochs 1 --batch-size 8 --out {}", root, encoder, classifier));
  REQUIRE_MESSAGE(tuned.code == 0, tuned.output);
  const Outcome evaluated = run(fmt::format("evaluate --data-root {} --checkpoint {} --bootstrap 5", root, classifier));
  CHECK_MESSAGE(evaluated.code == 0, evaluated.output);
}

TEST_CASE("tools: --save-init holds every network of the method") {
  const TemporaryFolder out;
  const std::string initial = (out / "init.safetensors").string();
  REQUIRE(run(pretrain(out / "x.pt", std::string(kRuns[0].options) + " --save-init " + initial)).code == 0);
  const std::string file = read_file(initial);
  for (const char* name : {"encoder.features.0.block.0.weight", "projector.net.3.bias", "predictor.net.1.running_mean"})
    CHECK_MESSAGE(file.find(name) != std::string::npos, name);
}

TEST_CASE("tools: options that do not go with a method are refused") {
  const TemporaryFolder out;
  const auto says = [&](const std::string& options, const std::string& words) {
    const Outcome outcome = run(pretrain(out / "x.pt", options));
    CHECK(outcome.code == 2);
    CHECK(!fs::exists(out / "x.pt"));
    CHECK_MESSAGE(outcome.output.find(words) != std::string::npos, (options + "\n" + outcome.output));
  };
  says("--method bylo", "unknown method 'bylo'; expected simclr, byol, clocs, dade, masked");
  says("--method byol --loss moco", "--loss goes with --method simclr, not with --method byol");
  says("--method byol --temperature 0.1", "not with --method byol");
  says("--ema-schedule cosine", "--ema-schedule goes with --method byol, not with --loss nt-xent");
  says("--method dade --projection-dim 8", "--projection-dim goes with --method simclr, clocs and byol");
  says("--method clocs --slots views", "--slots must be leads, segments or leads+segments, not views");
  says("--method clocs --slots segments --augment vcg", "crop.disjoint=yes");
  says("--method masked --encoder ResNet1D", "not that of ResNet1D");
  says("--method dade --leads I,II,V7", "has no lead 'V7'");
  says("--method dade --leads I,II", "vcg needs the leads");
}
