#include "data/ptbxl.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <optional>

#include "data/joined.h"
#include "data/wfdb.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"

namespace systole::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLeads = kStandardLeads.size();
constexpr size_t kExamples = 3;

// 21799 as 21,799.
std::string with_commas(size_t number) {
  if (number < 1000) return std::to_string(number);
  return with_commas(number / 1000) + fmt::format(",{:03}", number % 1000);
}

// A record on its way into the data set.
struct Candidate {
  const PtbxlRow* row = nullptr;
  std::string name;
  fs::path path;
  enum { present, missing, bad } state = present;
  std::string problem;  // of a bad one
  int64_t length = 0;
  std::string unit;
  size_t invalid_samples = 0, rescaled_leads = 0;
};

std::string header_path(const Candidate& record) {
  return record.path.string() + ".hea";
}

// The unit in which Systole keeps a signal, and what its values are multiplied by.
struct Unit {
  std::string name;
  double factor;
};
Unit kept_unit(const std::string& unit) {
  if (unit == "V") return {"mV", 1e3};
  if (unit == "uV" || unit == "µV") return {"mV", 1e-3};
  return {unit, 1};
}

std::string spelled_as_standard(std::string lead) {
  std::transform(lead.begin(), lead.end(), lead.begin(), [](unsigned char c) { return std::toupper(c); });
  return lead;
}

std::string lead_names(const WfdbHeader& header) {
  std::vector<std::string> names;
  for (const WfdbSignal& signal : header.signals) names.push_back(signal.description);
  return joined(names);
}

// Which signal of the record each standard lead is.
std::array<size_t, kLeads> find_leads(const WfdbHeader& header, const std::string& source) {
  if (header.signals.size() != kLeads)
    throw Error(fmt::format("{} has {} leads ({}), the 12 leads {} were expected.", source, header.signals.size(),
                            lead_names(header), joined(kStandardLeads)));
  std::array<size_t, kLeads> signal_of{};
  for (size_t lead = 0; lead < kLeads; ++lead) {
    const auto found = std::find_if(header.signals.begin(), header.signals.end(), [&](const WfdbSignal& signal) {
      return spelled_as_standard(signal.description) == kStandardLeads[lead];
    });
    if (found == header.signals.end())
      throw Error(
          fmt::format("{} has no lead {}; its leads are {}.", source, kStandardLeads[lead], lead_names(header)));
    signal_of[lead] = static_cast<size_t>(found - header.signals.begin());
  }
  return signal_of;
}

// Checks what the header alone tells, and notes what must agree among the records.
void inspect(Candidate& record, int sampling_rate_hz) {
  const WfdbHeader header = read_wfdb_header(record.path);
  if (header.sampling_rate_hz != sampling_rate_hz)
    throw Error(fmt::format("{} has a sampling rate of {} Hz, {} Hz was expected.", header_path(record),
                            header.sampling_rate_hz, sampling_rate_hz));
  find_leads(header, header_path(record));
  record.length = header.length > 0 ? header.length : read_wfdb(record.path).length;
  if (record.length == 0) throw Error(fmt::format("{} has no samples.", header_path(record)));
  record.unit = kept_unit(header.signals[0].unit).name;
  for (const WfdbSignal& signal : header.signals)
    if (kept_unit(signal.unit).name != record.unit)
      throw Error(fmt::format("{}: lead {} is in {} and lead {} in {}, one unit was expected.", header_path(record),
                              header.signals[0].description, header.signals[0].unit, signal.description, signal.unit));
}

