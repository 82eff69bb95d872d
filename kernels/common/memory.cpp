#include "kernels/common/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "kernels/common/dry_run.h"
#include "kernels/common/error.h"
#include "kernels/simt/recording.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/device.h"
#endif

namespace systole {
namespace {

constexpr size_t kAlignment = 64;

std::shared_ptr<std::byte> allocate_host(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kAlignment, std::max(bytes, size_t{1})) != 0)
    throw Error(fmt::format("out of memory: {} bytes could not be allocated", bytes));
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}

constexpr size_t kUnknown = std::numeric_limits<size_t>::max();

/// The number behind a word in a file of lines "word number …".
size_t number_in(const char* path, const std::string& word) {
  std::ifstream file(path);
  std::string name, rest;
  for (size_t number = 0; file >> name >> number; std::getline(file, rest))
    if (name == word) return number;
  return kUnknown;
}

/// The only number of a file; "max" and files that are not there are unknown.
size_t number_of(const char* path) {
  std::ifstream file(path);
  size_t number = 0;
  return file >> number ? number : kUnknown;
}

size_t available_on_host() {
  const size_t kilobytes = number_in("/proc/meminfo", "MemAvailable:");
  const size_t of_machine = kilobytes == kUnknown ? kUnknown : kilobytes * 1024;
  const size_t limit = number_of("/sys/fs/cgroup/memory.max"), used = number_of("/sys/fs/cgroup/memory.current");
  if (limit == kUnknown || used == kUnknown) return of_machine;
  const size_t cache = number_in("/sys/fs/cgroup/memory.stat", "inactive_file");  // given back when memory is short
  const size_t kept = cache == kUnknown || cache > used ? used : used - cache;
  return std::min(of_machine, limit > kept ? limit - kept : 0);
}

/// The recording that takes what is put on the queue, or null.
simt::Recording* recording_of(const Queue& queue) {
  return queue.device() == Device::simt ? simt::Recording::active() : nullptr;
}

/// Now, or with every run of the recording that is being made.
template <class Work>
void run_or_record(const Queue& queue, const Work& work) {
  if (auto* recording = recording_of(queue))
    recording->add_memory_operation(work);
  else
    work();
}

void refuse_to_record(const Queue& queue, const char* what) {
  if (recording_of(queue)) throw LaunchError(std::string(what) + " cannot be part of a captured step");
}

}  // namespace

#if defined(SYSTOLE_CUDA)
#define SYSTOLE_ON_CUDA(device, call) \
  if (device == Device::cuda) return kernels::cuda::call
#else
#define SYSTOLE_ON_CUDA(device, call)
#endif

std::shared_ptr<std::byte> allocate_memory(Device device, size_t bytes) {
  SYSTOLE_ON_CUDA(device, allocate(bytes));
  (void)device;
  return allocate_host(bytes);
}

size_t available_memory(Device device) {
  SYSTOLE_ON_CUDA(device, available_memory());
  (void)device;
  return available_on_host();
}

std::shared_ptr<const std::byte> readable_on_host(Device device, const void* begin, size_t bytes) {
  SYSTOLE_ON_CUDA(device, readable_on_host(begin, bytes));
  (void)device, (void)bytes;
  return {static_cast<const std::byte*>(begin), [](const std::byte*) {}};
}

void copy_to_device(Queue& queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0 || DryRun::is_active()) return;
  SYSTOLE_ON_CUDA(queue.device(), copy_to_device(queue, to, from, bytes));
  refuse_to_record(queue, "a copy from the host");
  std::memcpy(to, from, bytes);
}

void copy_to_host(Queue& queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  if (DryRun::is_active()) {
    std::memset(to, 0, bytes);
    return;
  }
  SYSTOLE_ON_CUDA(queue.device(), copy_to_host(queue, to, from, bytes));
  refuse_to_record(queue, "a copy to the host");
  std::memcpy(to, from, bytes);
}

void copy_on_device(Queue& queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0 || DryRun::is_active()) return;
  SYSTOLE_ON_CUDA(queue.device(), copy_on_device(queue, to, from, bytes));
  run_or_record(queue, [=] { std::memcpy(to, from, bytes); });
}

void fill_zero(Queue& queue, void* to, size_t bytes) {
  if (bytes == 0 || DryRun::is_active()) return;
  SYSTOLE_ON_CUDA(queue.device(), fill_zero(queue, to, bytes));
  run_or_record(queue, [=] { std::memset(to, 0, bytes); });
}

void* scratch_memory(Queue& queue, size_t bytes) {
  struct Scratch {
    std::shared_ptr<std::byte> memory;
    size_t capacity = 0;
  };
  static Scratch on_simt, on_cuda;
  if (queue.device() != Device::cuda) {
    // Made anew for each call, so that AddressSanitizer sees its end and nothing of an earlier call can be read.
    on_simt.memory = allocate_host(bytes);
    if (auto* recording = recording_of(queue)) recording->keep(on_simt.memory);
    std::memset(on_simt.memory.get(), 0xff, bytes);
    return on_simt.memory.get();
  }
  if (on_cuda.capacity < bytes) {
    static std::vector<std::shared_ptr<std::byte>> outgrown;  // a captured graph may still have their addresses
    outgrown.push_back(on_cuda.memory);
    on_cuda.capacity = std::max(bytes, 2 * on_cuda.capacity);  // so all that is outgrown is less than what is in use
    on_cuda.memory = allocate_memory(Device::cuda, on_cuda.capacity);
  }
  return on_cuda.memory.get();
}

}  // namespace systole
