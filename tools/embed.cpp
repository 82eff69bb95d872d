// systole embed: the latents of records by the encoder of a file, as a matrix that NumPy reads
// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0) with a table of its rows beside
// it, or as one table with everything.

#include <CLI/CLI.hpp>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <set>

#include "engine/checkpoint/atomic_file.h"
#include "tools/classifier_training.h"
#include "tools/command.h"
#include "tools/evaluation_pass.h"

namespace systole::tools {
namespace {

struct EmbedOptions {
  CommonOptions common;
  DataOptions data;
  std::filesystem::path checkpoint, out;
  std::vector<int> folds{1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  bool slots = false;
};

/// Row r · slots + s is slot s of record r.
struct Embeddings {
  std::vector<float> values;  // [records · slots, size]
  size_t size;
  std::vector<std::string> slots;  // their names; none: one row a record
};

void check(const EmbedOptions& o) {
  require_option(o.out.extension() == ".npy" || o.out.extension() == ".csv", "--out",
                 "a file with the extension .npy or .csv", o.out.string());
  check_file_writable(o.out);
  if (o.out.extension() == ".npy") check_file_writable(beside(o.out, "csv"));
}

/// As finetune prepares signals for it: by the encoder's own statistics, or, where its file has none, as those of
/// PyTorch, or they cannot hold for this data set, by those of the training folds.
data::Normalization prepared_as(const EncoderFile& file, const data::Dataset& dataset) {
  std::vector<size_t> training;
  for (size_t r = 0; r < dataset.records(); ++r)
    if (dataset.fold[r] < kValidationFold) training.push_back(r);
  if (!file.description.normalization)
    fmt::print(stderr, "the encoder's file says nothing about preprocessing: normalised by the records of folds 1-8\n");
  return normalization_for(dataset, training, file.description.normalization);
}

/// The folds asked for, with the training folds where the normalisation is measured on them.
data::Dataset load_for(const EncoderFile& file, const EmbedOptions& o) {
  std::set<int> with_training(o.folds.begin(), o.folds.end());
  with_training.insert(kTrainingFolds.begin(), kTrainingFolds.end());
  const std::vector<int> folds(with_training.begin(), with_training.end());
  const auto& own = file.description.normalization;
  if (!own) return load(o.data, folds);
  data::Dataset dataset = load(o.data, o.folds);
  if (folds.size() == o.folds.size() || data::reason_to_measure(*own, dataset).empty()) return dataset;
  return load(o.data, folds);
}

std::vector<std::string> slot_names(const models::Encoder& encoder, const data::Dataset& dataset) {
  const int slots = encoder.slot_count(static_cast<int>(dataset.lead_count()));
  if (slots == 1)
    throw UsageError(
        fmt::format("--slots is for encoders that read each lead or stream on its own; {} reads all leads "
                    "together",
                    encoder.options().name));
  if (slots == static_cast<int>(dataset.lead_count())) return dataset.leads;
  std::vector<std::string> names;
  for (int s = 1; s <= slots; ++s) names.push_back(fmt::format("stream {}", s));
  return names;
}

/// The latents of every slot; slot after slot of a batch become record after record.
std::vector<float> slot_latents(models::Encoder& encoder, const Batches& batches, const std::vector<size_t>& records,
                                size_t slots) {
  const auto size = static_cast<size_t>(encoder.latent_size());
  std::vector<float> values;
  EvaluationPass pass(batches, {},
                      [&](const Tensor& views) { return encoder.slot_latents(views, Mode::evaluation()); });
  pass(records, [&](std::span<const size_t> rows, const std::vector<float>& latent) {
    for (size_t r = 0; r < rows.size(); ++r)
      for (size_t s = 0; s < slots; ++s) {
        const auto begin = latent.begin() + static_cast<std::ptrdiff_t>((s * rows.size() + r) * size);
        values.insert(values.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
      }
  });
  return values;
}

Embeddings embed(const EmbedOptions& o, const EncoderFile& file, const Batches& batches,
                 const std::vector<size_t>& records, Device device) {
  ParameterStore store;
  const auto encoder = models::make_encoder(store, "", file.description.encoder);
  store.allocate(device, 0);
  store.load_state(file.arrays, "", o.checkpoint.string());
  const auto size = static_cast<size_t>(encoder->latent_size());
  if (!o.slots) return {compute_features(*encoder, batches, records).values, size, {}};
  const std::vector<std::string> slots = slot_names(*encoder, batches.dataset());
  return {slot_latents(*encoder, batches, records, slots.size()), size, slots};
}

/// Little-endian float32, row after row, behind a header whose end is padded to a multiple of 64 bytes.
std::string to_npy(const Embeddings& e) {
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", e.values.size() / e.size, e.size);
  constexpr size_t kBeforeHeader = 10;
  header.append(63 - (kBeforeHeader + header.size()) % 64, ' ');
  header += '\n';
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  const size_t begin = bytes.size();
  bytes.resize(begin + e.values.size() * sizeof(float));
  std::memcpy(bytes.data() + begin, e.values.data(), e.values.size() * sizeof(float));  // as x86 and ARM store them
  return bytes;
}

/// The names of a record's classes as a cell: in quotation marks where a name would break the line (RFC 4180).
std::string labels_of(const data::Dataset& dataset, size_t record) {
  std::vector<std::string> labels;
  for (size_t c = 0; c < dataset.classes.size(); ++c)
    if (dataset.label(record, c)) labels.push_back(dataset.classes[c]);
  std::string cell = fmt::format("{}", fmt::join(labels, ";"));
  if (cell.find_first_of(",\"\n") == std::string::npos) return cell;
  for (size_t at = cell.find('"'); at != std::string::npos; at = cell.find('"', at + 2)) cell.insert(at, "\"");
  return '"' + cell + '"';
}

/// A line for every row of the matrix; with its numbers where `with_values`.
std::string to_csv(const Embeddings& e, const data::Dataset& dataset, const std::vector<size_t>& records,
                   bool with_values) {
  const size_t slots = std::max<size_t>(e.slots.size(), 1);
  std::string text = e.slots.empty() ? "ecg_id,patient_id,fold,labels" : "ecg_id,patient_id,fold,labels,slot";
  for (size_t d = 0; with_values && d < e.size; ++d) text += fmt::format(",{}", d);
  text += '\n';
  for (size_t row = 0; row < records.size() * slots; ++row) {
    const size_t r = records[row / slots];
    text +=
        fmt::format("{},{},{},{}", dataset.record_id[r], dataset.patient_id[r], dataset.fold[r], labels_of(dataset, r));
    if (!e.slots.empty()) text += "," + e.slots[row % slots];
    for (size_t d = 0; with_values && d < e.size; ++d) text += fmt::format(",{}", e.values[row * e.size + d]);
    text += '\n';
  }
  return text;
}

void run_embed(EmbedOptions o) {
  check(o);
  const Device device = prepare(o.common);
  const EncoderFile file = read_encoder(o.checkpoint);
  adopt_signals(file.description, o.data);
  const data::Dataset dataset = load_for(file, o);
  const std::vector<size_t> records = records_of_folds(dataset, o.folds);
  const data::Normalization normalization = prepared_as(file, dataset);
  check_leads(file.description.encoder, dataset, o.checkpoint.string());
  const Batches batches(dataset, normalization, view_length(dataset, file.description, 0), device);

  const Embeddings embeddings = embed(o, file, batches, records, device);
  const bool is_npy = o.out.extension() == ".npy";
  const std::filesystem::path table = is_npy ? beside(o.out, "csv") : o.out;
  if (is_npy) write_file_atomically(o.out, to_npy(embeddings));
  write_file_atomically(table, to_csv(embeddings, dataset, records, !is_npy));
  fmt::print("embeddings: {}, {} rows of {} numbers\n", o.out.string(), embeddings.values.size() / embeddings.size,
             embeddings.size);
  if (is_npy) fmt::print("rows: {}\n", table.string());
}

}  // namespace

void add_embed(CLI::App& app) {
  auto options = std::make_shared<EmbedOptions>();
  EmbedOptions& o = *options;
  CLI::App& command = *app.add_subcommand("embed", "The latents of records by an encoder, for NumPy or as CSV");
  add_data_options(command, o.data);
  command.add_option("--checkpoint", o.checkpoint, "File of an encoder or a classifier")->required();
  command.add_option("--out", o.out, "File to write: .npy, with a table of its rows beside it, or .csv")->required();
  command.add_option("--folds", o.folds, "Folds whose records are embedded")
      ->delimiter(',')
      ->check(CLI::Range(1, 10))
      ->default_str("all");
  command.add_flag("--slots", o.slots,
                   "A row for each lead or stream that the encoder reads on its own, not for their mean");
  add_common_options(command, o.common);
  command.callback([options] { run_embed(*options); });
}

}  // namespace systole::tools
