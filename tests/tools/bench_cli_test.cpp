// systole bench kernels, bench step and bench --compare as a user runs them, at sizes that take no time. No time is
// judged.

#include <doctest/doctest.h>
#include <filesystem>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "benchmarks/kernel_cases.h"
#include "kernels/support.h"
#include "tests/tools/run.h"
#include "tools/bench_scaling.h"

using namespace systole;
using namespace systole::test;
namespace fs = std::filesystem;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A run that must end with `code` and say all of `words`.
std::string said(const std::string& arguments, int code, const std::vector<std::string>& words) {
  const Outcome outcome = run(arguments);
  INFO(arguments << "\n" << outcome.output);
  CHECK(outcome.code == code);
  for (const std::string& word : words) CHECK_MESSAGE(contains(outcome.output, word), word);
  return outcome.output;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// What bench --compare reads: rows of kernels, each {kernel, median, fastest, slowest}.
struct Row {
  std::string kernel;
  double seconds, fastest, slowest;
};
fs::path write_results(const fs::path& path, const std::string& device, const std::vector<Row>& rows) {
  nlohmann::json json{{"benchmark", "kernels"}, {"device_text", device}, {"commit", "abc"}, {"precision", "f32"}};
  json["rows"] = nlohmann::json::array();
  for (const Row& r : rows)
    json["rows"].push_back({{"kernel", r.kernel},
                            {"shape", "s"},
                            {"by", "systole"},
                            {"seconds", r.seconds},
                            {"fastest", r.fastest},
                            {"slowest", r.slowest}});
  write_file(path, json.dump());
  return path;
}

}  // namespace

TEST_CASE("bench kernels: every family's small cases agree with the cpu, on cpu and simt") {
  struct Run {
    const char *device, *precision;
    double most_mflop, allowed;
  };
  for (const auto& [device, precision, most_mflop, allowed] :
       {Run{"cpu", "f32", 0.02, 1e-3}, {"simt", "f32", 0.02, 1e-3}, {"simt", "bf16", 0.1, 1.5e-2}}) {
    const TemporaryFolder out;
    const std::string json = (out / "a.json").string();
    said(fmt::format("bench kernels --device {} --precision {} --check-only --most-mflop {} --json {}", device,
                     precision, most_mflop, json),
         0, {"results agree with the cpu", "were left out"});
    const auto result = nlohmann::json::parse(read_file(json));
    CHECK(result["device"] == device);
    CHECK(result["failed"] == 0);
    CHECK(result["left_out"] > 0);
    for (const char* family : {"batch_norm.", "classification.", "contrastive.", "conv1d.", "elementwise.", "linear.",
                               "optimizer.", "pool.", "reconstruction."}) {
      size_t found = 0;
      for (const auto& row : result["rows"]) found += row["kernel"].get<std::string>().starts_with(family);
      CHECK_MESSAGE(found > 0, family);
    }
    for (const auto& row : result["rows"]) {
      CAPTURE(row.dump());
      CHECK(row["agrees"] == true);
      CHECK(row["error"] < allowed);
      CHECK_FALSE(row.contains("seconds"));
    }
  }
}

TEST_CASE("bench kernels: ceilings, times, a page and a roofline of what was measured") {
  const TemporaryFolder out;
  const auto file = [&](const char* name) { return (out / name).string(); };
  const std::string output =
      said(fmt::format("bench kernels --device cpu --threads 1 --filter \"encoder/5 256-256 K3 N8\" --repeats 1 "
                       "--json {} --markdown {} --plot {}",
                       file("a.json"), file("a.md"), file("a.svg")),
           0, {"ceilings: FMA", "bf16 dot product", "reading L1", "reading DRAM", "agree with the cpu"});
  const auto result = nlohmann::json::parse(read_file(out / "a.json"));
  for (const char* field : {"date", "commit", "device_text", "command"}) CHECK_FALSE(result[field] == "");
  CHECK(result["threads"] == 1);
  CHECK(result["ceilings"]["fma_flop_per_second"] > 1e8);
  CHECK(result["ceilings"]["copy_bytes_per_second"] > 1e8);
  CHECK(result["ceilings"]["reading"].back()["name"] == "DRAM");
  size_t ours = 0;
  for (const auto& row : result["rows"]) {
    CAPTURE(row.dump());
    for (const char* field : {"seconds", "fastest", "slowest", "flop", "bytes", "of_floor", "times_ours"})
      CHECK_MESSAGE(row[field] > 0, field);
    CHECK(row["fastest"] <= row["seconds"]);
    CHECK(row["seconds"] <= row["slowest"]);
    ours += row["by"] == "systole";
    if (row["by"] == "systole") CHECK(row["times_ours"] == 1);
  }
  CHECK(ours >= 5);  // three passes of a convolution, two of them fused too
  const std::string page = read_file(out / "a.md");
  CHECK(contains(page, "## conv1d"));
  CHECK(count_of(page, "\n| conv1d.") == ours);
  CHECK(contains(page, "--filter"));  // the command
  const std::string svg = read_file(out / "a.svg");
  CHECK(svg.starts_with("<?xml"));
  CHECK(contains(svg, "</svg>"));
  CHECK_FALSE(contains(svg, "nan"));
}

