// systole … --encoder: every encoder through all commands, what its files say, and what does not go together.

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole::test;

namespace {

/// Two threads would wait for each other longer than they work.
std::string on_data(const std::string& command, const fs::path& out, int threads = 1) {
  return fmt::format("{} --data-root {} --out {} --epochs 1 --threads {} ", command, few_patients().string(),
                     out.string(), threads);
}

std::string pretrain(const fs::path& out, const std::string& options, int threads = 1) {
  return on_data("pretrain", out, threads) +
         "--batch-size 6 --width 2 --projection-hidden 8 --projection-dim 4 --optimizer sgd --lr 0.01 --log-every 1 "
         "--augment none crop.seconds=0.6 " +
         options;
}

void check_runs(const std::string& arguments) {
  const Outcome outcome = run(arguments);
  CHECK_MESSAGE(outcome.code == 0, arguments << "\n" << outcome.output);
}

/// Runs a command that must fail with this code and these words.
void check_refused(const std::string& arguments, int code, const std::string& words) {
  const Outcome outcome = run(arguments);
  CHECK_MESSAGE(outcome.code == code, arguments << "\n" << outcome.output);
  CHECK_MESSAGE(outcome.output.find(words) != std::string::npos, outcome.output);
}

std::vector<double> losses(const fs::path& file) {
  std::vector<double> values;
  std::istringstream text(read_file(file));
  for (std::string line; std::getline(text, line);)
    if (const auto entry = nlohmann::json::parse(line); entry.contains("loss")) values.push_back(entry["loss"]);
  return values;
}

}  // namespace

TEST_CASE("tools: docs/encoders.md says what the encoders are") {
  const Outcome encoders = run("info --encoders");
  CHECK(encoders.code == 0);
  CHECK_MESSAGE(encoders.output == read_file(source_folder() / "docs/encoders.md"),
                "run: systole info --encoders > docs/encoders.md");
}

TEST_CASE("tools: every encoder trains, and its files carry it through the other commands") {
  for (const char* name : {"ECGEncoder1DCNN", "TemporalNet", "DualStream", "ResNet1D", "ImprovedCNN"}) {
    CAPTURE(name);
    const TemporaryFolder out;
    const fs::path encoder = out / "encoder.safetensors", classifier = out / "classifier.pt";
    check_runs(pretrain(encoder, fmt::format("--encoder {}", name)));
    CHECK(read_file(encoder).find(fmt::format(R"(\"encoder\": \"{}\")", name)) != std::string::npos);
    for (const char* how : {"--freeze-encoder", ""})
      check_runs(on_data("finetune", classifier) + fmt::format("--ssl-checkpoint {} {}", encoder.string(), how));
    const std::string evaluate = fmt::format("evaluate --data-root {} --checkpoint {} --bootstrap 10 --threads 1",
                                             few_patients().string(), classifier.string());
    check_runs(evaluate);
    check_runs(on_data("supervised", classifier) + fmt::format("--encoder {} --width 2 --signal-length 60", name));
    check_runs(evaluate);
    check_runs(on_data("finetune", classifier) +
               fmt::format("--encoder {} --width 2 --signal-length 60 --freeze-encoder", name));
  }
}

TEST_CASE("tools: a file that does not say which encoder it holds is known by its names") {
  const TemporaryFolder out;
  for (const char* name : {"TemporalNet", "DualStream", "ResNet1D", "ImprovedCNN"}) {
    const fs::path bare = out / (std::string(name) + ".pt");
    check_runs(pretrain(out / "x.pt", fmt::format("--encoder {} --save-init {}", name, bare.string())));
    check_runs(on_data("finetune", out / "classifier.pt") +
               fmt::format("--signal-length 60 --ssl-checkpoint {}", bare.string()));
  }
}

