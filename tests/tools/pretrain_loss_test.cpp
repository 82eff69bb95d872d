// systole pretrain --loss: every loss runs, on simt with the losses of the cpu, and what does not go together is
// refused.

#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "models/contrastive_losses.h"
#include "tests/support.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;

namespace {

/// Lines of a run's metrics file.
std::vector<nlohmann::json> metrics(const fs::path& file) {
  std::vector<nlohmann::json> lines;
  std::istringstream text(read_file(file));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::string pretrain(const fs::path& out, const std::string& options) {
  return fmt::format(
      "pretrain --data-root {} --out {} --epochs 1 --batch-size 6 --width 2 --projection-hidden 8 "
      "--projection-dim 4 --optimizer sgd --lr 0.01 --log-every 1 --augment none crop.seconds=0.6 {}",
      few_patients().string(), out.string(), options);
}

std::vector<double> losses(const fs::path& file) {
  std::vector<double> values;
  for (const nlohmann::json& line : metrics(file))
    if (line.contains("loss")) values.push_back(line["loss"]);
  return values;
}

}  // namespace

TEST_CASE("tools: every loss trains, on simt with the losses of the cpu") {
  const TemporaryFolder out;
  for (const models::LossDefinition& loss : models::loss_definitions()) {
    std::string options = fmt::format("crop.disjoint=yes --loss {}", loss.name);
    if (loss.temperature > 0) options += " --temperature 0.5";
    std::vector<std::vector<double>> found;
    for (const char* device : {"cpu", "simt"}) {
      const Outcome outcome = run(pretrain(out / "x.pt", fmt::format("{} --device {}", options, device)));
      REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
      found.push_back(losses(out / "x.metrics.jsonl"));
    }
    REQUIRE(found[0].size() >= 2);
    REQUIRE(found[0].size() == found[1].size());
    for (size_t i = 0; i < found[0].size(); ++i)
      CHECK_MESSAGE(found[1][i] == doctest::Approx(found[0][i]).epsilon(1e-3), loss.name);
  }
}

TEST_CASE("tools: an encoder of single leads serves classifiers of all leads") {
  const TemporaryFolder out;
  const std::string encoder = (out / "x.pt").string(), root = few_patients().string();
  REQUIRE(run(pretrain(encoder, "--loss cmlc")).code == 0);
  const Outcome tuned =
      run(fmt::format("finetune --data-root {} --ssl-checkpoint {} --epochs 1 --batch-size 8 --out {}", root, encoder,
                      (out / "c.pt").string()));
  REQUIRE_MESSAGE(tuned.code == 0, tuned.output);
  const Outcome evaluated =
      run(fmt::format("evaluate --data-root {} --checkpoint {} --bootstrap 5", root, (out / "c.pt").string()));
  CHECK_MESSAGE(evaluated.code == 0, evaluated.output);
}

TEST_CASE("tools: the log says what the temperature is that was learned, and how many records share a patient") {
  const TemporaryFolder out;
  const Outcome outcome =
      run(pretrain(out / "x.pt", "--loss supcon --learn-temperature --temperature 0.3 --patient-pairs 1"));
  REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
  const std::vector<nlohmann::json> lines = metrics(out / "x.metrics.jsonl");
  CHECK(lines.front()["temperature"] != doctest::Approx(0.3));
  CHECK(lines.front()["temperature"] == doctest::Approx(0.3).epsilon(0.05));
  CHECK(lines.back().contains("same_patient_pairs_per_batch"));
  REQUIRE(run(pretrain(out / "x.safetensors", "--loss supcon --learn-temperature")).code == 0);
  const std::string file = read_file(out / "x.safetensors");
  for (const char* text :
       {R"(\"loss\": \"supcon\")", R"(\"positives\": \"patient\")", R"(\"learn_temperature\": true)"})
    CHECK_MESSAGE(file.find(text) != std::string::npos, text);
}

TEST_CASE("tools: options that do not go with a loss are refused") {
  const TemporaryFolder out;
  const auto sentence = [&](const std::string& options) {
    const Outcome outcome = run(pretrain(out / "x.pt", options));
    CHECK(outcome.code == 2);
    CHECK(!fs::exists(out / "x.pt"));
    return outcome.output;
  };
  const auto says = [&](const std::string& options, const std::string& words) {
    CHECK_MESSAGE(sentence(options).find(words) != std::string::npos, options);
  };
  says("--loss contrast", "unknown loss 'contrast'; expected nt-xent, supcon");
  says("--positives patient", "--positives goes with --loss supcon");
  says("--loss supcon --positives lead", "lead");
  says("--queue-size 9", "--queue-size goes with --loss moco, not with --loss nt-xent");
  says("--ema-decay 0.9", "--ema-decay goes with --loss moco");
  says("--loss moco --ema-decay 1.5", "between 0 and 1");
  says("--loss moco --queue-size 0", "--queue-size must be between 1");
  says("--patient-pairs 4", "--patient-pairs must be between 0 and 3, half of --batch-size");
  says("--patient-pairs 2 --shuffle none", "--shuffle standard");
  says("--loss cmsc", "crop.disjoint=yes");
}
