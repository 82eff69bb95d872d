// Model files: an encoder (section "encoder") or a classifier (section "model"), with a description beside the tensors
// that says which encoder it is and how signals must be prepared: leads, sampling rate, normalisation, length, classes.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/normalization.h"
#include "engine/checkpoint/tensor_file.h"
#include "engine/parameters.h"
#include "models/encoder.h"
#include "tools/ecg_data.h"

namespace systole::tools {

struct Description {
  models::EncoderOptions encoder;
  std::optional<data::Normalization> normalization;  // absent in files that other programs wrote
  int signal_length = 0;                             // of the views it was trained on; 0: unknown
  std::string label_set;                             // classifiers
  std::vector<std::string> classes;                  // classifiers
  nlohmann::json run;                                // the options of the run that wrote it
};

/// Writes the parameters whose names start with `prefix` as section `section`.
void write_model(const std::filesystem::path& path, const ParameterStore& store, const std::string& section,
                 const std::string& prefix, const Description& description);

/// Sets sampling rate and leads of the data to those that the model was trained with, if its file says so.
void adopt_signals(const Description& description, DataOptions& options);

struct EncoderFile {
  NamedArrays arrays;  // names as in the encoder: features.0.block.0.weight …
  Description description;
};
/// The encoder of a file: section "encoder", or the encoder inside a classifier. A file that does not say which encoder
/// it holds, as those of PyTorch, is known by its names. Throws Error when there is none.
EncoderFile read_encoder(const std::filesystem::path& path);

struct ClassifierFile {
  NamedArrays arrays;  // encoder.…, head.…
  int classes;
  Description description;
};
ClassifierFile read_classifier(const std::filesystem::path& path);

}  // namespace systole::tools
