#include "data/record_loader.h"

#include <algorithm>
#include <cctype>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <optional>

#include "data/joined.h"
#include "data/lead_storage.h"
#include "data/resample.h"
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
  const RecordSource* source = nullptr;
  bool is_missing = false;
  std::optional<LeftOut> problem;  // of a broken one
  size_t place = 0;                // in the data set
  int64_t length = 0;              // at the sampling rate of the data set
  std::string unit;
  bool is_resampled = false, is_cut = false;
  size_t invalid_samples = 0, rescaled_leads = 0;

  bool is_present() const { return !is_missing && !problem; }
};

std::string header_path(const fs::path& record) {
  return record.string() + ".hea";
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
    throw RecordError(RecordProblem::leads,
                      fmt::format("{} has {} leads ({}), the 12 leads {} were expected.", source, header.signals.size(),
                                  lead_names(header), joined(kStandardLeads)));
  std::array<size_t, kLeads> signal_of{};
  for (size_t lead = 0; lead < kLeads; ++lead) {
    const auto found = std::find_if(header.signals.begin(), header.signals.end(), [&](const WfdbSignal& signal) {
      return spelled_as_standard(signal.description) == kStandardLeads[lead];
    });
    if (found == header.signals.end())
      throw RecordError(RecordProblem::leads, fmt::format("{} has no lead {}; its leads are {}.", source,
                                                          kStandardLeads[lead], lead_names(header)));
    signal_of[lead] = static_cast<size_t>(found - header.signals.begin());
  }
  return signal_of;
}

void check_units(const WfdbHeader& header, const std::string& source) {
  const WfdbSignal& first = header.signals[0];
  for (const WfdbSignal& signal : header.signals)
    if (kept_unit(signal.unit).name != kept_unit(first.unit).name)
      throw RecordError(RecordProblem::unit,
                        fmt::format("{}: lead {} is in {} and lead {} in {}, one unit was expected.", source,
                                    first.description, first.unit, signal.description, signal.unit));
}

// Checks what the header alone tells, and notes what must agree among the records.
void inspect(Candidate& record, const fs::path& root, bool any_rate, int sampling_rate_hz) {
  const fs::path& path = record.source->path;
  const WfdbHeader header = read_wfdb_header(path, root);
  record.is_missing = !has_sample_files(path, header);
  if (record.is_missing) return;
  record.is_resampled = header.sampling_rate_hz != sampling_rate_hz;
  if (record.is_resampled && !any_rate)
    throw RecordError(RecordProblem::rate, fmt::format("{} has a sampling rate of {} Hz, {} Hz was expected.",
                                                       header_path(path), header.sampling_rate_hz, sampling_rate_hz));
  find_leads(header, header_path(path));
  const int64_t length = header.length > 0 ? header.length : read_wfdb(path, root).length;
  if (length == 0) throw RecordError(RecordProblem::length, fmt::format("{} has no samples.", header_path(path)));
  record.length = resampled_length(length, header.sampling_rate_hz, sampling_rate_hz);
  check_units(header, header_path(path));
  record.unit = kept_unit(header.signals[0].unit).name;
}

// A broken header is reported when the records before it have been read: the first broken record is to be named.
void inspect_all(std::vector<Candidate>& records, const fs::path& root, const RecordRules& rules,
                 const LoadOptions& options) {
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    Candidate& record = records[static_cast<size_t>(i)];
    record.is_missing = !fs::exists(header_path(record.source->path));
    if (record.is_missing) return;
    record.problem = problem_of(true, record.source->name,
                                [&] { inspect(record, root, rules.cut_to > 0, options.sampling_rate_hz); });
  });
}

// What most have; among equals the smallest.
template <class Value>
Value most_common(const std::vector<Value>& values) {
  if (values.empty()) return {};
  std::map<Value, size_t> count;
  for (const Value& value : values) ++count[value];
  const auto by_count = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(count.begin(), count.end(), by_count)->first;
}
template <class Value>
Value most_common(const std::vector<Candidate>& records, Value Candidate::*field) {
  std::vector<Value> values;
  for (const Candidate& record : records)
    if (record.is_present()) values.push_back(record.*field);
  return most_common(values);
}

