// The memory of a measured problem, and how fast the device can be at all.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "benchmarks/kernel_cases.h"
#include "benchmarks/timing.h"
#include "kernels/common/device.h"

namespace systole::benchmarks {

/// A problem's buffers on a device, in as many copies as do not fit into a cache together: calls take turns, so that
/// they find their inputs in memory, as they would after other work.
class DeviceMemory {
 public:
  /// One copy where not `rotating`.
  DeviceMemory(Queue& queue, const Problem& problem, bool rotating);

  const Memory& copy(int64_t turn) const { return copies_[static_cast<size_t>(turn) % copies_.size()]; }
  /// The results in copy 0.
  std::vector<std::vector<float>> results(Queue& queue, const Problem& problem) const;

 private:
  std::vector<std::shared_ptr<std::byte>> memory_;
  std::vector<Memory> copies_;
};

/// Rates that nothing on this device can exceed, measured now. 0: not measured.
struct Ceilings {
  double bytes_per_second = 0;  // copies within the device's memory, read and write counted
  double fma_flop_per_second = 0;
  double bf16_flop_per_second = 0;  // by mma.sync

  /// The seconds that a case needs at least, in a precision of products.
  double floor(double flop, double bytes, Precision precision) const;
};
/// On cuda alone: on a CPU one thread's rates would say little.
Ceilings measure_ceilings(Device device);

}  // namespace systole::benchmarks
