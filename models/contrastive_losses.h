// The contrastive losses for two views of each record, by name: which pairs of rows are compared, which of them belong
// together, and what a row is compared with. Each is a few lines in contrastive_losses.cpp; the arithmetic is that of
// engine/contrastive.h and engine/feature_losses.h. kernels/contrastive/README.md shows how to add one.
#pragma once

#include <string>
#include <vector>

#include "engine/contrastive.h"
#include "engine/parameters.h"

namespace systole::models {

/// What a loss sees of a batch of N records, each in as many slots: its views, and for some losses the leads of each.
struct ViewBatch {
  Tensor x;    // [slots · N, D] projections, slot after slot
  Tensor ids;  // i32 [slots · N], of records or patients: rows with equal ids are positives
  int slots = 2;
  Tensor keys{}, key_ids{};  // moco, whose x has first views alone: [B, D] and i32 [B], without gradient

  int64_t records() const { return x.dim(0) / slots; }
  Tensor first() const { return rows(0); }
  Tensor second() const { return rows(records()); }
  Tensor record_ids() const { return ids.slice(0, {records()}); }

 private:
  Tensor rows(int64_t begin) const;
};

struct LossParameters {
  Temperature temperature = 0.07f;
  Tensor bias{};  // siglip: [1]
};

/// What makes rows positives of each other.
enum class Positives {
  partner,  ///< the other view of the record, whatever the ids
  record,   ///< equal ids, by default those of records
  patient,  ///< equal ids, by default those of patients
};

/// What the slots of a batch are. Where leads are slots, the encoder reads one lead at a time.
enum class Slots { views, leads, views_and_leads };

struct LossDefinition {
  const char* name;
  const char* meaning;
  const char* source;
  Slots slots;
  Positives positives;
  float temperature;  // the default; 0: the loss has none
  PairLossResult (*compute)(const ViewBatch& batch, const LossParameters& parameters);
};

const std::vector<LossDefinition>& loss_definitions();
/// The definition of a name. Throws UsageError that lists the names for any other.
const LossDefinition& loss_definition(const std::string& name);

struct LossOptions {
  std::string name = "nt-xent";
  float temperature = 0.07f;  // at the start, where it is learned
  bool learn_temperature = false;
};

/// A loss with what it learns: loss.log_scale (the temperature) and loss.bias (siglip) of the store.
class ContrastiveLoss {
 public:
  /// The smallest temperature that is learned: CLIP's bound, which keeps training stable.
  static constexpr float kSmallestLearned = 0.01f;

  ContrastiveLoss(ParameterStore& store, const LossOptions& options);

  PairLossResult operator()(const ViewBatch& batch) const;
  const LossDefinition& definition() const { return *definition_; }
  float temperature() const { return current_temperature().value; }
  /// Whether it has parameters of its own.
  bool learns() const { return log_scale_ || bias_; }

 private:
  Temperature current_temperature() const;

  const LossDefinition* definition_;
  float temperature_;
  Parameter* log_scale_ = nullptr;
  Parameter* bias_ = nullptr;
};

}  // namespace systole::models
