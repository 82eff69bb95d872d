// The command views: what it draws of a record whose voltages are known, what its options change, and what it refuses.

#include "data/ptbxl.h"
#include "data/wfdb.h"
#include "tests/support.h"
#include "tests/tools/picture.h"
#include "tests/tools/run.h"

namespace fs = std::filesystem;
using namespace systole::test;

namespace {

/// 20 synthetic patients, generated once.
const fs::path& dataset() {
  static const TemporaryFolder folder;
  static const fs::path root = [] {
    const Outcome made =
        run(fmt::format("generate --out {} --patients 20 --seed 3 --with-500-hz", (folder / "data").string()));
    REQUIRE_MESSAGE(made.code == 0, made.output);
    return folder / "data";
  }();
  return root;
}

/// The rows of the data set's table.
std::vector<systole::data::PtbxlRow> rows() {
  return systole::data::read_ptbxl_metadata(dataset(), systole::data::LabelSet::superclass).rows;
}

std::string drawn(const fs::path& root, const std::string& options, const fs::path& out) {
  const Outcome outcome = run(fmt::format("views --data-root {} --out {} {}", root.string(), out.string(), options));
  REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
  CHECK(outcome.output.find("picture: " + out.string()) != std::string::npos);
  return read_file(out);
}

}  // namespace

TEST_CASE("views: half a millivolt is drawn 5 mm above the baseline, in the record and in both its views") {
  const TemporaryFolder work;
  const fs::path root = work / "data";
  fs::copy(dataset(), root, fs::copy_options::recursive);
  const auto all = rows();
  const auto row = std::find_if(all.begin(), all.end(), [](const auto& r) { return r.fold <= 8; });
  REQUIRE(row != all.end());
  std::vector<int16_t> signal(12 * 1000, 500);
  signal[0] = 501;  // a record whose leads are all constant would be refused
  systole::data::write_wfdb16(root / row->filename_lr, 100,
                              {systole::data::kStandardLeads.begin(), systole::data::kStandardLeads.end()}, 1000, "mV",
                              0, signal);

  constexpr int kDots = 10;
  drawn(root, fmt::format("--augment none --record {} --dots-per-mm {}", row->record_id, kDots), work / "page.png");
  const Picture picture(work / "page.png", kDots);
  int from = 0;
  for (int strip = 0; strip < 12; ++strip) {  // four in each of three ECGs
    CAPTURE(strip);
    const auto pulse = picture.line_below(from, 4.5);
    const auto trace = picture.line_below(static_cast<int>(pulse.y) + 2 * kDots, 240);
    CHECK(trace.y - pulse.y == doctest::Approx(5 * kDots).epsilon(0.02));
    from = static_cast<int>(trace.y) + 4 * kDots;
  }
  CHECK(picture.line_below(from, 4.5).y == -1);
}

TEST_CASE("views: the same options give the same bytes; seed, step, record and recipe give others") {
  const TemporaryFolder out;
  const auto svg = [&](const std::string& options) { return drawn(dataset(), options, out / "a.svg"); };
  const std::string one = svg("--augment ssrl --threads 1");
  CHECK(one == svg("--augment ssrl --threads 3"));
  for (const char* options :
       {"--augment ssrl --seed 43", "--augment ssrl --step 1", "--augment simple", "--augment none",
        "--augment ssrl,lead_noise.p=1,lead_noise.fraction=0.5", "--augment ssrl --sampling-rate 500"})
    CHECK_MESSAGE(one != svg(options), options);
  CHECK(one == svg(fmt::format("--augment ssrl --record {}", [] {
          for (const auto& row : rows())
            if (row.fold <= 8) return row.record_id;  // the first one without --record
          return int64_t{0};
        }())));
  write_file(out / "mine.json", R"({"name": "mine", "augmentations": {"gain": {"p": 1, "factor": 0.5}}})");
  CHECK(svg("--recipe " + (out / "mine.json").string()) != svg("--augment none"));
}

TEST_CASE("views: a record of any fold can be drawn") {
  const TemporaryFolder out;
  for (const auto& row : rows())
    if (row.fold > 8) {
      CHECK(drawn(dataset(), fmt::format("--record {}", row.record_id), out / "a.svg").starts_with("<?xml"));
      return;
    }
  FAIL("no record in the folds 9 and 10");
}

TEST_CASE("views: the sheet has a panel for every augmentation that the sampling rate allows") {
  const TemporaryFolder out;
  const std::string slow = drawn(dataset(), "--sheet", out / "slow.svg");
  const std::string fast = drawn(dataset(), "--sheet --sampling-rate 500", out / "fast.svg");
  CHECK(slow.starts_with("<?xml"));
  CHECK(fast.size() > 2 * slow.size());
  const Outcome left_out =
      run(fmt::format("views --data-root {} --sheet --out {}", dataset().string(), (out / "slow.png").string()));
  CHECK(left_out.output.find("left out: augmentation recipe 'mains'") != std::string::npos);
  CHECK(fs::exists(out / "slow.png"));
}

TEST_CASE("views: wrong usage is refused with a sentence, and nothing is left behind") {
  const TemporaryFolder out;
  const auto refused = [&](const std::string& options, int code, const std::vector<std::string>& words) {
    const Outcome outcome = run(fmt::format("views --data-root {} {}", dataset().string(), options));
    INFO(options << "\n" << outcome.output);
    CHECK(outcome.code == code);
    for (const std::string& word : words) CHECK_MESSAGE(outcome.output.find(word) != std::string::npos, word);
    CHECK(fs::is_empty(out.path()));
  };
  const std::string picture = "--out " + (out / "a.svg").string();
  refused("", 2, {"--out"});
  refused("--out " + (out / "a.jpg").string(), 2, {"--out", ".svg or .png", "a.jpg"});
  refused("--out " + (out / "no/such.svg").string(), 1, {"such.svg", "does not exist"});
  refused(picture + " --record 99999", 2, {"--record", "ecg_id", "99999"});
  refused(picture + " --augment harsh", 2, {"harsh", "simple"});
  refused(picture + " --augment mains.p=1", 2, {"mains.frequency_hz", "100 Hz"});
  refused(picture + " --sheet --augment ssrl", 2, {"--sheet", "--augment"});
  refused(picture + " --dots-per-mm 0", 2, {"--dots-per-mm"});
}
