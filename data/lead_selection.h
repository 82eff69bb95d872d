// Some leads of a data set: an encoder that was trained on I, II, V1 … V6 reads these and no others.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace systole::data {

/// Dade et al. 2026: the leads from which the other four limb leads follow.
inline const std::vector<std::string> kIndependentLeads{"I", "II", "V1", "V2", "V3", "V4", "V5", "V6"};

/// The place of a lead among others, by its name in any case.
std::optional<size_t> find_lead(const std::vector<std::string>& leads, const std::string& name);

/// The data set with these leads alone, in this order; names are compared in any case. Throws UsageError for a lead
/// that is missing or named twice.
Dataset select_leads(Dataset dataset, const std::vector<std::string>& leads);

}  // namespace systole::data