// Replaces kInvalidSample by the line between its valid neighbours, or by the nearest valid sample at either end.
// Returns how many there were; a lead without any valid sample is left as it is.
size_t fill_invalid(std::vector<int32_t>& samples) {
  size_t filled = 0;
  std::optional<size_t> last_valid;
  for (size_t i = 0; i <= samples.size(); ++i) {
    if (i < samples.size() && samples[i] == kInvalidSample) continue;
    const size_t begin = last_valid ? *last_valid + 1 : 0;
    if (i == samples.size() && !last_valid) return samples.size();
    const double after = samples[i < samples.size() ? i : *last_valid];
    const double before = samples[last_valid ? *last_valid : i];
    for (size_t gap = begin; gap < i; ++gap, ++filled) {
      const double part = static_cast<double>(gap + 1 - begin) / static_cast<double>(i + 1 - begin);
      samples[gap] = static_cast<int32_t>(std::lround(before + part * (after - before)));
    }
    last_valid = i;
  }
  return filled;
}

// The integers that stand for a lead in int16: sample = stored · step + centre.
struct Storage {
  double step = 1, centre = 0;

  bool is_plain() const { return step == 1 && centre == 0; }
  int16_t stored(int32_t sample) const {
    return static_cast<int16_t>(is_plain() ? sample : std::lround((sample - centre) / step));
  }
};
Storage storage_of(const std::vector<int32_t>& samples) {
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  if (*low >= INT16_MIN && *high <= INT16_MAX) return {};
  const double range = static_cast<double>(*high) - *low;
  constexpr double kSteps = 2.0 * INT16_MAX - 1;  // one less than there are: the centre may lie half a sample low
  return {std::max(1.0, range / kSteps), std::floor(*low + range / 2)};
}

// Where one record of the data set goes.
struct Destination {
  int16_t* samples;  // [L, leads]
  float* scale;      // [leads]
  float* offset;     // [leads]
};

void store_lead(Candidate& record, const WfdbSignal& signal, std::vector<int32_t>& samples, size_t lead,
                Destination to) {
  const double unit_per_adu = kept_unit(signal.unit).factor / signal.gain;
  const size_t invalid = fill_invalid(samples);
  record.invalid_samples += invalid;
  if (invalid == samples.size()) {
    to.scale[lead] = static_cast<float>(unit_per_adu);
    return;  // samples and offset are zero already
  }
  const Storage storage = storage_of(samples);
  record.rescaled_leads += !storage.is_plain();
  to.scale[lead] = static_cast<float>(storage.step * unit_per_adu);
  to.offset[lead] = static_cast<float>((storage.centre - signal.baseline) * unit_per_adu);
  for (size_t l = 0; l < samples.size(); ++l) to.samples[l * kLeads + lead] = storage.stored(samples[l]);
}

// What most records have; among equals the smallest.
template <class Value>
Value most_common(const std::vector<Candidate>& records, Value Candidate::*field) {
  std::map<Value, size_t> count;
  for (const Candidate& record : records) ++count[record.*field];
  const auto by_count = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(count.begin(), count.end(), by_count)->first;
}

void check_agrees(const Candidate& record, int64_t length, int64_t usual_length, const std::string& usual_unit) {
  if (length != usual_length)
    throw Error(fmt::format("{} has {} samples per lead, {} were expected as in the other records.",
                            header_path(record), length, usual_length));
  if (record.unit != usual_unit)
    throw Error(fmt::format("{} is in {}, the unit {} was expected as in the other records.", header_path(record),
                            record.unit, usual_unit));
}

void load_record(Candidate& record, const Dataset& dataset, Destination to) {
  WfdbRecord wfdb = read_wfdb(record.path);
  const auto signal_of = find_leads(wfdb.header, header_path(record));
  for (size_t lead = 0; lead < kLeads; ++lead) {
    std::vector<int32_t>& samples = wfdb.samples[signal_of[lead]];
    check_agrees(record, static_cast<int64_t>(samples.size()), dataset.length, dataset.unit);
    store_lead(record, wfdb.header.signals[signal_of[lead]], samples, lead, to);
  }
}

// Runs the action on the record. A broken one is marked and skipped if that was asked for, and stops the load
// otherwise.
template <class Action>
void guarded(Candidate& record, bool skip_bad_records, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    if (!skip_bad_records)
      throw Error(fmt::format("{} The option --skip-bad-records leaves broken records out.", error.what()));
    record.state = Candidate::bad;
    record.problem = error.what();
  }
}