void check_agrees(const Candidate& record, int64_t length, const Dataset& dataset) {
  const std::string source = header_path(record.source->path);
  if (length != dataset.length)
    throw RecordError(
        RecordProblem::length,
        fmt::format("{} has {} samples per lead{}, {} were expected as in the other records.", source, length,
                    record.is_resampled ? fmt::format(" at {} Hz", dataset.sampling_rate_hz) : "", dataset.length));
  if (record.unit != dataset.unit)
    throw RecordError(RecordProblem::unit, fmt::format("{} is in {}, the unit {} was expected as in the other records.",
                                                       source, record.unit, dataset.unit));
}

// Gives a place in the data set to the records that agree with the others by their headers. Returns how many they are.
size_t place_records(std::vector<Candidate>& records, int64_t cut_to, const Dataset& dataset) {
  size_t places = 0;
  for (Candidate& record : records) {
    const int64_t length = cut_to > 0 ? std::min(record.length, cut_to) : record.length;
    if (record.is_present())
      record.problem = problem_of(true, record.source->name, [&] { check_agrees(record, length, dataset); });
    if (record.is_present()) record.place = places++;
  }
  return places;
}

bool is_constant(const std::vector<int32_t>& samples) {
  return std::adjacent_find(samples.begin(), samples.end(), std::not_equal_to<>()) == samples.end();
}

// The middle `length` of the samples, or all where there are no more.
template <class Value>
std::span<const Value> middle(const std::vector<Value>& samples, int64_t length) {
  const auto wanted = static_cast<size_t>(length);
  if (samples.size() <= wanted) return samples;
  return std::span(samples).subspan((samples.size() - wanted) / 2, wanted);
}

void load_lead(Candidate& record, const WfdbSignal& signal, std::vector<int32_t>& samples, const Resampler& resampler,
               bool cut, Dataset& dataset, size_t lead) {
  const auto fitted = [&]<class Value>(const std::vector<Value>& values) {
    const auto part = cut ? middle(values, dataset.length) : std::span<const Value>(values);
    check_agrees(record, static_cast<int64_t>(part.size()), dataset);
    record.is_cut |= part.size() < values.size();
    return part;
  };
  if (record.is_resampled) {
    const std::vector<double> resampled = resampler(std::vector<double>(samples.begin(), samples.end()));
    store_values(dataset, record.place, lead, signal, fitted(resampled));
  } else {
    record.rescaled_leads += store_samples(dataset, record.place, lead, signal, fitted(samples));
  }
}

void load_record(Candidate& record, const fs::path& root, const RecordRules& rules, const LoadOptions& options,
                 Dataset& dataset) {
  if (record.problem) throw RecordError(record.problem->problem, record.problem->sentence);
  const fs::path& path = record.source->path;
  WfdbRecord wfdb = read_wfdb(path, root);
  if (options.inspect) options.inspect(record.source->name, wfdb);
  const auto signal_of = find_leads(wfdb.header, header_path(path));
  const Resampler resampler(wfdb.header.sampling_rate_hz, dataset.sampling_rate_hz);
  size_t constant_leads = 0;
  for (size_t lead = 0; lead < kLeads; ++lead) {
    const WfdbSignal& signal = wfdb.header.signals[signal_of[lead]];
    std::vector<int32_t>& samples = wfdb.samples[signal_of[lead]];
    record.invalid_samples += fill_gaps(samples, signal.description, header_path(path));
    constant_leads += is_constant(samples);
    load_lead(record, signal, samples, resampler, rules.cut_to > 0, dataset, lead);
  }
  if (constant_leads == kLeads)
    throw RecordError(RecordProblem::flat,
                      fmt::format("{}: all leads are constant, an ECG was expected.", header_path(path)));
}

