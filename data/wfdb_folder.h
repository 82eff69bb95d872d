// Any folder of WFDB records with the 12 standard leads, without a word about them: enough for pre-training.
#pragma once

#include <filesystem>

#include "data/record_loader.h"

namespace systole::data {

/// Whether there is a WFDB header somewhere below the folder, and nothing that PTB-XL's layout is known by.
bool is_wfdb_folder(const std::filesystem::path& root);

/// Loads all records below the folder as load_records does, without labels, in the order of their paths. Each counts as
/// a patient of its own, and all are in fold 1. They are resampled to the sampling rate asked for, and cut to the most
/// common length. Throws as load_records, and Error when only other folds are asked for.
Dataset load_wfdb_folder(const LoadOptions& options, LoadReport& report);

}  // namespace systole::data
