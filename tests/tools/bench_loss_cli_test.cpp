// systole bench loss as a user runs it, at sizes that take no time. What PyTorch would say is said by scripts here.

#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "models/contrastive_losses.h"
#include "tests/tools/run.h"

using namespace systole;
using namespace systole::test;
namespace fs = std::filesystem;

namespace {

nlohmann::json measured(const std::string& options, const TemporaryFolder& out, int code = 0) {
  const fs::path json = out / "loss.json";
  const Outcome outcome = run(fmt::format("bench loss --samples 1 --json {} {}", json.string(), options));
  REQUIRE_MESSAGE(outcome.code == code, outcome.output);
  return nlohmann::json::parse(read_file(json));
}

const nlohmann::json& row(const nlohmann::json& result, const std::string& loss, int rows, const std::string& by) {
  for (const auto& candidate : result["rows"])
    if (candidate["loss"] == loss && candidate["rows"] == rows && candidate["by"] == by) return candidate;
  FAIL(fmt::format("there is no result of {} with {} rows by {}", loss, rows, by));
  return result;
}

/// A program that is started as a Python with PyTorch would be. `work` is what it does with a batch.
std::string fake_python(const fs::path& path, const std::string& work) {
  write_file(path, R"(#!/bin/sh
case "$*" in *--describe*) echo '{"name": "Fake 1.0", "product_flop_per_second": 1e12}'; exit;; esac
)" + work);
  fs::permissions(path, fs::perms::owner_all);
  return path.string();
}

/// Every tag that is opened is closed, in order.
bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const size_t end = xml.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1), name = tag.substr(0, tag.find_first_of(" \n/", 1));
    if (tag.starts_with("?") || tag.starts_with("!") || tag.ends_with("/")) continue;
    if (!tag.starts_with("/")) {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    }
  }
  return open.empty();
}

}  // namespace

TEST_CASE("bench loss: every loss agrees with its materialised version, and the file has all of it") {
  const TemporaryFolder out;
  const auto result =
      measured("--device cpu --rows 32,64 --dims 16 --peer none --threads 1 --plot " + (out / "a.svg").string(), out);
  for (const char* field : {"date", "commit", "device_text"}) CHECK_FALSE(result[field] == "");
  CHECK(result["run"]["device"] == "cpu");
  CHECK(result["threads"] == 1);
  CHECK(result["ceiling"]["unit"] == "FMA");
  CHECK(result["ceiling"]["flop_per_second"] > 1e8);
  CHECK(result["peer"]["missing"] == "--peer none");

  const std::set<std::string> of_features{"barlow-twins", "vicreg"};
  for (const models::LossDefinition& loss : models::loss_definitions())
    for (const int rows : {32, 64}) {
      CAPTURE(loss.name);
      const auto& ours = row(result, loss.name, rows, "systole");
      for (const char* field : {"seconds", "fastest", "slowest", "flop", "of_ceiling", "peak_bytes", "value"})
        CHECK_MESSAGE(ours[field] > 0, field);
      if (of_features.contains(loss.name)) continue;
      const auto& plain = row(result, loss.name, rows, "materialised");
      CHECK(plain["agrees"] == true);
      CHECK(plain["value_error"] < 1e-5);
      CHECK(plain["gradient_error"] < 1e-5);
      CHECK(plain["value"] > 0);
    }
  // In units of 2·M²·D: half the tiles once and twice all of them, and three whole products.
  CHECK(row(result, "nt-xent", 64, "systole")["flop"] == 2.5 * 2 * 64 * 64 * 16);
  CHECK(row(result, "nt-xent", 64, "materialised")["flop"] == 3.0 * 2 * 64 * 64 * 16);
  CHECK(row(result, "clip", 64, "systole")["flop"] == 6.0 * 2 * 32 * 32 * 16);

  const std::string svg = read_file(out / "a.svg");
  CHECK(svg.starts_with("<?xml"));
  CHECK(svg.find("</svg>") != std::string::npos);
  CHECK(is_well_formed(svg));
}

TEST_CASE("bench loss: simt computes the same, in every precision") {
  const TemporaryFolder out;
  const std::string options = "--losses nt-xent,supcon,clip,moco,siglip,vicreg --rows 16 --dims 8 --peer none";
  const auto cpu = measured("--device cpu " + options, out);
  for (const auto& [precision, allowed] : {std::pair{"f32", 1e-5}, {"tf32", 5e-3}, {"bf16", 4e-2}}) {
    const auto simt = measured(fmt::format("--device simt --precision {} {}", precision, options), out);
    CHECK_FALSE(simt["rows"][0].contains("of_ceiling"));
    for (const auto& found : simt["rows"]) {
      CAPTURE(found.dump());
      CHECK(found["agrees"] == true);
      CHECK(found["captured"] == (found["loss"] != "siglip"));
      const double expected = row(cpu, found["loss"], 16, found["by"])["value"];
      CHECK(found["value"].get<double>() == doctest::Approx(expected).epsilon(allowed));
    }
  }
}