void remove_missing(std::vector<Candidate>& records, LoadReport& report) {
  for (const Candidate& record : records)
    if (record.is_missing) report.add_missing(record.source->name);
  std::erase_if(records, [](const Candidate& record) { return record.is_missing; });
}

void remove_bad(std::vector<Candidate>& records, LoadReport& report) {
  for (const Candidate& record : records)
    if (record.problem) report.add_bad(*record.problem);
  std::erase_if(records, [](const Candidate& record) { return record.problem.has_value(); });
}

void load_all(std::vector<Candidate>& records, const fs::path& root, const RecordRules& rules,
              const LoadOptions& options, Dataset& dataset) {
  resize_records(dataset, place_records(records, rules.cut_to, dataset));
  std::mutex mutex;
  size_t done = 0;
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    const auto r = static_cast<size_t>(i);
    records[r].problem = problem_of(options.skip_bad_records, records[r].source->name,
                                    [&] { load_record(records[r], root, rules, options, dataset); });
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(++done, records.size());
  });
}

// Moves the records that could be read to the front, over those that turned out to be bad.
void close_gaps(const std::vector<Candidate>& records, Dataset& dataset) {
  size_t kept = 0;
  for (const Candidate& record : records)
    if (record.is_present()) move_record(dataset, record.place, kept++);
  resize_records(dataset, kept);
}

void describe(const std::vector<Candidate>& records, Dataset& dataset, LoadReport& report) {
  for (const Candidate& record : records) {
    describe_record(*record.source, dataset, report);
    report.resampled += record.is_resampled;
    report.cut += record.is_cut;
    report.invalid_samples += record.invalid_samples;
    report.rescaled_leads += record.rescaled_leads;
  }
}

std::vector<std::string> names_of(const std::vector<int>& folds) {
  std::vector<std::string> names;
  for (const int fold : folds) names.push_back(std::to_string(fold));
  return names;
}

void check_drop_unlabelled(const LoadOptions& options, const std::vector<std::string>& classes) {
  if (options.drop_unlabelled && classes.size() == 1)
    throw UsageError(fmt::format(
        "--drop-unlabelled goes with label sets of several classes: with {} alone it would leave out all negatives.",
        classes.front()));
}

}  // namespace

void LoadReport::add_missing(const std::string& name) {
  if (++missing <= kExamples) missing_examples.push_back(name);
  left_out.push_back({name, RecordProblem::missing, "no header or no sample file"});
}

void LoadReport::add_bad(const LeftOut& record) {
  if (++bad <= kExamples) bad_examples.push_back(record.sentence);
  left_out.push_back(record);
}

std::string LoadReport::sentence() const {
  std::string text = fmt::format("Loaded {} of {} {}", with_commas(loaded), with_commas(rows), what);
  const auto add = [&](std::string_view finding, size_t count, const std::vector<std::string>& examples = {}) {
    if (count) text += fmt::format("; {}: {}", finding, with_commas(count));
    if (!examples.empty()) text += fmt::format(" (first: {})", examples.front());
  };
  add("missing", missing, missing_examples);
  add("broken and left out", bad, bad_examples);
  add("left out, as the label is not known", unknown);
  add("left out for want of a label", dropped);
  add("without any label of the set", unlabelled);
  add("resampled", resampled);
  add("longer, of which the middle was taken", cut);
  add("invalid samples interpolated", invalid_samples);
  add("leads beyond 16 bits rescaled", rescaled_leads);
  return text + ".";
}

std::vector<const RecordSource*> select_records(const std::vector<RecordSource>& sources,
                                                const std::vector<std::string>& classes, const LoadOptions& options,
                                                LoadReport& report) {
  check_drop_unlabelled(options, classes);
  std::vector<const RecordSource*> records;
  for (const RecordSource& source : sources) {
    if (!options.folds.empty() && !std::count(options.folds.begin(), options.folds.end(), source.fold)) continue;
    ++report.rows;
    const bool is_labelled = std::count(source.labels.begin(), source.labels.end(), 1) > 0;
    if (!source.is_known)
      ++report.unknown;
    else if (!is_labelled && options.drop_unlabelled)
      ++report.dropped;
    else
      records.push_back(&source);
  }
  return records;
}

