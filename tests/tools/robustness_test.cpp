// Corruptions do what their levels say, measured on the signals; and systole evaluate --robustness gives the same
// figures for a seed, whatever the number of threads.

#include "tools/robustness.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/tools/run.h"
#include "tools/ecg_data.h"

namespace fs = std::filesystem;
using namespace systole;
using namespace systole::test;
using namespace systole::tools;

namespace {

DataOptions few_patients_data() {
  DataOptions options;
  options.root = few_patients();
  return options;
}

constexpr int kRecords = 8;

/// Views [N, L, C] of the first records in millivolts, without and with a corruption.
class Signals {
 public:
  Signals()
      : dataset_(load(few_patients_data(), {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})),
        normalization_(data::measure_normalization(dataset_, first_records())),
        batches_(dataset_, normalization_, dataset_.length, Device::cpu),
        clean_(millivolts({})) {}

  int leads() const { return static_cast<int>(dataset_.lead_count()); }
  int length() const { return dataset_.length; }

  /// visit(clean, corrupted) for every record and lead, each [L].
  template <class Visit>
  void for_each_lead(const augment::Recipe& recipe, const Visit& visit) const {
    const std::vector<float> corrupted = millivolts(recipe);
    for (int n = 0; n < kRecords; ++n)
      for (int c = 0; c < leads(); ++c) visit(lead(clean_, n, c), lead(corrupted, n, c));
  }

 private:
  static std::vector<size_t> first_records() {
    std::vector<size_t> records(kRecords);
    for (size_t r = 0; r < records.size(); ++r) records[r] = r;
    return records;
  }
  std::vector<float> millivolts(const augment::Recipe& recipe) const {
    std::vector<float> x = batches_.views(first_records(), {.recipe = recipe, .seed = seed()}).to_vector();
    const size_t C = dataset_.lead_count();
    for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * normalization_.std[i % C] + normalization_.mean[i % C];
    return x;
  }
  std::vector<double> lead(const std::vector<float>& x, int n, int c) const {
    std::vector<double> values;
    for (int l = 0; l < length(); ++l)
      values.push_back(
          x[(static_cast<size_t>(n) * static_cast<size_t>(length()) + static_cast<size_t>(l)) * dataset_.lead_count() +
            static_cast<size_t>(c)]);
    return values;
  }

