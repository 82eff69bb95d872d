// What systole bench loss measures: every loss at every size, by every implementation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench_loss_batch.h"
#include "tools/bench_peer.h"
#include "tools/command.h"

namespace systole::tools {

/// One implementation of a loss on one batch.
struct LossResult {
  std::string loss, by;  // by: "systole", "materialised" or "pytorch"
  int M, D;
  double flop;
  std::string failure;  // why there are no numbers
  // of one step:
  double seconds = 0, fastest = 0, slowest = 0;  // median, and the range
  int samples = 0, calls = 0;
  bool captured = false;  // it was replayed as one graph
  double times_ours = 1;  // seconds over Systole's: the median over the rounds
  int64_t peak_bytes = 0;
  double loss_value = 0, loss_error = 0, gradient_error = 0;  // errors relative to Systole's
  bool agrees = true;

  bool measured() const { return failure.empty(); }
};

struct LossMeasurement {
  CommonOptions common;  // of device, precision, threads and seed
  std::optional<Peer> peer;
  int samples;
  double largest_matrix;         // numbers; above, only Systole's own is measured
  std::filesystem::path folder;  // for the files of batches and gradients
};

/// All implementations of a loss, in turn, each in a process of its own; Systole's is the first. Others may be missing.
std::vector<LossResult> measure_loss(const LossMeasurement& how, const models::LossDefinition& loss, int M, int D);

/// Time and peak memory against M, a row of two panels for each loss and D. Throws Error when it cannot be written.
void plot_losses(const std::filesystem::path& svg, const std::vector<LossResult>& results, const std::string& where);

}  // namespace systole::tools
