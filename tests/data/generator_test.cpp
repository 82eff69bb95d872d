// The synthetic ECGs: the laws of the leads, the rhythm, what diseases do to the curve, and the data set on disk.
#include "data/generator.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "data/generator_recording.h"
#include "data/ptbxl.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::data;
using namespace systole::data::synthetic;
namespace fs = std::filesystem;

namespace {

constexpr int kII = 1, kIII = 2, kAVL = 4, kAVF = 5, kV2 = 7, kV3 = 8;

// Patient `index` with one healthy, quiet visit at 60 beats a minute.
Patient healthy_patient(uint32_t index) {
  Patient patient = make_patient(test::seed(), index);
  patient.visits.resize(1);
  Visit& visit = patient.visits[0];
  visit.condition = Condition{};
  visit.fibrillation = false;
  visit.heart_rate_bpm = 60;
  visit.atrial_premature = visit.ventricular_premature = 0;
  visit.noise = NoiseLevels{};
  return patient;
}

float millivolts(const SyntheticEcg& ecg, int l, int lead) {
  return static_cast<float>(ecg.samples[static_cast<size_t>(l) * kLeads + lead]) / kUnitsPerMv;
}

// How fast all leads together change at sample l, in mV per sample.
float slope(const SyntheticEcg& ecg, int l) {
  float sum = 0;
  for (int lead = 0; lead < kLeads; ++lead)
    sum += std::abs(millivolts(ecg, l + 1, lead) - millivolts(ecg, l - 1, lead));
  return sum;
}

// Times of steep change at least 0.25 s apart.
std::vector<double> detect_r(const SyntheticEcg& ecg) {
  std::vector<float> steepness(ecg.length, 0.0f);
  for (int l = 1; l + 1 < ecg.length; ++l) steepness[l] = slope(ecg, l);
  const float threshold = 0.5f * *std::max_element(steepness.begin(), steepness.end());
  std::vector<double> times;
  for (int l = 0; l < ecg.length; ++l)
    if (steepness[l] > threshold &&
        (times.empty() || l - times.back() * ecg.sampling_rate_hz > 0.25 * ecg.sampling_rate_hz))
      times.push_back(static_cast<double>(l) / ecg.sampling_rate_hz);
  return times;
}

double mean_difference(const std::vector<double>& times) {
  return (times.back() - times.front()) / static_cast<double>(times.size() - 1);
}

// The mean over beats of lead `lead` at `offset_s` after R, measured from the PR segment.
double level(const SyntheticEcg& ecg, int lead, double offset_s) {
  double sum = 0;
  int count = 0;
  for (const Beat& beat : ecg.beats) {
    const long at = std::lround((beat.time_s + offset_s) * ecg.sampling_rate_hz);
    const long rest = std::lround((beat.time_s - 0.065) * ecg.sampling_rate_hz);
    if (rest < 0 || at >= ecg.length) continue;
    sum += millivolts(ecg, static_cast<int>(at), lead) - millivolts(ecg, static_cast<int>(rest), lead);
    ++count;
  }
  return sum / count;
}

struct Peak {
  double offset_s, height;  // mV, length of the vector of leads
};

// The largest T wave over the 12 leads, between 0.17 and 0.55 s after R.
Peak t_peak(const SyntheticEcg& ecg) {
  Peak best{0, 0};
  for (int step = 0; step < 95; ++step) {
    const double offset = 0.17 + 0.004 * step;
    double square = 0;
    for (int lead = 0; lead < kLeads; ++lead) square += std::pow(level(ecg, lead, offset), 2);
    if (std::sqrt(square) > best.height) best = {offset, std::sqrt(square)};
  }
  return best;
}

// Seconds from 0.08 s before R to 0.15 s after it, between P and T, in which the leads change faster than a tenth of
// the steepest change there, from first to last; mean over beats.
double qrs_width(const SyntheticEcg& ecg) {
  double sum = 0;
  int beats = 0;
  for (const Beat& beat : ecg.beats) {
    const int begin = static_cast<int>((beat.time_s - 0.08f) * static_cast<float>(ecg.sampling_rate_hz));
    const int end = static_cast<int>((beat.time_s + 0.15f) * static_cast<float>(ecg.sampling_rate_hz));
    if (begin < 1 || end + 1 >= ecg.length) continue;
    std::vector<float> steepness;
    for (int l = begin; l <= end; ++l) steepness.push_back(slope(ecg, l));
    const float threshold = 0.1f * *std::max_element(steepness.begin(), steepness.end());
    const auto steep = [&](float s) { return s > threshold; };
    const auto first = std::find_if(steepness.begin(), steepness.end(), steep);
    const auto last = std::find_if(steepness.rbegin(), steepness.rend(), steep).base();
    sum += static_cast<double>(last - first) / ecg.sampling_rate_hz;
    ++beats;
  }
  return sum / beats;
}

double rr_variation(const SyntheticEcg& ecg) {
  double sum = 0, square = 0;
  for (const Beat& beat : ecg.beats) {
    sum += beat.rr_s;
    square += beat.rr_s * beat.rr_s;
  }
  const double n = static_cast<double>(ecg.beats.size()), mean = sum / n;
  return std::sqrt(std::max(0.0, square / n - mean * mean)) / mean;
}

// Relative path and content of every file below the folder.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder).string()] = test::read_file(entry.path());
  return files;
}

}  // namespace

