// Where kernels run, and the queue that orders them.
#pragma once

#include <string>
#include <string_view>

namespace systole {

enum class Device {
  cpu,   ///< SIMD and OpenMP kernels of their own
  simt,  ///< the CUDA kernels, executed on the CPU thread by thread
  cuda,  ///< the CUDA kernels on a GPU
};

inline constexpr Device kAllDevices[] = {Device::cpu, Device::simt, Device::cuda};

std::string_view name(Device device);

/// The device of a name: cpu, simt, cuda, or auto for the fastest one present. Throws UsageError for anything else, and
/// for a device that this build or machine does not have.
Device parse_device(std::string_view text);

/// Whether this build has kernels for the device and this machine can run them.
bool is_available(Device device);

/// Where work is put. Kernels of one queue run in the order of their calls. A cpu queue runs each call at once; the
/// other devices add their state here (options for simt, a stream for cuda).
class Queue {
 public:
  explicit Queue(Device device = Device::cpu) : device_(device) {}
  Device device() const { return device_; }

 private:
  Device device_;
};

/// What a backward kernel does with a gradient that may hold something already.
enum class GradientMode { overwrite, accumulate };

}  // namespace systole