TEST_CASE("bench loss: the matrix is in the memory of the materialised loss, and not in ours") {
  const TemporaryFolder out;
  const auto result = measured("--device cpu --losses nt-xent --rows 512,2048 --dims 8 --threads 1 --peer none", out);
  constexpr double kMatrix = 4.0 * 2048 * 2048;
  CHECK(row(result, "nt-xent", 2048, "materialised")["peak_bytes"] > kMatrix);
  CHECK(row(result, "nt-xent", 2048, "systole")["peak_bytes"] < kMatrix / 2);

  const auto bounded = measured(
      "--device cpu --losses nt-xent --rows 512,2048 --dims 8 --threads 1 --peer none --largest-matrix-mb 2", out);
  CHECK(row(bounded, "nt-xent", 512, "materialised")["agrees"] == true);
  CHECK(row(bounded, "nt-xent", 2048, "systole")["seconds"] > 0);
  CHECK(row(bounded, "nt-xent", 2048, "materialised")["left_out"] == "its matrix has 17 MB");
}

TEST_CASE("bench loss: a peer that disagrees or ends makes the exit code 1, and is in the file") {
  const TemporaryFolder out;
  const std::string options = "--device cpu --losses nt-xent --rows 32 --dims 16 --peer ";
  const auto wrong = measured(options + fake_python(out / "wrong", R"(
while [ "$1" != --gradient-file ]; do shift; done
head -c 2048 /dev/zero > "$2"
echo '{"loss": 1.5, "peak_bytes": 4096, "calls": 1}'
while read -r line; do echo 0.25; done
)"),
                              out, 1);
  const auto& found = row(wrong, "nt-xent", 32, "pytorch");
  CHECK(found["agrees"] == false);
  CHECK(found["value"] == 1.5);
  CHECK(found["seconds"] == 0.25);
  CHECK(found["peak_bytes"] == 4096);
  CHECK(found["gradient_error"] == doctest::Approx(1));
  CHECK(wrong["peer"]["name"] == "Fake 1.0");

  const auto ended = measured(options + fake_python(out / "ended", "exit 3\n"), out, 1);
  CHECK(row(ended, "nt-xent", 32, "pytorch")["failure"] == "pytorch ended with exit code 3");
  CHECK(row(ended, "nt-xent", 32, "materialised")["agrees"] == true);
}

TEST_CASE("bench loss: wrong usage is refused with a sentence, and nothing is left behind") {
  const TemporaryFolder out;
  const auto refused = [&](const std::string& options, int code, const std::vector<std::string>& words) {
    const Outcome outcome =
        run(fmt::format("bench loss --device cpu --json {} {}", (out / "a.json").string(), options));
    INFO(options << "\n" << outcome.output);
    CHECK(outcome.code == code);
    for (const std::string& word : words) CHECK_MESSAGE(outcome.output.find(word) != std::string::npos, word);
    CHECK(fs::is_empty(out.path()));
  };
  refused("--losses nt-xent,triplet", 2, {"unknown loss 'triplet'", "nt-xent", "vicreg"});
  refused("--rows 30", 2, {"--rows", "multiple of 8", "cmlc", "30"});
  refused("--losses clip --rows 2", 2, {"--rows", "between 4 and", "2"});
  refused("--losses clip --rows 7", 2, {"--rows", "multiple of 2", "7"});
  refused("--rows many", 2, {"--rows", "many"});
  refused("--dims 0", 2, {"--dims", "between 1 and", "0"});
  refused("--losses clip --rows 4194304 --dims 16384", 2, {"--rows", "at most 65536 for D = 16384", "4194304"});
  refused("--samples 0", 2, {"--samples", "between 1 and 1000"});
  refused("--precision bf16", 2, {"bf16", "cpu"});
  refused("--plot " + (out / "a.png").string(), 2, {"--plot", ".svg", "a.png"});
  refused("--rows 64 --plot " + (out / "a.svg").string(), 2, {"--plot", "at least two", "1"});
  refused("--plot " + (out / "no/such.svg").string(), 1, {"such.svg", "does not exist"});
  refused("--peer /no/such/python", 2, {"--peer", "/no/such/python", "No such file"});
  refused("--peer /bin/false", 2, {"--peer", "/bin/false", "exit code 1"});
  refused("--peer /bin/echo", 2, {"--peer", "/bin/echo", "does not answer"});
}
