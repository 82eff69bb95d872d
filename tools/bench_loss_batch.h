// The rows on which losses are measured, as files: every implementation, in whatever language, reads the same ones.
//
// N records in `slots` slots each; M = slots · N rows, slot after slot. Rows are normal, and those of a record
// correlate by ½, so that a softmax over a batch is neither flat nor saturated. A patient has two records, the next one
// has one.
#pragma once

#include <cstdint>
#include <filesystem>

#include "models/contrastive_losses.h"

namespace systole::tools {

/// What is measured, and where its inputs are.
struct LossBatch {
  int M, D, slots;
  std::filesystem::path rows;  // floats [M, D], and for two slots [M/2, D] that belong to nobody: a queue for moco
  std::filesystem::path ids;   // int32 [M], of records or of patients

  int records() const { return M / slots; }
};

/// Writes both files into a folder; those that are there already are kept.
LossBatch write_batch(const std::filesystem::path& folder, const models::LossDefinition& loss, int slots, int M, int D,
                      uint64_t seed);

/// As the loss wants it: moco gets first views alone, and as keys the second ones and the queue.
models::ViewBatch read_batch(const LossBatch& batch, const models::LossDefinition& loss, Device device);

/// A few rows of zeros, to use the code once.
models::ViewBatch small_batch(const models::LossDefinition& loss, int slots, int D, Device device);

}  // namespace systole::tools
