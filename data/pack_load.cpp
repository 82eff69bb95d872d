#include <algorithm>
#include <fmt/format.h>
#include <mutex>
#include <numeric>

#include "data/joined.h"
#include "data/lead_storage.h"
#include "data/pack.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"

namespace systole::data {
namespace {

// A record on its way from the pack into the data set.
struct Candidate {
  const RecordSource* source;
  size_t place;
  std::optional<LeftOut> problem{};
};

std::vector<Candidate> present_records(const std::vector<RecordSource>& sources, const std::vector<size_t>& places,
                                       const RecordRules& rules, const LoadOptions& options, LoadReport& report) {
  std::vector<Candidate> records;
  for (const RecordSource* source : select_records(sources, rules.classes, options, report)) {
    const size_t place = places[static_cast<size_t>(source - sources.data())];
    if (place == kNotInPack)
      report.add_missing(source->name);
    else
      records.push_back({source, place});
  }
  return records;
}

void load_record(const PackFile& pack, size_t place, Dataset& dataset, size_t record) {
  const size_t leads = dataset.lead_count();
  const Dataset& from = pack.contents().signals;
  pack.read_samples(place, dataset.samples.data() + record * static_cast<size_t>(dataset.length) * leads);
  std::copy_n(from.scale.data() + place * leads, leads, dataset.scale.data() + record * leads);
  std::copy_n(from.offset.data() + place * leads, leads, dataset.offset.data() + record * leads);
}

void load_all(const PackFile& pack, std::vector<Candidate>& records, const LoadOptions& options, Dataset& dataset) {
  resize_records(dataset, records.size());
  std::mutex mutex;
  size_t done = 0;
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    const auto r = static_cast<size_t>(i);
    records[r].problem = problem_of(options.skip_bad_records, records[r].source->name,
                                    [&] { load_record(pack, records[r].place, dataset, r); });
    if (!options.progress) return;
    const std::lock_guard lock(mutex);
    options.progress(++done, records.size());
  });
}

void keep_good(const std::vector<Candidate>& records, Dataset& dataset, LoadReport& report) {
  size_t kept = 0;
  for (size_t r = 0; r < records.size(); ++r) {
    if (records[r].problem) {
      report.add_bad(*records[r].problem);
      continue;
    }
    move_record(dataset, r, kept++);
    describe_record(*records[r].source, dataset, report);
  }
  resize_records(dataset, kept);
}

const PackedLabels* find_labels(const PackFile& pack, const std::string& name) {
  const std::vector<PackedLabels>& sets = pack.contents().label_sets;
  if (name == "none" || (name.empty() && sets.empty())) return nullptr;
  if (name.empty()) return &sets.front();
  std::vector<std::string> names;
  for (const PackedLabels& set : sets) {
    if (set.name == name) return &set;
    names.push_back(set.name);
  }
  throw UsageError(fmt::format("{} was packed {}, not with {}.", pack.path().string(),
                               names.empty() ? "without labels" : "with the label sets " + joined(names), name));
}

}  // namespace

Dataset load_packed_records(const PackFile& pack, const std::vector<RecordSource>& sources,
                            const std::vector<size_t>& places, const RecordRules& rules, const LoadOptions& options,
                            LoadReport& report) {
  const Dataset& signals = pack.contents().signals;
  if (options.sampling_rate_hz != signals.sampling_rate_hz)
    throw UsageError(fmt::format("{} was packed at {} Hz, not {} Hz.", pack.path().string(), signals.sampling_rate_hz,
                                 options.sampling_rate_hz));
  report = {};
  std::vector<Candidate> records = present_records(sources, places, rules, options, report);
  check_not_empty(records.size(), options, report);

  Dataset dataset;
  dataset.name = rules.name;
  dataset.length = signals.length;
  dataset.sampling_rate_hz = signals.sampling_rate_hz;
  dataset.leads = signals.leads;
  dataset.unit = signals.unit;
  dataset.label_set = rules.label_set;
  dataset.classes = rules.classes;
  load_all(pack, records, options, dataset);
  keep_good(records, dataset, report);
  check_not_empty(dataset.records(), options, report);
  return dataset;
}

Dataset load_pack(const LoadOptions& options, const std::string& label_set, LoadReport& report) {
  const PackFile pack(options.root);
  const Dataset& signals = pack.contents().signals;
  const PackedLabels* labels = find_labels(pack, label_set);
  RecordRules rules{.name = signals.name, .label_set = "none", .classes = {}};
  if (labels) {
    rules.label_set = labels->name;
    rules.classes = labels->classes;
  }
  std::vector<RecordSource> sources;
  for (size_t r = 0; r < signals.records(); ++r) {
    RecordSource& source = sources.emplace_back();
    source.name = signals.record_name[r];
    source.record_id = signals.record_id[r];
    source.patient_id = signals.patient_id[r];
    source.fold = signals.fold[r];
    if (!labels) continue;
    const auto first = labels->labels.begin() + static_cast<std::ptrdiff_t>(r * rules.classes.size());
    source.labels.assign(first, first + static_cast<std::ptrdiff_t>(rules.classes.size()));
    source.is_known = labels->is_known[r];
  }
  std::vector<size_t> places(signals.records());
  std::iota(places.begin(), places.end(), size_t{0});
  return load_packed_records(pack, sources, places, rules, options, report);
}

}  // namespace systole::data