std::vector<Candidate> select(const PtbxlMetadata& metadata, const PtbxlOptions& options, LoadReport& report) {
  std::vector<Candidate> records;
  for (const PtbxlRow& row : metadata.rows) {
    if (!options.folds.empty() && !std::count(options.folds.begin(), options.folds.end(), row.fold)) continue;
    ++report.rows;
    const bool labelled = std::count(row.labels.begin(), row.labels.end(), 1) > 0;
    if (!labelled && options.drop_unlabelled) {
      ++report.dropped;
      continue;
    }
    Candidate record;
    record.row = &row;
    record.name = options.sampling_rate_hz == 100 ? row.filename_lr : row.filename_hr;
    record.path = options.root / record.name;
    records.push_back(std::move(record));
  }
  return records;
}

void inspect_all(std::vector<Candidate>& records, const PtbxlOptions& options) {
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    Candidate& record = records[static_cast<size_t>(i)];
    if (!fs::exists(header_path(record)) || !fs::exists(record.path.string() + ".dat"))
      record.state = Candidate::missing;
    else
      guarded(record, options.skip_bad_records, [&] { inspect(record, options.sampling_rate_hz); });
  });
}

void remove_all_but_present(std::vector<Candidate>& records, LoadReport& report) {
  const auto note = [](size_t& count, std::vector<std::string>& examples, const std::string& example) {
    if (++count <= kExamples) examples.push_back(example);
  };
  for (const Candidate& record : records) {
    if (record.state == Candidate::missing) note(report.missing, report.missing_examples, record.name);
    if (record.state == Candidate::bad) note(report.bad, report.bad_examples, record.problem);
  }
  std::erase_if(records, [](const Candidate& record) { return record.state != Candidate::present; });
}

Destination destination(Dataset& dataset, size_t record) {
  const size_t samples = static_cast<size_t>(dataset.length) * kLeads;
  return {&dataset.samples[record * samples], &dataset.scale[record * kLeads], &dataset.offset[record * kLeads]};
}

void resize(Dataset& dataset, size_t records) {
  dataset.samples.resize(records * static_cast<size_t>(dataset.length) * kLeads);
  dataset.scale.resize(records * kLeads);
  dataset.offset.resize(records * kLeads);
}

void load_all(std::vector<Candidate>& records, const PtbxlOptions& options, Dataset& dataset) {
  resize(dataset, records.size());
  std::mutex mutex;
  size_t done = 0;
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    const auto r = static_cast<size_t>(i);
    guarded(records[r], options.skip_bad_records, [&] { load_record(records[r], dataset, destination(dataset, r)); });
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(++done, records.size());
  });
}

// Moves the records that could be read to the front, over those that turned out to be bad.
void close_gaps(const std::vector<Candidate>& records, Dataset& dataset) {
  size_t kept = 0;
  for (size_t r = 0; r < records.size(); ++r) {
    if (records[r].state != Candidate::present) continue;
    const Destination from = destination(dataset, r), to = destination(dataset, kept++);
    if (from.samples == to.samples) continue;
    std::copy_n(from.samples, static_cast<size_t>(dataset.length) * kLeads, to.samples);
    std::copy_n(from.scale, kLeads, to.scale);
    std::copy_n(from.offset, kLeads, to.offset);
  }
  resize(dataset, kept);
}

void describe(const std::vector<Candidate>& records, Dataset& dataset, LoadReport& report) {
  for (const Candidate& record : records) {
    const PtbxlRow& row = *record.row;
    dataset.record_id.push_back(row.record_id);
    dataset.patient_id.push_back(row.patient_id);
    dataset.fold.push_back(row.fold);
    dataset.labels.insert(dataset.labels.end(), row.labels.begin(), row.labels.end());
    report.unlabelled += !std::count(row.labels.begin(), row.labels.end(), 1);
    report.invalid_samples += record.invalid_samples;
    report.rescaled_leads += record.rescaled_leads;
  }
  report.loaded = records.size();
}

