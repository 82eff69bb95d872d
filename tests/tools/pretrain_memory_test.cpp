// systole pretrain --accumulate and --recompute.

#include <fmt/format.h>

#include "tests/support.h"
#include "tests/tools/run.h"

using namespace systole::test;

namespace {

Outcome pretrain(const std::filesystem::path& out, const std::string& options) {
  return run(
      fmt::format("pretrain --data-root {} --out {} --epochs 1 --batch-size 8 --width 2 --projection-hidden 8 "
                  "--projection-dim 4 --augment simple crop.seconds=0.8 {}",
                  few_patients().string(), out.string(), options));
}

}  // namespace

TEST_CASE("tools: --recompute changes nothing but memory, which is said before the run") {
  const TemporaryFolder out;
  for (const char* name : {"plain", "again"}) {
    const Outcome outcome = pretrain(out / fmt::format("{}.pt", name), name[0] == 'a' ? "--recompute" : "");
    REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
    CHECK(outcome.output.find("for a step of 8 ECGs, of ") != std::string::npos);
  }
  CHECK(read_file(out / "plain.pt") == read_file(out / "again.pt"));
}

TEST_CASE(
    "tools: --accumulate trains with every method on the cpu and on simt, and is refused where it means nothing") {
  const TemporaryFolder out;
  for (const char* options : {"", "--loss supcon --positives patient", "--method byol", "--method clocs --slots leads"})
    for (const char* device : {"cpu", "simt"}) {
      const Outcome outcome =
          pretrain(out / "x.pt", fmt::format("{} --accumulate 3 --recompute --device {}", options, device));
      CHECK_MESSAGE(outcome.code == 0, outcome.output);
    }
  const Outcome moco = pretrain(out / "y.pt", "--loss moco --accumulate 2");
  CHECK(moco.code == 2);
  CHECK(moco.output.find("--accumulate goes with every loss but moco") != std::string::npos);
  const Outcome many = pretrain(out / "y.pt", "--accumulate 5");
  CHECK(many.code == 2);
  CHECK(many.output.find("--accumulate must be between 1 and 4, half of --batch-size, not 5") != std::string::npos);
}
