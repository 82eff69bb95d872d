// A data set as the commands use it: loaded with a progress bar and a sentence about what is missing, cut into batches
// of views.
#pragma once

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "augment/views.h"
#include "data/dataset.h"
#include "data/normalization.h"
#include "engine/tensor.h"

namespace CLI {
class App;
}

namespace systole::tools {

struct DataOptions {
  std::filesystem::path root;
  int sampling_rate_hz = 100;
  std::string labels = "superclass";
  bool skip_bad_records = false;
  bool drop_unlabelled = false;
};

/// Adds --data-root (required), --sampling-rate, --labels, --skip-bad-records and --drop-unlabelled.
void add_data_options(CLI::App& command, DataOptions& options);
/// Adds --data-root, --sampling-rate and --skip-bad-records only: for commands that read no labels.
void add_signal_options(CLI::App& command, DataOptions& options);

/// Adds --drop-unlabelled.
void add_unlabelled_option(CLI::App& command, DataOptions& options);

/// Loads the records of the folds and says on standard error what is missing or was skipped.
data::Dataset load(const DataOptions& options, const std::vector<int>& folds);

/// The records of some folds, in the order of the data set. Throws Error when there are none.
std::vector<size_t> records_of_folds(const data::Dataset& dataset, const std::vector<int>& folds);

inline const std::vector<int> kTrainingFolds{1, 2, 3, 4, 5, 6, 7, 8};
inline constexpr int kValidationFold = 9;
inline constexpr int kTestFold = 10;

/// How many millivolts one unit of the data set is, per lead. Signals that their source has divided by the standard
/// deviation of each lead (unit NU) get back a typical one, measured on 97 recordings of PTB-XL (0.5-40 Hz):
/// augmentations with strengths in millivolts, or that combine leads, then do about what they do to voltages.
std::vector<float> millivolts_per_unit(const data::Dataset& dataset);

/// Cuts batches out of a data set: normalised views and targets. Where the device has memory of its own, the samples
/// are copied there once and stay.
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
    uint32_t step = 0;
  };
  /// [count · N, L, leads], view after view.
  Tensor views(std::span<const size_t> records, const Views& how) const;
  /// [N, classes], 0 or 1.
  Tensor targets(std::span<const size_t> records) const;

  const data::Dataset& dataset() const { return dataset_; }
  int length() const { return length_; }

 private:
  const data::Dataset& dataset_;
  int length_;
  Device device_;
  std::vector<float> scale_, offset_, mean_, std_;  // the data set's and the normalisation's, in millivolts
  std::vector<Tensor> resident_;                    // copies on cuda; elsewhere kernels read the vectors themselves
  augment::ViewSource source_;                      // without the records of a batch
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
