#include "data/mitdb.h"

#include <algorithm>
#include <fmt/format.h>
#include <mutex>
#include <numeric>
#include <string_view>

#include "data/joined.h"
#include "data/lead_storage.h"
#include "data/resample.h"
#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

// One recording and its fold.
struct Recording {
  int number, fold;
};
constexpr Recording kRecordings[] = {
    // DS1
    {101, 1},
    {106, 2},
    {108, 3},
    {109, 4},
    {112, 5},
    {114, 6},
    {115, 7},
    {116, 8},
    {118, 1},
    {119, 9},
    {122, 2},
    {124, 3},
    {203, 4},
    {205, 9},
    {207, 5},
    {208, 6},
    {209, 7},
    {215, 8},
    {220, 9},
    {223, 9},
    {230, 1},
    // DS2
    {100, 10},
    {103, 10},
    {105, 10},
    {111, 10},
    {113, 10},
    {117, 10},
    {121, 10},
    {123, 10},
    {200, 10},
    {202, 10},
    {210, 10},
    {212, 10},
    {213, 10},
    {214, 10},
    {219, 10},
    {221, 10},
    {222, 10},
    {228, 10},
    {231, 10},
    {232, 10},
    {233, 10},
    {234, 10}};

constexpr std::string_view kNormal = "NLRej", kSupraventricular = "AaJS", kVentricular = "VE", kFusion = "F",
                           kUnknown = "/fQ!";
enum : size_t { kClassN, kClassS, kClassV, kClassF, kClasses };
const std::vector<std::string> kClassNames = {"N", "S", "V", "F"};

// What occurs in one window.
struct Window {
  bool has_normal = false, has_unknown = false;
  std::vector<uint8_t> labels = std::vector<uint8_t>(kClasses);

  void add(const std::string& symbol) {
    const auto is_of = [&](std::string_view symbols) {
      return symbol.size() == 1 && symbols.find(symbol) != symbols.npos;
    };
    has_normal |= is_of(kNormal);
    has_unknown |= is_of(kUnknown);
    labels[kClassS] |= is_of(kSupraventricular);
    labels[kClassV] |= is_of(kVentricular);
    labels[kClassF] |= is_of(kFusion);
  }
  void finish() {
    const bool has_ectopic = labels[kClassS] || labels[kClassV] || labels[kClassF];
    labels[kClassN] = has_normal && !has_ectopic;
    has_unknown |= !has_normal && !has_ectopic;
  }
};

// One recording on its way into the data set.
struct Loaded {
  Recording recording{};
  bool is_missing = false;
  std::optional<LeftOut> problem;
  std::vector<Window> windows;
  std::vector<size_t> lead;                  // which of the standard leads each signal is
  std::vector<WfdbSignal> signals;           //
  std::vector<std::vector<double>> samples;  // [signals], resampled, in adu
  size_t invalid_samples = 0;
};

fs::path path_of(const fs::path& root, const Recording& recording) {
  return root / std::to_string(recording.number);
}

bool has_files(const fs::path& path) {
  return fs::exists(path.string() + ".hea") && fs::exists(path.string() + ".dat") && fs::exists(path.string() + ".atr");
}

size_t standard_lead(const std::string& name, const fs::path& path) {
  const std::string standard = name == "MLII" ? "II" : name;
  const auto chest = kStandardLeads.begin() + 6;
  const auto found = standard == "II" ? kStandardLeads.begin() + 1 : std::find(chest, kStandardLeads.end(), standard);
  if (found == kStandardLeads.end())
    throw Error(fmt::format("{}.hea has the lead {}; MLII and V1 to V6 were expected.", path.string(), name));
  return static_cast<size_t>(found - kStandardLeads.begin());
}

void read_windows(const fs::path& path, const fs::path& root, double sampling_rate_hz, Loaded& to) {
  const auto samples_per_window = static_cast<int64_t>(kMitdbWindowSeconds * sampling_rate_hz);
  for (const Annotation& annotation : read_annotations(path.string() + ".atr", root))
    if (const auto window = static_cast<size_t>(annotation.sample / samples_per_window);
        annotation.sample >= 0 && window < to.windows.size())
      to.windows[window].add(annotation.symbol);
  for (Window& window : to.windows) window.finish();
}

