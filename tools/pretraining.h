// Contrastive pre-training as a run: the network, its loss and its optimiser over the batches of some epochs.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "augment/recipe.h"
#include "engine/arena.h"
#include "models/moco.h"
#include "tools/ecg_data.h"
#include "tools/recipe_options.h"
#include "tools/run_log.h"
#include "tools/training.h"

namespace systole::tools {

struct PretrainingOptions {
  TrainingOptions training;
  models::LossOptions loss;
  models::MocoOptions moco;
  int projection_dim = 128, projection_hidden = 2048;
  models::EncoderOptions encoder;
  bool shuffle = true;
  bool patient_positives = false;  // ids of rows are those of patients, not of records
  int patient_pairs = 0;           // patients with two records in every batch; 0: as chance has it
  uint64_t seed = 42;
};

/// The steps of one run. One batch is the unit of work; everything random follows from the seed, the step and the
/// record.
class Pretraining {
 public:
  Pretraining(const PretrainingOptions& options, const ViewOptions& views, const data::Dataset& dataset,
              const data::Normalization& normalization, Device device);

  void run(std::span<const size_t> records, RunLog& log);
  const ParameterStore& store() const { return store_; }
  const models::EncoderOptions& encoder_options() const { return network_options_.encoder; }

 private:
  struct Result {
    double loss, gradient_norm;
    int64_t left_out;  // rows without a positive, counted in steps that are logged
  };

  std::vector<size_t> order_of_epoch(std::span<const size_t> records, uint32_t epoch) const;
  bool compares_slots() const { return loss_.definition().slots != models::Slots::views; }
  /// Views for the loss: two, or one where only leads are compared.
  int view_count() const { return loss_.definition().slots == models::Slots::leads ? 1 : 2; }
  models::ViewBatch project(const Tensor& views, std::span<const size_t> records);
  /// i32 [slots · N], the ids of the records once for each slot.
  Tensor ids_of(std::span<const size_t> records, int slots) const;
  int64_t same_patient_pairs(std::span<const size_t> records) const;
  bool is_logged(int64_t step) const { return step % options_.training.log_every == 0 || step == 1; }
  Result step(std::span<const size_t> records, double learning_rate);

  PretrainingOptions options_;
  const ViewOptions& views_;
  Batches batches_;
  std::vector<int32_t> patients_;  // of all records of the data set
  Arena arena_;
  ParameterStore store_;
  models::SimclrOptions network_options_;
  models::Simclr network_;
  models::ContrastiveLoss loss_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<models::Moco> moco_;
};

}  // namespace systole::tools
