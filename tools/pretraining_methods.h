// The methods of pre-training by name, each with the settings that it was published with.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/byol.h"
#include "models/contrastive_objective.h"
#include "models/dade.h"
#include "models/masked_reconstruction.h"

namespace systole::tools {

struct PretrainingMethod {
  const char* name;
  const char* meaning;
  // What a run has unless its options say otherwise; most have what SSRL-ECG has:
  std::vector<std::string> augment;  // a recipe and changes to it
  const char* encoder = "ECGEncoder1DCNN";
  int epochs = 20, batch_size = 256;
  double learning_rate = 1e-3, adam_eps = 1e-8;
  std::vector<std::string> leads{};  // none: all of the records
};

const std::vector<PretrainingMethod>& pretraining_methods();
/// The method of a name. Throws UsageError that lists the names for any other.
const PretrainingMethod& pretraining_method(const std::string& name);

/// CLOCS by what its slots are: "leads", "segments" or "leads+segments". The name of the loss that compares them.
/// Throws UsageError for anything else.
std::string loss_of_slots(const std::string& slots);

/// Options of all methods; each reads its own, and all have the one encoder.
struct ObjectiveOptions {
  std::string method = "simclr";
  models::EncoderOptions encoder{};
  models::ContrastiveOptions contrastive{};  // simclr, clocs
  models::ByolOptions byol{};
  models::DadeOptions dade{};
};

/// Declares the method's networks in the store.
std::unique_ptr<models::PretrainingObjective> make_objective(ParameterStore& store, ObjectiveOptions options);

}  // namespace systole::tools
