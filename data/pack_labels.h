// The label sets of a data set that is to be packed.
#pragma once

#include <filesystem>
#include <vector>

#include "data/pack.h"

namespace systole::data {

/// Of a folder in PTB-XL's layout: all that its tables have the columns for. Throws Error as read_ptbxl_metadata.
std::vector<PackedLabels> ptbxl_label_sets(const std::filesystem::path& root, const Dataset& signals);

/// Of MIT-BIH: its own.
std::vector<PackedLabels> mitdb_label_sets(const LoadOptions& options, const Dataset& signals);

/// Of a label table; none where it has no column of labels. `has_ecg_ids` as of a pack. Throws Error as
/// read_label_table.
std::vector<PackedLabels> table_label_sets(const std::filesystem::path& table, bool has_ecg_ids,
                                           const Dataset& signals);

}  // namespace systole::data