TEST_CASE("data: synthetic leads obey Einthoven and Goldberger") {
  int largest = 0;
  for (uint32_t p = 0; p < 40; ++p) {
    const Patient patient = make_patient(test::seed(), p);
    const SyntheticEcg ecg = generate_ecg(patient, 0, p % 2 ? 500 : 100);
    REQUIRE(ecg.samples.size() == static_cast<size_t>(ecg.length) * kLeads);
    int worst_einthoven = 0, worst_goldberger = 0;
    for (int l = 0; l < ecg.length; ++l) {
      const int16_t* s = ecg.samples.data() + static_cast<size_t>(l) * kLeads;
      worst_einthoven = std::max(worst_einthoven, std::abs(s[0] + s[2] - s[1]));
      for (const int twice : {2 * s[3] + s[0] + s[1], 2 * s[4] - s[0] + s[2], 2 * s[5] - s[1] - s[2]})
        worst_goldberger = std::max(worst_goldberger, std::abs(twice));
      for (int lead = 0; lead < kLeads; ++lead) largest = std::max(largest, std::abs(int{s[lead]}));
    }
    CHECK(worst_einthoven == 0);
    CHECK(worst_goldberger <= 1);
  }
  CHECK(largest > 1000);   // 1 mV
  CHECK(largest < 16000);  // nothing was clipped
}

TEST_CASE("data: a simple R detector recovers the synthetic heart rate") {
  for (uint32_t p = 0; p < 12; ++p) {
    Patient patient = healthy_patient(p);
    patient.visits[0].heart_rate_bpm = 48 + 7 * static_cast<float>(p);
    const SyntheticEcg ecg = generate_ecg(patient, 0, 100);
    const std::vector<double> detected = detect_r(ecg);
    REQUIRE(detected.size() > 4);
    CHECK(std::abs(static_cast<double>(detected.size()) - static_cast<double>(ecg.beats.size())) <= 1);
    CHECK(60 / mean_difference(detected) == doctest::Approx(patient.visits[0].heart_rate_bpm).epsilon(0.1));
  }
}

TEST_CASE("data: RR varies in sinus rhythm, and far more in fibrillation") {
  double sinus = 0, fibrillation = 0;
  constexpr int kPatients = 12;
  for (uint32_t p = 0; p < kPatients; ++p) {
    Patient patient = healthy_patient(p);
    patient.visits[0].heart_rate_bpm = 75;
    const double variation = rr_variation(generate_ecg(patient, 0, 100));
    CHECK(variation > 0.001);
    CHECK(variation < 0.15);
    sinus += variation / kPatients;
    patient.visits[0].fibrillation = true;
    fibrillation += rr_variation(generate_ecg(patient, 0, 100)) / kPatients;
  }
  CHECK(fibrillation > 3 * sinus);
}

TEST_CASE("data: the T wave moves with the root of RR and QRS does not stretch") {
  for (uint32_t p = 0; p < 6; ++p) {
    Patient patient = healthy_patient(p);
    patient.variability = 0;
    const SyntheticEcg slow = generate_ecg(patient, 0, 500);
    patient.visits[0].heart_rate_bpm = 90;
    const SyntheticEcg fast = generate_ecg(patient, 0, 500);
    CHECK(t_peak(fast).offset_s / t_peak(slow).offset_s == doctest::Approx(std::sqrt(60.0 / 90)).epsilon(0.06));
    CHECK(qrs_width(fast) == doctest::Approx(qrs_width(slow)).epsilon(0.2));
  }
}

TEST_CASE("data: T grows with potassium") {
  for (uint32_t p = 0; p < 10; ++p) {
    Patient patient = healthy_patient(p);
    double last = 0;
    for (const float potassium : {3.4f, 4.3f, 5.4f, 6.4f}) {
      patient.visits[0].condition.potassium_mmol_l = potassium;
      const double height = t_peak(generate_ecg(patient, 0, 500)).height;
      CHECK_MESSAGE(height > last, fmt::format("patient {}, {} mmol/l", p, potassium));
      last = height;
    }
  }
}

