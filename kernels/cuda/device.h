// The GPU as the rest of the program sees it; no CUDA header is needed here.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/common/device.h"

namespace systole::kernels::cuda {

struct DeviceStatus {
  bool usable;
  std::string text;  // the GPU's name and memory, or why there is none
  bool wgmma = false;  // has_wgmma()
};
/// Asked once. Never throws.
const DeviceStatus& device_status();

/// The architectures that the kernels were compiled for, as in "sm_80, sm_90a, PTX 9.0".
std::string compiled_architectures();

/// Whether the GPU has wgmma, which is of compute capability 9.0 alone, and this build has kernels that use it.
bool has_wgmma();

void synchronize(const Queue& queue);

std::shared_ptr<std::byte> allocate(size_t bytes);
std::shared_ptr<const std::byte> readable_on_host(const void* begin, size_t bytes);
/// Bytes of the GPU's memory that are taken, by any program, once everything that was started has ended.
size_t memory_in_use();
/// Bytes of the GPU's memory that are free.
size_t available_memory();
/// What the GPU's L2 cache holds.
size_t l2_cache_bytes();
void copy_to_device(const Queue& queue, void* to, const void* from, size_t bytes);
void copy_to_host(const Queue& queue, void* to, const void* from, size_t bytes);
void copy_on_device(const Queue& queue, void* to, const void* from, size_t bytes);
void fill_zero(const Queue& queue, void* to, size_t bytes);

/// A range of NVTX, which NVIDIA's profilers show, from here to the end_range that belongs to it. Without a profiler
/// they cost next to nothing.
void begin_range(const char* name);
void end_range();

/// Milliseconds between the calls of start and stop, measured on the GPU.
class Timer {
 public:
  Timer();
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void start(const Queue& queue);
  /// Waits for the work in between.
  float stop(const Queue& queue);

 private:
  void *start_, *stop_;
};

}  // namespace systole::kernels::cuda
