// A data set as the commands use it: loaded with a progress bar and a sentence about what is missing, cut into batches
// of views.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "augment/views.h"
#include "data/dataset.h"
#include "data/normalization.h"
#include "data/pack.h"
#include "engine/tensor.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct DataOptions {
  std::filesystem::path root;
  int sampling_rate_hz = 100;
  std::string labels{};                 // a label set; none: signals only; empty: the data set's own
  std::filesystem::path label_table{};  // empty: the labels are the data set's
  bool skip_bad_records = false;
  bool drop_unlabelled = false;
  std::vector<std::string> leads{};  // which to keep, in this order; none: all
};

/// Adds --data-root (required), --sampling-rate, --label-table, --labels, --skip-bad-records and --drop-unlabelled.
void add_data_options(CLI::App& command, DataOptions& options);
/// Adds --data-root, --sampling-rate, --label-table and --skip-bad-records only, and sets the labels to none: for
/// commands that read no labels, or whose model says which.
void add_signal_options(CLI::App& command, DataOptions& options);

/// Adds --drop-unlabelled.
void add_unlabelled_option(CLI::App& command, DataOptions& options);

/// Loads the records of the folds and says on standard error what is missing or was skipped. The root is a folder in
/// PTB-XL's layout (data/ptbxl.h), of MIT-BIH's recordings (data/mitdb.h), or of WFDB records with the 12 leads: those
/// of the label table (data/label_table.h), or, where there is none and no label set was asked for, all, without labels
/// (data/wfdb_folder.h). Or it is a file of systole pack (data/pack.h).
data::Dataset load(const DataOptions& options, const std::vector<int>& folds);

/// The same without the sentence: what was found stands in `report`, also where Error says that nothing was.
/// `inspect` is that of LoadOptions.
using InspectRecord = std::function<void(const std::string& name, const data::WfdbRecord& record)>;
data::Dataset load_reported(const DataOptions& options, const std::vector<int>& folds, const InspectRecord& inspect,
                            data::LoadReport& report);

/// Loads all records of a data set that is no pack yet, in the same way, with all of its label sets: what the pack of
/// it holds. Throws UsageError for a pack.
data::PackContents load_for_pack(const DataOptions& options);

/// The records of some folds, in the order of the data set. Throws Error when there are none.
std::vector<size_t> records_of_folds(const data::Dataset& dataset, const std::vector<int>& folds);

inline const std::vector<int> kTrainingFolds{1, 2, 3, 4, 5, 6, 7, 8};
inline constexpr int kValidationFold = 9;
inline constexpr int kTestFold = 10;

/// The normalisation of a run: measured on its training records, or, of a pre-trained encoder, its own; where that
/// cannot hold for the data set (data::adapt_normalization), a sentence on standard error says what was done. Throws
/// Error for other leads than the encoder's and for another sampling rate.
data::Normalization normalization_for(const data::Dataset& dataset, const std::vector<size_t>& training_records,
                                      const std::optional<data::Normalization>& of_encoder);

/// How many millivolts one unit of the data set is, per lead. Signals that their source has divided by the standard
/// deviation of each lead (unit NU) get back a typical one, measured on 97 recordings of PTB-XL (0.5-40 Hz):
/// augmentations with strengths in millivolts, or that combine leads, then do about what they do to voltages.
std::vector<float> millivolts_per_unit(const data::Dataset& dataset);

/// Cuts batches out of a data set: normalised views and targets. Where the device has memory of its own, the samples
/// are copied there once and stay; if they would fill it, kernels read them in the host's.
class Batches {
 public:
  /// Views have `length` samples. Throws Error when records are shorter. The caller has matched normalisation and data
  /// set.
  Batches(const data::Dataset& dataset, const data::Normalization& normalization, int length, Device device);

  struct Views {
    int count = 1;
    augment::Recipe recipe{};
    augment::Segment segment = augment::Segment::centre;
    uint64_t seed = 0;
    StepNumber step{};
  };
  /// [count · N, L, leads], view after view.
  Tensor views(std::span<const size_t> records, const Views& how) const;
  /// The same of records whose numbers stand in the device's memory, i32 [N].
  Tensor views(const Tensor& records, const Views& how) const;
  /// Of all records, [records, classes], 0 or 1.
  Tensor targets() const;

  const data::Dataset& dataset() const { return dataset_; }
  int length() const { return length_; }
  Device device() const { return device_; }

 private:
  const data::Dataset& dataset_;
  int length_;
  Device device_;
  std::vector<float> scale_, offset_, mean_, std_;    // the data set's and the normalisation's, in millivolts
  std::vector<Tensor> resident_;                      // copies on cuda; elsewhere kernels read the vectors themselves
  std::shared_ptr<const std::byte> samples_on_host_;  // pinned, where they would fill the GPU
  augment::ViewSource source_;                        // without the records of a batch
};

/// Records per batch where no gradient is computed.
inline constexpr size_t kEvaluationBatch = 64;

/// Calls visit(records) for consecutive batches.
template <class Visit>
void for_each_batch(std::span<const size_t> records, size_t batch, const Visit& visit) {
  for (size_t begin = 0; begin < records.size(); begin += batch)
    visit(records.subspan(begin, std::min(batch, records.size() - begin)));
}

/// The length of views for a --signal-length option: 0 stands for whole records. Throws UsageError when records are
/// shorter.
int view_length(const data::Dataset& dataset, int signal_length);

}  // namespace systole::tools