TEST_CASE("data: left bundle branch block widens QRS") {
  for (uint32_t p = 0; p < 10; ++p) {
    Patient patient = healthy_patient(p);
    const double narrow = qrs_width(generate_ecg(patient, 0, 500));
    patient.visits[0].condition[Pathology::left_bundle_block] = 1;
    const double wide = qrs_width(generate_ecg(patient, 0, 500));
    CHECK(narrow > 0.05);
    CHECK(narrow < 0.13);
    CHECK_MESSAGE(wide > narrow + 0.015, fmt::format("patient {}: {} s, with the block {} s", p, narrow, wide));
  }
}

TEST_CASE("data: a fresh infarction raises ST in the leads that look at it") {
  const auto change = [](uint32_t index, Pathology pathology, int lead) {
    Patient patient = healthy_patient(index);
    const double before = level(generate_ecg(patient, 0, 500), lead, 0.12);
    patient.visits[0].condition[pathology] = 0.8f;
    patient.visits[0].condition.acuteness = 1;
    return level(generate_ecg(patient, 0, 500), lead, 0.12) - before;
  };
  for (const auto& [pathology, up] : {std::pair{Pathology::inferior_infarction, std::vector{kII, kIII, kAVF}},
                                      std::pair{Pathology::anteroseptal_infarction, std::vector{kV2, kV3}}}) {
    for (const int lead : up) {
      double mean = 0;
      for (uint32_t p = 0; p < 8; ++p) mean += change(p, pathology, lead) / 8;
      CHECK_MESSAGE(mean > 0.05, fmt::format("{}: {} mV", kLeadNames[lead], mean));
    }
  }
  double opposite = 0;
  for (uint32_t p = 0; p < 8; ++p) opposite += change(p, Pathology::inferior_infarction, kAVL) / 8;
  CHECK(opposite < -0.02);
}

TEST_CASE("data: mains hum does not fold into the recording at 100 Hz") {
  Patient patient = healthy_patient(1);
  const auto clean_slow = generate_ecg(patient, 0, 100).samples, clean_fast = generate_ecg(patient, 0, 500).samples;
  patient.visits[0].noise.mains_mv = 0.2f;
  const auto slow = generate_ecg(patient, 0, 100).samples, fast = generate_ecg(patient, 0, 500).samples;
  CHECK(test::max_error(fast, clean_fast) > 100);  // 0.1 mV
  CHECK(test::max_error(slow, clean_slow) < 0.02 * test::max_error(fast, clean_fast));
}

TEST_CASE("data: both sampling rates show the same synthetic heart") {
  const Patient patient = make_patient(test::seed(), 3);
  const EcgPair pair = generate_ecg_pair(patient, 0);
  CHECK(pair.at_500_hz.samples == generate_ecg(patient, 0, 500).samples);
  CHECK(pair.at_100_hz.samples == generate_ecg(patient, 0, 100).samples);
  CHECK(pair.at_500_hz.length == 5000);
  CHECK(pair.at_100_hz.length == 1000);
  const std::string sentence = test::sentence_of<Error>([&] { generate_ecg(patient, 0, 250); });
  CHECK(sentence == "Synthetic ECGs have a sampling rate of 100 or 500 Hz, not 250 Hz.");
  CHECK_THROWS_AS(generate_ecg(patient, 9, 100), Error);
}

TEST_CASE("data: synthetic classes come about as often as in PTB-XL") {
  constexpr uint32_t kPatients = 4000;
  double records = 0, low_ef = 0, high_potassium = 0, again = 0;
  std::array<double, kSuperclasses> count{};
  for (uint32_t p = 0; p < kPatients; ++p) {
    const Patient patient = make_patient(test::seed(), p);
    again += patient.visits.size() > 1;
    for (const Visit& visit : patient.visits) {
      ++records;
      low_ef += visit.condition.lvef_percent < 40;
      high_potassium += visit.condition.potassium_mmol_l > 5;
      for (int c = 0; c < kSuperclasses; ++c) count[c] += visit.has(static_cast<Superclass>(c));
    }
  }
  const double ptbxl[] = {0.437, 0.251, 0.240, 0.225, 0.122};  // Wagner et al. 2020, of 21,799 recordings
  for (int c = 0; c < kSuperclasses; ++c)
    CHECK_MESSAGE(count[c] / records == doctest::Approx(ptbxl[c]).epsilon(0.2), kSuperclassNames[c]);
  CHECK(low_ef / records == doctest::Approx(0.12).epsilon(0.3));
  CHECK(high_potassium / records == doctest::Approx(0.12).epsilon(0.3));
  CHECK(again / kPatients == doctest::Approx(0.35).epsilon(0.1));
}