void describe_record(const RecordSource& source, Dataset& dataset, LoadReport& report) {
  dataset.record_id.push_back(source.record_id);
  dataset.record_name.push_back(source.name);
  dataset.patient_id.push_back(source.patient_id);
  dataset.fold.push_back(source.fold);
  dataset.labels.insert(dataset.labels.end(), source.labels.begin(), source.labels.end());
  if (dataset.classes.size() > 1) report.unlabelled += !std::count(source.labels.begin(), source.labels.end(), 1);
  ++report.loaded;
}

void check_not_empty(size_t records_left, const LoadOptions& options, const LoadReport& report,
                     const std::string& hint) {
  if (report.rows == 0)
    throw Error(fmt::format("No record of {} is in fold {}.", options.root.string(), joined(names_of(options.folds))));
  if (records_left == 0)
    throw Error(fmt::format("Nothing could be loaded from {}: {}{}", options.root.string(), report.sentence(), hint));
}

std::optional<LeftOut> problem_of(bool skip_bad_records, const std::string& name, const std::function<void()>& action) {
  try {
    action();
    return {};
  } catch (const Error& error) {
    if (!skip_bad_records)
      throw Error(fmt::format("{} The option --skip-bad-records leaves broken records out.", error.what()));
    const auto* known = dynamic_cast<const RecordError*>(&error);
    return LeftOut{name, known ? known->problem() : RecordProblem::unreadable, error.what()};
  }
}

size_t fill_gaps(std::vector<int32_t>& samples, const std::string& lead, const std::string& source) {
  const size_t filled = fill_invalid(samples);
  if (2 * filled > samples.size())
    throw RecordError(RecordProblem::no_values,
                      fmt::format("{}: lead {} has values in {} of its {} samples, at least half were expected.",
                                  source, lead, samples.size() - filled, samples.size()));
  return filled;
}

int64_t usual_length(const std::vector<RecordSource>& records, const LoadOptions& options) {
  const fs::path root = fs::canonical(options.root);
  std::vector<int64_t> lengths(records.size());
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    const auto r = static_cast<size_t>(i);
    if (!fs::exists(header_path(records[r].path))) return;
    try {
      const WfdbHeader header = read_wfdb_header(records[r].path, root);
      if (!has_sample_files(records[r].path, header)) return;
      lengths[r] = resampled_length(header.length, header.sampling_rate_hz, options.sampling_rate_hz);
    } catch (const Error&) {  // a broken record is met again when the record is loaded
    }
  });
  std::erase(lengths, 0);
  return most_common(lengths);
}

Dataset load_records(const std::vector<RecordSource>& sources, const RecordRules& rules, const LoadOptions& options,
                     LoadReport& report) {
  report = {};
  const fs::path root = fs::canonical(options.root);
  std::vector<Candidate> records;
  for (const RecordSource* source : select_records(sources, rules.classes, options, report))
    records.emplace_back().source = source;
  inspect_all(records, root, rules, options);
  remove_missing(records, report);
  check_not_empty(records.size(), options, report, rules.hint_when_empty);

  Dataset dataset;
  dataset.name = rules.name;
  dataset.length = static_cast<int>(rules.cut_to > 0 ? rules.cut_to : most_common(records, &Candidate::length));
  dataset.sampling_rate_hz = options.sampling_rate_hz;
  dataset.leads.assign(kStandardLeads.begin(), kStandardLeads.end());
  dataset.unit = most_common(records, &Candidate::unit);
  dataset.label_set = rules.label_set;
  dataset.classes = rules.classes;
  load_all(records, root, rules, options, dataset);
  close_gaps(records, dataset);
  remove_bad(records, report);
  check_not_empty(records.size(), options, report, rules.hint_when_empty);
  describe(records, dataset, report);
  return dataset;
}

}  // namespace systole::data
