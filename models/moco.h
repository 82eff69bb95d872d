// What MoCo (He et al. 2020) has beside SimCLR's networks: a second encoder and projector whose weights follow the
// first ones slowly, and a queue of what it made of earlier batches. So a view is compared with many more others than
// its batch has, and keys of different age still come from nearly the same network.
#pragma once

#include <cstdint>

#include "engine/checkpoint/run_state.h"
#include "models/contrastive_losses.h"
#include "models/simclr.h"

namespace systole::models {

struct MocoOptions {
  int queue_size = 4096;           // rows of earlier batches; it fills up during the first steps
  double decay = 0.999;            // of the moving average of weights
  bool patient_positives = false;  // keys of earlier batches are positives too where ids are equal; otherwise never
};

class Moco {
 public:
  /// `online`: the store of the network that is trained, in which that network was declared first. Both start equal.
  Moco(const ParameterStore& online, const SimclrOptions& network, const MocoOptions& options);

  /// Sets batch.keys [N + queue, D] and batch.key_ids from the second views [N, L, leads] and the queue. The mode's
  /// dropout must not have the masks of the first views, or keys would be told by them.
  void add_keys(const Tensor& second_views, ViewBatch& batch, Mode mode = Mode::train());
  /// After an optimiser step: the weights follow, and the batch's keys come before those of earlier batches in the
  /// queue, which forgets the oldest. All keys move for that, once per step, so that no step differs from the one
  /// before once the queue is full.
  void follow(const ViewBatch& batch);

  /// Shows the second network and the queue, as they are saved and restored.
  void state(RunState& state);

  /// Rows in the queue; in a dry run as many as there is room for.
  int64_t queued() const;
  bool is_full() const { return queued() == options_.queue_size; }

 private:
  const ParameterStore& online_;
  MocoOptions options_;
  ParameterStore store_;
  Simclr network_;
  Tensor decay_;              // as ema() reads it
  Tensor queue_, queue_ids_;  // [queue_size, D], i32 [queue_size], the newest first
  int64_t queued_ = 0;
};

}  // namespace systole::models
