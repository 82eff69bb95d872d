// What systole bench loss measures: every loss at every size, by every implementation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tools/bench_loss_batch.h"
#include "tools/command.h"

namespace systole::tools {

/// Sets, once threads are set, what OpenMP and BLAS libraries of the workers read when they are loaded. Threads that
/// wait must soon leave the cores to the next worker, and yet be there for the next loop of their own.
void prepare_environment_of_workers();

/// A Python whose PyTorch can be compared with.
struct Peer {
  std::string python;
  std::string name;  // "PyTorch 1.13.0"
  double product_flop_per_second;
};

/// `python` is a program, or "auto" for python3 if it can, or "none". Says in `why_not` why there is no peer. Throws
/// UsageError when a program that was named cannot be one.
std::optional<Peer> find_peer(const std::string& python, const CommonOptions& common, std::string& why_not);

/// One implementation of a loss on one batch.
struct LossResult {
  std::string loss, by;  // by: "systole", "materialised" or "pytorch"
  int M, D;
  double flop;
  std::string failure;  // why there are no numbers
  // of one step:
  double seconds = 0, fastest = 0, slowest = 0;  // median, and the range
  int samples = 0, calls = 0;
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