TEST_CASE("tools: losses that compare leads take the leads or the streams of any encoder; MoCo takes dropout too") {
  const TemporaryFolder out;
  for (const char* options :
       {"--encoder ResNet1D --loss cmlc", "--encoder TemporalNet --loss cmsmlc", "--encoder DualStream --loss cmsmlc",
        "--encoder DualStream --loss cmlc", "--encoder TemporalNet --loss moco",
        "--encoder DualStream --lead-groups i,2,AVF/V6 --loss cmsmlc"}) {
    const fs::path encoder = out / "x.safetensors";
    check_runs(pretrain(encoder, options));
    check_runs(on_data("finetune", out / "classifier.pt") + fmt::format("--ssl-checkpoint {}", encoder.string()));
  }
  const std::string file = read_file(out / "x.safetensors");
  const size_t groups = file.find(R"(\"lead_groups\")");
  REQUIRE(groups != std::string::npos);
  std::string list = file.substr(groups, file.find("]\\n ]", groups) - groups);
  CHECK(std::count_if(list.begin(), list.end(), [](char c) { return c == '['; }) == 3);
  for (const char* lead : {"0", "2", "5", "11"}) CHECK_MESSAGE(list.find(lead) != std::string::npos, list);
}

TEST_CASE("tools: dropout is the same on simt and for any number of threads") {
  const TemporaryFolder out;
  const auto found = [&](const std::string& name, const std::string& device, int threads) {
    check_runs(pretrain(out / (name + ".safetensors"),
                        fmt::format("--encoder TemporalNet --temperature 0.5 --device {}", device), threads));
    return losses(out / (name + ".metrics.jsonl"));
  };
  const std::vector<double> cpu = found("cpu", "cpu", 1), simt = found("simt", "simt", 2);
  REQUIRE(!cpu.empty());
  REQUIRE(cpu.size() == simt.size());
  for (size_t i = 0; i < cpu.size(); ++i) CHECK(simt[i] == doctest::Approx(cpu[i]).epsilon(1e-3));
  found("threads", "cpu", 3);
  CHECK(read_file(out / "cpu.safetensors") == read_file(out / "threads.safetensors"));
}

TEST_CASE("tools: encoders that do not fit are refused with a sentence") {
  const TemporaryFolder out;
  const fs::path encoder = out / "encoder.safetensors";
  const auto refused = [&](const std::string& options, const std::string& words) {
    check_refused(pretrain(out / "x.pt", options), 2, words);
    CHECK(!fs::exists(out / "x.pt"));
  };
  refused("--encoder VGG", "unknown encoder 'VGG'; expected ECGEncoder1DCNN, TemporalNet");
  refused("--lead-groups I/II", "--lead-groups goes with --encoder DualStream, not with ECGEncoder1DCNN");
  refused("--encoder DualStream --lead-groups I,II", "--lead-groups must be two groups of leads");
  refused("--encoder DualStream --lead-groups I,V7/V1", "the records have no lead 'V7'; expected I, II, III");
  refused("--encoder DualStream --lead-groups I,12/V1", "no lead '12'");
  refused("--encoder DualStream --lead-groups I,V1/V1", "every lead at most once");
  check_refused(on_data("supervised", out / "x.pt") + "--encoder ResNet1D --width 0", 2, "--width must be between 1");

  REQUIRE(run(pretrain(encoder, "--encoder TemporalNet")).code == 0);
  const std::string finetune = on_data("finetune", out / "x.pt");
  check_refused(finetune + fmt::format("--encoder ResNet1D --ssl-checkpoint {}", encoder.string()), 2,
                "go without --ssl-checkpoint");
  const auto damaged = [&](const std::string& from, const std::string& to, const std::string& words) {
    std::string bytes = read_file(encoder);
    REQUIRE(from.size() == to.size());
    size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    for (; at != std::string::npos; at = bytes.find(from)) bytes.replace(at, from.size(), to);
    write_file(out / "damaged.safetensors", bytes);
    check_refused(finetune + fmt::format("--ssl-checkpoint {}", (out / "damaged.safetensors").string()), 1, words);
  };
  damaged("TemporalNet", "ImprovedCNN", "holds no ImprovedCNN: 'initial.0.weight' [width, leads, kernel] is missing");
  damaged("TemporalNet", "TemporalVGG", "unknown encoder 'TemporalVGG'; expected ECGEncoder1DCNN");
  damaged("[32,32,3]", "[96,32,1]",
          "'encoder.integrationBlock.0.weight' has the shape [96, 32, 1]; this model expects");
}
