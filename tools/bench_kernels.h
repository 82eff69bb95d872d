// What systole bench kernels measures: every kernel on every shape of its family, by ours and by its peers.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/ceilings.h"

namespace systole::tools {

/// One implementation of a kernel on one shape.
struct KernelResult {
  std::string kernel, shape, by;  // by: "systole", or a peer: "openblas", "onednn", "cublas", "cudnn"
  double flop, bytes;             // the least that must be computed and moved
  std::string failure;            // why there is nothing else
  double error = 0;               // of the worst result
  bool agrees = false;
  // of one call, unless only checked:
  double seconds = 0, fastest = 0, slowest = 0;  // median, and the range
  int samples = 0, calls = 0;
  double footprint = 0;   // bytes of all buffers that took turns
  double times_ours = 1;  // seconds over Systole's: the median over the rounds

  bool measured() const { return seconds > 0; }
  double spread() const { return (slowest - fastest) / seconds; }
  /// "conv1d" of "conv1d.forward".
  std::string family() const { return kernel.substr(0, kernel.find('.')); }
  /// A shape that is there to break kernels: its speed says nothing about a network.
  bool is_odd() const { return shape.starts_with("odd/"); }
};

struct KernelMeasurement {
  std::string command, commit, date;
  Device device;
  Precision precision;
  benchmarks::Ceilings ceilings;
  std::vector<KernelResult> results;  // peers behind ours

  std::optional<benchmarks::Floor> floor(const KernelResult& r) const {
    return ceilings.floor(r.flop, r.bytes, r.footprint, precision);
  }
  /// "66% FMA": the floor over the time, and what it is made of; empty where there is none.
  std::string share_of_floor(const KernelResult& r) const;
};

/// The results as a page of Markdown, without the odd shapes: a table for each family.
std::string kernel_page(const KernelMeasurement& measurement);

/// The roofline: FLOP per byte against GFLOP/s, both logarithmic; the ceilings as lines, our kernels as points, without
/// the odd shapes. Throws Error when it cannot be written.
void plot_roofline(const std::filesystem::path& svg, const KernelMeasurement& measurement);

}  // namespace systole::tools