// What a user who asked for the wrong rate wants to know.
std::string other_rate_hint(const PtbxlOptions& options) {
  const int other_rate_hz = 600 - options.sampling_rate_hz;
  const std::string asked = fmt::format("records{}", options.sampling_rate_hz),
                    other = fmt::format("records{}", other_rate_hz);
  if (fs::exists(options.root / asked) || !fs::exists(options.root / other)) return "";
  return fmt::format(" It holds {}, so a sampling rate of {} Hz can be loaded.", other, other_rate_hz);
}

void check_not_empty(const std::vector<Candidate>& records, const PtbxlOptions& options, const LoadReport& report) {
  if (records.empty())
    throw Error(fmt::format("Nothing could be loaded from {}: {}{}", options.root.string(), report.sentence(),
                            other_rate_hint(options)));
}

void check_folds_exist(const PtbxlMetadata& metadata, const PtbxlOptions& options) {
  std::map<int, size_t> rows_of;
  for (const PtbxlRow& row : metadata.rows) ++rows_of[row.fold];
  std::vector<std::string> folds;
  for (const auto& [fold, rows] : rows_of) folds.push_back(std::to_string(fold));
  for (const int fold : options.folds)
    if (!rows_of.count(fold))
      throw Error(fmt::format("Fold {} holds no records in {}; its folds are {}.", fold,
                              (options.root / "ptbxl_database.csv").string(), joined(folds)));
}

void check_folds_loaded(const Dataset& dataset, const PtbxlOptions& options, const LoadReport& report) {
  for (const int fold : options.folds)
    if (!std::count(dataset.fold.begin(), dataset.fold.end(), fold))
      throw Error(fmt::format("No record of fold {} could be loaded from {}: {}", fold, options.root.string(),
                              report.sentence()));
}

}  // namespace

std::string LoadReport::sentence() const {
  std::string text = fmt::format("Loaded {} of {} records", with_commas(loaded), with_commas(rows));
  const auto add = [&](std::string_view what, size_t count, const std::vector<std::string>& examples = {}) {
    if (count) text += fmt::format("; {}: {}", what, with_commas(count));
    if (!examples.empty()) text += fmt::format(" (first: {})", examples.front());
  };
  add("missing", missing, missing_examples);
  add("broken and left out", bad, bad_examples);
  add("left out for want of a label", dropped);
  add("without any label of the set", unlabelled);
  add("invalid samples interpolated", invalid_samples);
  add("leads beyond 16 bits rescaled", rescaled_leads);
  return text + ".";
}

Dataset load_ptbxl(const PtbxlOptions& options, LoadReport& report) {
  if (options.sampling_rate_hz != 100 && options.sampling_rate_hz != 500)
    throw UsageError(fmt::format("PTB-XL has sampling rates of 100 and 500 Hz, not {} Hz.", options.sampling_rate_hz));
  const PtbxlMetadata metadata = read_ptbxl_metadata(options.root, options.labels);
  check_folds_exist(metadata, options);

  report = {};
  std::vector<Candidate> records = select(metadata, options, report);
  inspect_all(records, options);
  remove_all_but_present(records, report);
  check_not_empty(records, options, report);

  Dataset dataset;
  dataset.name = "PTB-XL";
  dataset.length = static_cast<int>(most_common(records, &Candidate::length));
  dataset.sampling_rate_hz = options.sampling_rate_hz;
  dataset.leads.assign(kStandardLeads.begin(), kStandardLeads.end());
  dataset.unit = most_common(records, &Candidate::unit);
  dataset.classes = metadata.classes;
  load_all(records, options, dataset);
  close_gaps(records, dataset);
  remove_all_but_present(records, report);
  check_not_empty(records, options, report);
  describe(records, dataset, report);
  check_folds_loaded(dataset, options, report);
  return dataset;
}

}  // namespace systole::data
