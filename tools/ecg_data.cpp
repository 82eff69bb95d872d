#include "tools/ecg_data.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <memory>

#include "data/label_table.h"
#include "data/lead_selection.h"
#include "data/mitdb.h"
#include "data/pack_labels.h"
#include "data/ptbxl.h"
#include "data/wfdb_folder.h"
#include "engine/operations.h"
#include "kernels/common/memory.h"
#include "tools/command.h"
#include "tools/progress.h"

namespace systole::tools {

namespace {

const std::vector<std::string> kLabelSets{"superclass", "subclass", "form",           "rhythm",
                                          "all",        "low-lvef", "high-potassium", data::kMitdbLabelSet};

bool is_ptbxl(const std::filesystem::path& root) {
  return std::filesystem::exists(root / "ptbxl_database.csv");
}

/// MIT-BIH's labels are its own.
void check_labels_of_mitdb(const DataOptions& o) {
  if (o.labels.empty() || o.labels == "none" || o.labels == data::kMitdbLabelSet) return;
  throw UsageError(fmt::format("{} holds MIT-BIH's recordings, whose label set is {}, not {}", o.root.string(),
                               data::kMitdbLabelSet, o.labels));
}

/// The label sets of PTB-XL. What a classifier was trained on may be another.
data::LabelSet ptbxl_labels(const DataOptions& o) {
  if (o.labels == data::kTableLabelSet)
    throw UsageError(fmt::format("the classifier was trained on a label table: --label-table gives the labels in {}",
                                 o.root.string()));
  if (o.labels == data::kMitdbLabelSet)
    throw UsageError(
        fmt::format("the label set {} goes with MIT-BIH's recordings, and {} holds none", o.labels, o.root.string()));
  return o.labels.empty() ? data::LabelSet::superclass : data::parse_label_set(o.labels);
}

data::Dataset load_any(const DataOptions& o, const data::LoadOptions& how, data::LoadReport& report) {
  const bool with_labels = o.labels != "none";
  if (!o.label_table.empty()) return data::load_label_table(o.label_table, how, with_labels, report);
  if (data::is_pack(o.root)) return data::load_pack(how, o.labels, report);
  if (!is_ptbxl(o.root) && data::is_mitdb(o.root)) {
    check_labels_of_mitdb(o);
    return data::load_mitdb(how, with_labels, report);
  }
  if ((!with_labels || o.labels.empty()) && data::is_wfdb_folder(o.root)) return data::load_wfdb_folder(how, report);
  return data::load_ptbxl(how, ptbxl_labels(o), report);
}

}  // namespace

void add_signal_options(CLI::App& command, DataOptions& options) {
  options.labels = "none";
  command
      .add_option(
          "--data-root", options.root,
          "Folder of a data set: in PTB-XL's layout, MIT-BIH, or WFDB records; or a file that systole pack wrote")
      ->required();
  command
      .add_option("--sampling-rate", options.sampling_rate_hz,
                  "In Hz; PTB-XL has recordings of 100 and 500, those of other data sets are resampled")
      ->check(CLI::Range(10, 10000))
      ->capture_default_str();
  command.add_option("--label-table", options.label_table,
                     "CSV file with the columns record and patient, optionally fold, and a column of 0 and 1 for each "
                     "class (docs/data.md)");
  command.add_flag("--skip-bad-records", options.skip_bad_records,
                   "Leave bad records out and count them, instead of stopping; check-data says which they are");
}

void add_data_options(CLI::App& command, DataOptions& options) {
  add_signal_options(command, options);
  options.labels.clear();
  command
      .add_option("--labels", options.labels,
                  fmt::format("Label set: {} [default: superclass; {} for MIT-BIH]", fmt::join(kLabelSets, ", "),
                              data::kMitdbLabelSet))
      ->check(CLI::IsMember(kLabelSets))
      ->excludes("--label-table");
  add_unlabelled_option(command, options);
}

void add_unlabelled_option(CLI::App& command, DataOptions& options) {
  command.add_flag("--drop-unlabelled", options.drop_unlabelled, "Leave out records without any label of the set");
}

data::PackContents load_for_pack(const DataOptions& options) {
  if (data::is_pack(options.root))
    throw UsageError(fmt::format("--data-root must be a folder, not the file {}", options.root.string()));
  data::PackContents contents;
  contents.signals = load(options, {});
  const data::LoadOptions how{
      .root = options.root, .sampling_rate_hz = options.sampling_rate_hz, .skip_bad_records = options.skip_bad_records};
  contents.has_ecg_ids = is_ptbxl(options.root);
  if (!options.label_table.empty())
    contents.label_sets = data::table_label_sets(options.label_table, contents.has_ecg_ids, contents.signals);
  else if (is_ptbxl(options.root))
    contents.label_sets = data::ptbxl_label_sets(options.root, contents.signals);
  else if (data::is_mitdb(options.root))
    contents.label_sets = data::mitdb_label_sets(how, contents.signals);
  return contents;
}

data::Dataset load_reported(const DataOptions& options, const std::vector<int>& folds, const InspectRecord& inspect,
                            data::LoadReport& report) {
  std::unique_ptr<Progress> progress;  // its total is known with the first call
  const data::LoadOptions how{.root = options.root,
                              .sampling_rate_hz = options.sampling_rate_hz,
                              .folds = folds,
                              .skip_bad_records = options.skip_bad_records,
                              .drop_unlabelled = options.drop_unlabelled,
                              .progress =
                                  [&](size_t done, size_t total) {
                                    if (!progress)
                                      progress =
                                          std::make_unique<Progress>("load", static_cast<int64_t>(total), "records");
                                    progress->update(static_cast<int64_t>(done));
                                  },
                              .inspect = inspect};
  return load_any(options, how, report);
}

data::Dataset load(const DataOptions& options, const std::vector<int>& folds) {
  data::LoadReport report;
  data::Dataset dataset = load_reported(options, folds, {}, report);
  fmt::print(stderr, "{}\n", printable(report.sentence()));
  if (!options.leads.empty() && options.leads != dataset.leads)
    dataset = data::select_leads(std::move(dataset), options.leads);
  return dataset;
}

data::Normalization normalization_for(const data::Dataset& dataset, const std::vector<size_t>& training_records,
                                      const std::optional<data::Normalization>& of_encoder) {
  if (!of_encoder) return data::measure_normalization(dataset, training_records);
  data::Adapted adapted = data::adapt_normalization(*of_encoder, dataset, training_records);
  if (!adapted.reason.empty()) fmt::print(stderr, "{}\n", adapted.reason);
  return adapted.normalization;
}

std::vector<size_t> records_of_folds(const data::Dataset& dataset, const std::vector<int>& folds) {
  std::vector<size_t> records;
  for (size_t r = 0; r < dataset.records(); ++r)
    if (std::find(folds.begin(), folds.end(), dataset.fold[r]) != folds.end()) records.push_back(r);
  if (records.empty())
    throw Error(
        fmt::format("{}: no record belongs to fold {}; a run needs folds 1-8 to train, 9 to validate, 10 to test",
                    dataset.name, fmt::join(folds, ", ")));
  return records;
}

int view_length(const data::Dataset& dataset, int signal_length) {
  if (signal_length == 0) return dataset.length;
  require_option(signal_length > 0 && signal_length <= dataset.length, "--signal-length",
                 fmt::format("between 1 and the {} samples of a record", dataset.length),
                 std::to_string(signal_length));
  return signal_length;
}

std::vector<float> millivolts_per_unit(const data::Dataset& dataset) {
  static const std::map<std::string, float> kTypicalDeviation{
      {"I", 0.135f},  {"II", 0.148f}, {"III", 0.122f}, {"AVR", 0.128f}, {"AVL", 0.105f}, {"AVF", 0.118f},
      {"V1", 0.180f}, {"V2", 0.294f}, {"V3", 0.294f},  {"V4", 0.264f},  {"V5", 0.236f},  {"V6", 0.189f}};
  std::vector<float> millivolts;
  for (const std::string& lead : dataset.leads) {
    const auto typical = kTypicalDeviation.find(lead);
    millivolts.push_back(dataset.unit == "mV" ? 1.0f : typical != kTypicalDeviation.end() ? typical->second : 0.2f);
  }
  return millivolts;
}

Batches::Batches(const data::Dataset& dataset, const data::Normalization& normalization, int length, Device device)
    : dataset_(dataset), length_(length), device_(device) {
  if (length > dataset.length)
    throw Error(
        fmt::format("{}: records have {} samples; views of {} were asked for", dataset.name, dataset.length, length));
  const std::vector<float> millivolts = millivolts_per_unit(dataset);
  const auto in_millivolts = [&](std::vector<float> values) {  // [..., leads]
    for (size_t i = 0; i < values.size(); ++i) values[i] *= millivolts[i % millivolts.size()];
    return values;
  };
  scale_ = in_millivolts(dataset.scale);
  offset_ = in_millivolts(dataset.offset);
  mean_ = in_millivolts(normalization.mean);
  std_ = in_millivolts(normalization.std);
  const auto on_device = [&]<class T>(const std::vector<T>& values) -> const T* {
    if (device != Device::cuda) return values.data();
    resident_.push_back(Tensor::from(values, {static_cast<int64_t>(values.size())}, device));
    return resident_.back().data<T>();
  };
  const size_t sample_bytes = dataset.samples.size() * sizeof(int16_t);
  const bool fits = device != Device::cuda || sample_bytes <= available_memory(device) / 2;
  if (!fits) {
    fmt::print(
        stderr,
        "The samples, {:.1f} GB, stay in the host's memory, where the GPU reads those of each batch: more than half "
        "of its free memory would go to them.\n",
        static_cast<double>(sample_bytes) / 1e9);
    samples_on_host_ = readable_on_host(device, dataset.samples.data(), sample_bytes);
  }
  source_ = {fits ? on_device(dataset.samples) : reinterpret_cast<const int16_t*>(samples_on_host_.get()),
             on_device(scale_),
             on_device(offset_),
             on_device(mean_),
             on_device(std_),
             nullptr,
             dataset.sampling_rate_hz};
}

Tensor Batches::views(std::span<const size_t> records, const Views& how) const {
  const std::vector<int32_t> index(records.begin(), records.end());
  return views(Tensor::from(index, {static_cast<int64_t>(index.size())}, device_), how);
}

Tensor Batches::views(const Tensor& records, const Views& how) const {
  const int N = static_cast<int>(records.count()), C = static_cast<int>(dataset_.lead_count());
  augment::ViewSource source = source_;
  source.records = reinterpret_cast<const uint32_t*>(records.bytes_begin());
  if (how.recipe.vcg.p > 0) source.vcg = augment::vcg_transform(how.recipe, dataset_.leads);
  Tensor x = Tensor::empty({int64_t{how.count} * N, length_, C}, device_, series_type());
  Queue queue(device_);
  augment::augment_kernels(device_).views(queue, {N, how.count, dataset_.length, length_, C, how.segment}, source,
                                          how.recipe, how.seed, how.step, x.series());
  return x;
}

Tensor Batches::targets() const {
  const size_t records = dataset_.records(), classes = dataset_.classes.size();
  std::vector<float> values;
  values.reserve(records * classes);
  for (size_t r = 0; r < records; ++r)
    for (size_t c = 0; c < classes; ++c) values.push_back(dataset_.label(r, c));
  return Tensor::from(values, {static_cast<int64_t>(records), static_cast<int64_t>(classes)}, device_);
}

}  // namespace systole::tools
