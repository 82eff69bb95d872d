// The memory of a measured problem.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "benchmarks/kernel_cases.h"
#include "kernels/common/device.h"

namespace systole::benchmarks {

/// A problem's buffers on a device, in as many copies as do not fit into a cache together: calls take turns, so that
/// they find their inputs in memory, as they would after other work.
class DeviceMemory {
 public:
  /// One copy where not `rotating`. `series`: how the problem's series are stored.
  DeviceMemory(Queue& queue, const Problem& problem, bool rotating, kernels::Storage series = kernels::Storage::f32);

  const Memory& copy(int64_t turn) const { return copies_[static_cast<size_t>(turn) % copies_.size()]; }
  /// Of all copies together.
  double bytes() const { return bytes_; }
  /// The results in copy 0.
  std::vector<std::vector<float>> results(Queue& queue, const Problem& problem) const;

 private:
  bool is_bf16(const Problem& problem, int buffer) const;

  kernels::Storage series_;
  std::vector<std::shared_ptr<std::byte>> memory_;
  std::vector<Memory> copies_;
  double bytes_;
};

}  // namespace systole::benchmarks