  data::Dataset dataset_;
  data::Normalization normalization_;
  Batches batches_;
  std::vector<float> clean_;
};

std::vector<double> minus(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

double variance(const std::vector<double>& x) {
  double sum = 0, squares = 0;
  for (const double v : x) sum += v, squares += v * v;
  const auto n = static_cast<double>(x.size());
  return squares / n - sum / n * sum / n;
}

const Corruption& corruption(const std::vector<Corruption>& all, const std::string& name) {
  return *std::find_if(all.begin(), all.end(), [&](const Corruption& c) { return c.name == name; });
}

nlohmann::json evaluated(const fs::path& checkpoint, const fs::path& json, const std::string& options) {
  const Outcome outcome =
      run(fmt::format("evaluate --data-root {} --checkpoint {} --folds 1,2,3,4,5,6,7,8 --bootstrap 20 "
                      "--json {} {}",
                      few_patients().string(), checkpoint.string(), json.string(), options));
  REQUIRE_MESSAGE(outcome.code == 0, outcome.output);
  return nlohmann::json::parse(read_file(json));
}

}  // namespace

TEST_CASE("robustness: every level is what it says it is") {
  const Signals signals;
  const std::vector<Corruption> all = corruptions(signals.leads());
  REQUIRE(all.size() == 4);

  for (const double snr_db : corruption(all, "white_noise").levels) {
    CAPTURE(snr_db);
    double sum = 0;
    int leads = 0;
    signals.for_each_lead(corruption(all, "white_noise").recipe(snr_db), [&](const auto& clean, const auto& noisy) {
      sum += 10 * std::log10(variance(clean) / variance(minus(noisy, clean)));
      ++leads;
    });
    CHECK(sum / leads == doctest::Approx(snr_db).epsilon(0.01).scale(10));
  }
  for (const double amplitude_mv : corruption(all, "baseline_wander").levels)
    signals.for_each_lead(corruption(all, "baseline_wander").recipe(amplitude_mv), [&](const auto& clean, auto wander) {
      wander = minus(wander, clean);  // three cycles in ten seconds
      CHECK(*std::max_element(wander.begin(), wander.end()) == doctest::Approx(amplitude_mv).epsilon(0.01));
      CHECK(*std::min_element(wander.begin(), wander.end()) == doctest::Approx(-amplitude_mv).epsilon(0.01));
      CHECK(variance(wander) == doctest::Approx(amplitude_mv * amplitude_mv / 2).epsilon(0.01));
    });
  for (const double count : corruption(all, "lost_leads").levels) {
    int lost = 0;
    signals.for_each_lead(corruption(all, "lost_leads").recipe(count), [&](const auto& clean, const auto& corrupted) {
      lost += variance(corrupted) < 1e-9;
      if (variance(corrupted) >= 1e-9) CHECK(corrupted == clean);
    });
    CHECK(lost == count * kRecords);
  }
  for (const double percent : corruption(all, "lost_time").levels)
    signals.for_each_lead(corruption(all, "lost_time").recipe(percent), [&](const auto& clean, const auto& corrupted) {
      size_t changed = 0, first = clean.size(), last = 0;
      for (size_t l = 0; l < clean.size(); ++l) {
        if (clean[l] == corrupted[l]) continue;
        ++changed;
        first = std::min(first, l);
        last = l;
      }
      const double expected = percent / 100 * static_cast<double>(clean.size());
      CHECK(changed == doctest::Approx(expected).epsilon(0.1));  // a few samples happen to be the mean
      CHECK(last - first + 1 <= expected + 1);
    });
}

TEST_CASE("robustness: at least one lead is kept, and a heavier corruption holds the draws of a lighter one") {
  for (const int leads : {1, 3, 8}) {
    for (const Corruption& c : corruptions(leads))
      if (c.name == "lost_leads")
        for (const double level : c.levels) CHECK(level < leads);
    CHECK(corruptions(leads).size() == (leads == 1 ? 3 : 4));
  }
  const Signals signals;
  const std::vector<Corruption> all = corruptions(signals.leads());
  std::vector<std::vector<double>> noise[2];
  for (const int i : {0, 1})
    signals.for_each_lead(corruption(all, "white_noise").recipe(i == 0 ? 20 : 0),
                          [&](const auto& clean, const auto& noisy) { noise[i].push_back(minus(noisy, clean)); });
  for (size_t lead = 0; lead < noise[0].size(); ++lead) {
    for (double& x : noise[0][lead]) x *= 10;
    check_close(noise[0][lead], noise[1][lead], 1e-3, "noise of 20 dB, ten times, and of 0 dB");
  }
}

TEST_CASE("evaluate --robustness: the same seed gives the same figures, and the first row is the plain evaluation") {
  const TemporaryFolder out;
  const fs::path classifier = out / "c.safetensors";
  const Outcome trained =
      run(fmt::format("supervised --data-root {} --epochs 40 --lr 0.01 --batch-size 8 --width 4 --threads 1 "
                      "--out {}",
                      few_patients().string(), classifier.string()));
  REQUIRE_MESSAGE(trained.code == 0, trained.output);

  const auto plain = evaluated(classifier, out / "plain.json", "--threads 1");
  const std::string plot = "--robustness --plot " + (out / "r.svg").string();
  const auto one = evaluated(classifier, out / "one.json", plot + " --threads 1");
  CHECK(read_file(out / "r.svg").find("</svg>") != std::string::npos);
  CHECK_FALSE(plain.contains("robustness"));
  CHECK(one["metrics"] == plain["metrics"]);
  const auto& r = one["robustness"];
  CHECK(r["clean"] == plain["metrics"]["macro"]["auroc"]);
  REQUIRE(r["corruptions"].size() == 4);
  std::map<std::string, std::vector<double>> levels;
  for (const auto& c : r["corruptions"])
    for (const auto& level : c["levels"]) {
      levels[c["name"]].push_back(level["level"]);
      CHECK(level["auroc"]["low"] <= level["auroc"]["value"]);
      CHECK(level["auroc"]["value"] <= level["auroc"]["high"]);
    }
  CHECK(levels["white_noise"] == std::vector<double>{30, 20, 10, 5, 0});
  CHECK(levels["baseline_wander"] == std::vector<double>{0.05, 0.1, 0.2, 0.5});
  CHECK(levels["lost_leads"] == std::vector<double>{1, 3, 6, 9});
  CHECK(levels["lost_time"] == std::vector<double>{10, 30, 50, 70});
  // On the records that it was trained on, a classifier is good, mild noise changes little and nine lost leads much.
  const auto auroc = [&](size_t which, size_t level) -> double {
    return r["corruptions"][which]["levels"][level]["auroc"]["value"];
  };
  const double clean = r["clean"]["value"];
  CHECK(clean > 0.8);
  CHECK(auroc(0, 0) == doctest::Approx(clean).epsilon(0.02));
  CHECK(auroc(2, 3) < clean - 0.1);

  CHECK(evaluated(classifier, out / "two.json", "--robustness --threads 2")["robustness"] == r);
  CHECK(evaluated(classifier, out / "seed.json", "--robustness --threads 1 --seed 43")["robustness"]["corruptions"] !=
        r["corruptions"]);
}

TEST_CASE("evaluate --plot: what it does not go with is refused") {
  const auto refused = [](const std::string& options, int code, const std::string& words) {
    const Outcome outcome = run("evaluate --data-root x --checkpoint y " + options);
    CHECK(outcome.code == code);
    CHECK_MESSAGE(outcome.output.find(words) != std::string::npos, outcome.output);
  };
  refused("--plot a.svg", 2, "--plot draws what --robustness measures");
  refused("--robustness --plot a.png", 2, "--plot must be a file with the extension .svg, not a.png");
  refused("--robustness --plot no/such.svg", 1, "does not exist");
}
