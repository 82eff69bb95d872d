// How much memory a piece of work takes at its peak. On cpu and simt: the resident memory of the process (proc(5)),
// which counts pages that were touched, by whomever. On cuda: the memory of the GPU that is no longer free, since
// nothing that a process allocates here is given back while it runs; another process on the GPU would be counted too.
#pragma once

#include <cstdint>

#include "kernels/common/device.h"

namespace systole::benchmarks {

class PeakMemory {
 public:
  /// From now on. Code, threads and handles that are to be no part of it have been used once before.
  explicit PeakMemory(Device device);

  /// Bytes at the peak beyond what was in use at the beginning.
  int64_t bytes() const;

 private:
  Device device_;
  int64_t at_first_;
};

}  // namespace systole::benchmarks