TEST_CASE("bench kernels: a mistake is one sentence, and no file is left behind") {
  const TemporaryFolder out;
  const auto refused = [&](const std::string& options, int code, const std::vector<std::string>& words) {
    said("bench kernels --device cpu --check-only " + options, code, words);
    CHECK(fs::is_empty(out.path()));
  };
  refused("--filter no-such-shape", 2, {"--filter", "no-such-shape"});
  refused("--by mkl", 2, {"--by", "systole, openblas", "mkl"});
  refused("--filter pool. --by cudnn", 2, {"--filter", "cudnn"});
  refused("--repeats -1", 2, {"--repeats", "between 0 and 1000", "-1"});
  refused("--plot " + (out / "a.svg").string(), 2, {"--plot", "measured"});
  refused("--markdown " + (out / "a.md").string(), 2, {"--markdown", "--check-only"});
  refused("--json " + (out / "no/such.json").string(), 1, {"such.json", "does not exist"});
  refused("--precision f16", 2, {"f16"});
  refused("--precision bf16", 2, {"--precision bf16", "the cpu emulates it", "expected f32"});
}

TEST_CASE("bench kernels: every kernel that the cpu has stands among the cases") {
  const std::vector<benchmarks::KernelCase> cases = benchmarks::kernel_cases();
  for (const kernels::Support& row : kernels::support_matrix()) {
    const std::string kernel = row.kernel;
    const bool stands = std::any_of(cases.begin(), cases.end(), [&](const benchmarks::KernelCase& c) {
      return c.kernel == kernel || c.kernel.starts_with(kernel + ",") || c.kernel.starts_with(kernel + " ");
    });
    if (row.on[static_cast<size_t>(Device::cpu)]) CHECK_MESSAGE(stands, kernel);
  }
}

TEST_CASE("bench step: sizes, profile and scaling on cpu, the same step on simt") {
  const TemporaryFolder out;
  const std::string json = (out / "step.json").string(), small = "--width 4 --samples 1 --json " + json;
  said("bench step --device cpu --threads 1 --batch-size 2,4 --length 32,64 --peer none --profile --augment ssrl " +
           small,
       0,
       {"conv1d.weight_gradient", "augment.views", "optimizer.adam", "between kernels", "systole: time ~ batch size^",
        "systole: time ~ length^", "--peer none"});
  const auto result = nlohmann::json::parse(read_file(json));
  CHECK(result["augment"] == "ssrl");
  CHECK(result["encoder"]["width"] == 4);
  REQUIRE(result["rows"].size() == 4);
  for (const auto& row : result["rows"]) {
    CAPTURE(row.dump());
    for (const char* field : {"seconds", "ecg_per_second", "flop", "of_ceiling"}) CHECK_MESSAGE(row[field] > 0, field);
    double shares = 0;
    for (const auto& line : row["profile"]) shares += line["share"].get<double>();
    CHECK(shares == doctest::Approx(1));
    for (const auto& line : row["profile"])
      if (line["what"] == "conv1d.forward") CHECK(line["calls"] == 6);
  }
  CHECK(result["rows"][1]["flop"] == doctest::Approx(2 * result["rows"][0]["flop"].get<double>()));

  said("bench step --device simt --precision bf16 --batch-size 2 --length 16 --peer none " + small, 0, {"systole"});
  CHECK(nlohmann::json::parse(read_file(json))["rows"][0]["seconds"] > 0);
}

TEST_CASE("bench step: a peer takes turns, and one that cannot is named") {
  const TemporaryFolder out;
  const fs::path python = out / "python";
  const auto fake = [&](const std::string& answer) {
    write_file(python, R"(#!/bin/sh
case "$*" in *--describe*) echo '{"name": "Fake 1.0", "product_flop_per_second": 1e12}'; exit;; esac
)" + answer);
    fs::permissions(python, fs::perms::owner_all);
    return fmt::format("bench step --device cpu --threads 1 --batch-size 2 --length 16 --samples 3 --json {} --peer {}",
                       (out / "a.json").string(), python.string());
  };
  said(fake("echo '{}'; while read line; do echo 4; done"), 0, {"Fake 1.0", "pytorch"});
  const auto rows = nlohmann::json::parse(read_file(out / "a.json"))["rows"];
  REQUIRE(rows.size() == 2);
  CHECK(rows[1]["by"] == "pytorch");
  CHECK(rows[1]["seconds"] == 4);
  CHECK(rows[1]["samples"] == 3);
  CHECK(rows[1]["times_ours"] > 1);
  said(fake("echo '{}'; while read line; do echo 4; done") + " --peer-modes compiled,eager", 0,
       {"pytorch compiled", "pytorch  "});
  said(fake("") + " --peer-modes graphs", 2, {"--peer-modes", "cuda", "graphs"});
  said(fake("exit 7"), 1, {"pytorch", "exit code 7"});
  said(fake("echo '{}'; read line; echo many"), 1, {"pytorch answered 'many' instead of seconds"});
  said(fake("") + " --width 32", 0, {"no PyTorch beside", "width 64"});
  said("bench step --device cpu --peer /no/such/python", 2, {"--peer", "/no/such/python"});
  said("bench step --batch-size 1", 2, {"--batch-size", "between 2 and", "1"});
  said("bench step --length 10,many", 2, {"--length", "many"});
  said("bench step --augment stronger", 2, {"stronger"});
  said("bench step --samples 0", 2, {"--samples", "between 1 and 1000"});
}