TEST_CASE("data: folds hold whole patients and equal shares of the classes") {
  const test::TemporaryFolder folder;
  generate_dataset({.out = folder / "set", .patients = 400, .seed = test::seed()});
  const PtbxlMetadata metadata = read_ptbxl_metadata(folder / "set", LabelSet::superclass);
  std::map<int64_t, std::set<int>> folds_of;
  std::map<int, int> records, healthy;
  for (const PtbxlRow& row : metadata.rows) {
    folds_of[row.patient_id].insert(row.fold);
    ++records[row.fold];
    healthy[row.fold] += row.labels[0];
  }
  CHECK(folds_of.size() == 400);
  for (const auto& [patient, folds] : folds_of) CHECK_MESSAGE(folds.size() == 1, patient);
  REQUIRE(records.size() == 10);
  const double mean = static_cast<double>(metadata.rows.size()) / 10;
  const double mean_healthy = std::accumulate(healthy.begin(), healthy.end(), 0.0,
                                              [](double sum, const auto& fold) { return sum + fold.second; }) /
                              10;
  for (int fold = 1; fold <= 10; ++fold) {
    CHECK(records[fold] == doctest::Approx(mean).epsilon(0.4));
    CHECK(healthy[fold] == doctest::Approx(mean_healthy).epsilon(0.5));
  }
}

TEST_CASE("data: a synthetic data set loads as PTB-XL at both rates") {
  const test::TemporaryFolder folder;
  generate_dataset({.out = folder / "set", .patients = 12, .seed = test::seed(), .with_500_hz = true});
  for (const int rate : {100, 500}) {
    LoadReport report;
    const Dataset set = load_ptbxl({.root = folder / "set", .sampling_rate_hz = rate}, LabelSet::superclass, report);
    CHECK(report.missing + report.bad == 0);
    CHECK(set.length == 10 * rate);
    CHECK(set.lead_count() == 12);
    const Patient first = make_patient(test::seed(), 0);
    const SyntheticEcg ecg = generate_ecg(first, 0, rate);
    REQUIRE(set.record_id[0] == 1);
    for (const size_t i : {size_t{0}, size_t{1007}, ecg.samples.size() - 1})
      CHECK(static_cast<float>(set.record(0)[i]) * set.scale[i % 12] + set.offset[i % 12] ==
            doctest::Approx(static_cast<float>(ecg.samples[i]) / kUnitsPerMv).epsilon(1e-4));
  }
}

TEST_CASE("data: one seed gives the same files for any number of threads, another seed others") {
  const test::TemporaryFolder folder;
  const int before = threads();
  const auto generate = [&](const std::string& name, int count, uint64_t seed) {
    set_threads(count);
    generate_dataset({.out = folder / name, .patients = 30, .seed = seed, .with_500_hz = true});
    return files_of(folder / name);
  };
  const auto one = generate("one", 1, test::seed()), three = generate("three", 3, test::seed());
  const auto other = generate("other", 2, test::seed() + 1);
  set_threads(before);
  REQUIRE(one.size() > 60);
  CHECK(one == three);
  CHECK(one.at("records100/00000/00001_lr.dat") != other.at("records100/00000/00001_lr.dat"));
}

TEST_CASE("data: the generator writes all or nothing") {
  const test::TemporaryFolder folder;
  test::write_file(folder / "full/mine.txt", "mine");
  const std::string sentence =
      test::sentence_of<Error>([&] { generate_dataset({.out = folder / "full", .patients = 2}); });
  CHECK(sentence.find("must be a new or an empty folder") != std::string::npos);
  CHECK(files_of(folder / "full").size() == 1);
  CHECK_THROWS_AS(generate_dataset({.out = folder / "none", .patients = 0}), UsageError);

  struct Stop {};
  const auto stop = [](int64_t, int64_t) { throw Stop{}; };
  CHECK_THROWS_AS(generate_dataset({.out = folder / "half", .patients = 3, .progress = stop}), Stop);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);  // only "full"

  int64_t last = 0, total = 0;
  fs::create_directory(folder / "empty");
  generate_dataset({.out = folder / "empty/", .patients = 3, .progress = [&](int64_t done, int64_t records) {
                      last = done;
                      total = records;
                    }});
  CHECK(last == total);
  CHECK(fs::exists(folder / "empty/ptbxl_database.csv"));
  CHECK(fs::exists(folder / "empty/records100/00000/00001_lr.hea"));
}
