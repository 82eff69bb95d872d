// Where kernels run, in which precision products are computed, and the queue that orders them.
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

/// In words: what the device is, or why it is not available.
std::string describe(Device device);

/// How the factors of convolutions and matrix products are rounded before they are multiplied. Sums are f32 always, and
/// so is what lies in memory, except for series in bf16 (kernels/common/series.h). The cpu multiplies in f32 and rounds
/// before: it shows what a precision does to a training, but is slower in it.
enum class Precision {
  f32,
  tf32,  ///< 10 bits of mantissa: the tensor cores' format for f32 data
  bf16,  ///< 7 bits of mantissa
};

inline constexpr Precision kAllPrecisions[] = {Precision::f32, Precision::tf32, Precision::bf16};

std::string_view name(Precision precision);

/// Throws UsageError for an unknown name.
Precision parse_precision(std::string_view text);

/// The precision of every queue that is made from now on; f32 until it is set.
void set_precision(Precision precision);

/// Where work is put. Kernels of one queue run in the order of their calls: at once on cpu and simt, on the process's
/// one stream on cuda.
class Queue {
 public:
  explicit Queue(Device device = Device::cpu);
  Queue(Device device, Precision precision) : device_(device), precision_(precision) {}
  Device device() const { return device_; }
  Precision precision() const { return precision_; }

  /// Waits until everything that was put on the queue is done. Throws Error if something of it failed.
  void synchronize();

 private:
  Device device_;
  Precision precision_;
};

/// What a backward kernel does with a gradient that may hold something already.
enum class GradientMode { overwrite, accumulate };

}  // namespace systole
