#include "benchmarks/peak_memory.h"

#include <algorithm>
#include <fstream>
#include <malloc.h>
#include <sstream>
#include <string>

#include "kernels/common/error.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

namespace systole::benchmarks {
namespace {

/// A field of /proc/self/status, which counts in KiB.
int64_t status_bytes(const std::string& field) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t kib = 0;
    if (words >> name >> kib && name == field) return kib * 1024;
  }
  throw Error("the memory of the process cannot be measured: /proc/self/status has no line " + field);
}

#if defined(SYSTOLE_CUDA)
int64_t taken_of_gpu() {
  return static_cast<int64_t>(kernels::cuda::memory_in_use());
}
#endif

}  // namespace

PeakMemory::PeakMemory(Device device) : device_(device) {
#if defined(SYSTOLE_CUDA)
  if (device == Device::cuda) {
    at_first_ = taken_of_gpu();
    return;
  }
#endif
  malloc_trim(0);  // or what the heap has free would be taken first and not be counted
  at_first_ = status_bytes("VmRSS:");
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak begins anew; where that is not allowed it may be too large
}

int64_t PeakMemory::bytes() const {
#if defined(SYSTOLE_CUDA)
  if (device_ == Device::cuda) return taken_of_gpu() - at_first_;
#endif
  return std::max(int64_t{0}, status_bytes("VmHWM:") - at_first_);
}

}  // namespace systole::benchmarks