void read_recording(const fs::path& path, const fs::path& root, const LoadOptions& options, Loaded& to) {
  WfdbRecord record = read_wfdb(path, root);
  if (options.inspect) options.inspect(path.filename().string(), record);
  const double rate_hz = record.header.sampling_rate_hz;
  const auto windows = static_cast<size_t>(static_cast<double>(record.length) / (rate_hz * kMitdbWindowSeconds));
  if (windows == 0)
    throw Error(fmt::format("{}.hea has {} samples, at least {} s were expected.", path.string(), record.length,
                            kMitdbWindowSeconds));
  const Resampler resampler(rate_hz, options.sampling_rate_hz);
  for (size_t s = 0; s < record.header.signals.size(); ++s) {
    const size_t lead = standard_lead(record.header.signals[s].description, path);
    if (std::count(to.lead.begin(), to.lead.end(), lead))
      throw Error(fmt::format("{}.hea has the lead {} twice.", path.string(), kStandardLeads[lead]));
    to.lead.push_back(lead);
    to.invalid_samples += fill_gaps(record.samples[s], record.header.signals[s].description, path.string() + ".hea");
    to.samples.push_back(resampler(std::vector<double>(record.samples[s].begin(), record.samples[s].end())));
  }
  to.signals = record.header.signals;
  to.windows.resize(windows);
  read_windows(path, root, rate_hz, to);
}

std::vector<Loaded> read_all(const LoadOptions& options) {
  std::vector<Loaded> all;
  for (const Recording& recording : kRecordings)
    if (options.folds.empty() || std::count(options.folds.begin(), options.folds.end(), recording.fold))
      all.emplace_back().recording = recording;
  const fs::path root = fs::canonical(options.root);
  std::mutex mutex;
  size_t done = 0;
  parallel_for(static_cast<int64_t>(all.size()), [&](int64_t i) {
    Loaded& loaded = all[static_cast<size_t>(i)];
    const fs::path path = path_of(options.root, loaded.recording);
    loaded.is_missing = !has_files(path);
    if (!loaded.is_missing)
      loaded.problem = problem_of(options.skip_bad_records, path.filename().string(),
                                  [&] { read_recording(path, root, options, loaded); });
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(++done, all.size());
  });
  return all;
}

// A window's part of a signal, without its mean: the offset of the electrodes.
std::vector<double> window_of(const std::vector<double>& samples, size_t window, size_t length) {
  const auto begin = samples.begin() + static_cast<std::ptrdiff_t>(window * length);
  std::vector<double> part(begin, begin + static_cast<std::ptrdiff_t>(length));
  const double mean = std::accumulate(part.begin(), part.end(), 0.0) / static_cast<double>(length);
  for (double& value : part) value -= mean;
  return part;
}

void store_window(const Loaded& from, size_t window, Dataset& dataset) {
  const size_t record = dataset.records();
  resize_records(dataset, record + 1);
  for (size_t s = 0; s < from.lead.size(); ++s) {
    WfdbSignal signal = from.signals[s];
    signal.baseline = 0;  // goes with the mean
    store_values(dataset, record, from.lead[s], signal,
                 window_of(from.samples[s], window, static_cast<size_t>(dataset.length)));
  }
  const int number = from.recording.number;
  dataset.record_id.push_back(1000 * number + static_cast<int64_t>(window));
  dataset.record_name.push_back(fmt::format("{}, window {}", number, window));
  dataset.patient_id.push_back(number);
  dataset.fold.push_back(from.recording.fold);
}

void add_windows(const Loaded& from, bool with_labels, Dataset& dataset, LoadReport& report) {
  for (size_t w = 0; w < from.windows.size(); ++w) {
    ++report.rows;
    const Window& window = from.windows[w];
    if (with_labels && window.has_unknown) {
      ++report.unknown;
      continue;
    }
    store_window(from, w, dataset);
    if (with_labels) dataset.labels.insert(dataset.labels.end(), window.labels.begin(), window.labels.end());
  }
  report.invalid_samples += from.invalid_samples;
}

}  // namespace

bool is_mitdb(const fs::path& root) {
  return std::any_of(std::begin(kRecordings), std::end(kRecordings), [&](const Recording& recording) {
    const std::string path = path_of(root, recording).string();
    return fs::exists(path + ".hea") && fs::exists(path + ".atr");
  });
}

Dataset load_mitdb(const LoadOptions& options, bool with_labels, LoadReport& report) {
  report = {};
  report.what = fmt::format("windows of {} s", kMitdbWindowSeconds);
  Dataset dataset;
  dataset.name = "MIT-BIH";
  dataset.length = kMitdbWindowSeconds * options.sampling_rate_hz;
  dataset.sampling_rate_hz = options.sampling_rate_hz;
  dataset.leads.assign(kStandardLeads.begin(), kStandardLeads.end());
  dataset.unit = "mV";
  dataset.label_set = with_labels ? kMitdbLabelSet : "none";
  if (with_labels) dataset.classes = kClassNames;
  for (const Loaded& loaded : read_all(options)) {
    if (loaded.is_missing)
      report.add_missing("recording " + path_of(options.root, loaded.recording).filename().string());
    else if (loaded.problem)
      report.add_bad(*loaded.problem);
    else
      add_windows(loaded, with_labels, dataset, report);
  }
  report.loaded = dataset.records();
  if (dataset.records() == 0)
    throw Error(fmt::format("Nothing could be loaded from {}: {}", options.root.string(), report.sentence()));
  return dataset;
}

}  // namespace systole::data