TEST_CASE("bench scaling: the fitted exponent of a power is its exponent, the other sizes held") {
  std::vector<tools::ScalingPoint> points;
  for (const double batch : {8, 16, 64})
    for (const double length : {100, 400})
      points.push_back({"us", {{"n", batch}, {"l", length}}, batch * length * length});
  CHECK(tools::scaling_lines(points) ==
        std::vector<std::string>{"us: time ~ n^1.00 (l 100)", "us: time ~ n^1.00 (l 400)", "us: time ~ l^2.00 (n 8)",
                                 "us: time ~ l^2.00 (n 16)", "us: time ~ l^2.00 (n 64)"});
  CHECK(tools::scaling_lines({{"us", {{"n", 8}}, 1}, {"us", {{"n", 8}}, 2}}).empty());
  CHECK(tools::scaling_lines({}).empty());
}

TEST_CASE("bench --compare: what moved beyond both spreads, what is in one file alone, and another device") {
  const TemporaryFolder out;
  const fs::path
      a = write_results(
          out / "a.json", "one",
          {{"faster", 4, 3, 5}, {"slower", 4, 3, 5}, {"noise", 4, 3, 5}, {"wide", 4, 3.9, 4.1}, {"gone", 1, 1, 1}}),
      b = write_results(
          out / "b.json", "two",
          {{"faster", 2, 1, 2.5}, {"slower", 6, 5.5, 7}, {"noise", 4.5, 4, 6}, {"wide", 5, 2, 6}, {"new", 1, 1, 1}});
  const std::string output =
      said(fmt::format("bench --compare {} {}", a.string(), b.string()), 0,
           {"different devices", "only in " + a.string() + ": gone", "only in " + b.string() + ": new",
            "2 of 4 moved beyond the noise: 1 faster, 1 slower"});
  CHECK(contains(output, "\nfaster, s, systole"));
  CHECK(contains(output, "0.500"));
  CHECK(contains(output, "\nslower, s, systole"));
  CHECK(contains(output, "1.500"));
  CHECK_FALSE(contains(output, "noise, s"));
  CHECK_FALSE(contains(output, "wide, s"));
  const std::string same = said(fmt::format("bench --compare {} {}", a.string(), a.string()), 0,
                                {"0 of 5 moved beyond the noise", "median ratio of all is 1.000"});
  CHECK_FALSE(contains(same, "different devices"));
}

TEST_CASE("bench --compare: a mistake is one sentence") {
  const TemporaryFolder out;
  const fs::path good = write_results(out / "good.json", "one", {{"k", 4, 3, 5}}), bad = out / "bad.json";
  const auto refused = [&](const std::string& content, int code, const std::vector<std::string>& words) {
    write_file(bad, content);
    const std::string output = said(fmt::format("bench --compare {} {}", good.string(), bad.string()), code, words);
    CHECK(count_of(output, "\n") == 1);
  };
  refused("{\"benchmark\": ", 1, {"bad.json", "is not JSON", "byte"});
  refused("[]", 1, {"bad.json", "is not a result of systole bench"});
  refused(R"({"benchmark": "kernels"})", 1, {"bad.json", "is not a result of systole bench"});
  refused(R"({"benchmark": "kernels", "rows": [{"kernel": "k"}]})", 1, {"row 1 of", "bad.json"});
  refused(R"({"benchmark": "kernels", "rows": [{"kernel": "k", "shape": "s", "by": "b", "seconds": "1"}]})", 1,
          {"row 1 of"});
  refused(R"({"benchmark": "augment", "rows": []})", 2, {"one benchmark", "bench kernels", "bench augment"});
  said(fmt::format("bench --compare {} {}", good.string(), (out / "none.json").string()), 1,
       {"none.json", "cannot be read"});
  said("bench --compare " + good.string(), 2, {"--compare"});
  said("bench", 2, {"augment, data, kernels, loss and step", "--compare"});
}
