#include "kernels/common/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <vector>

#include "kernels/common/error.h"
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

void copy_to_device(Queue& queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  SYSTOLE_ON_CUDA(queue.device(), copy_to_device(queue, to, from, bytes));
  (void)queue;
  std::memcpy(to, from, bytes);
}

void copy_to_host(Queue& queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  SYSTOLE_ON_CUDA(queue.device(), copy_to_host(queue, to, from, bytes));
  (void)queue;
  std::memcpy(to, from, bytes);
}

void copy_on_device(Queue& queue, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  SYSTOLE_ON_CUDA(queue.device(), copy_on_device(queue, to, from, bytes));
  (void)queue;
  std::memcpy(to, from, bytes);
}

void fill_zero(Queue& queue, void* to, size_t bytes) {
  if (bytes == 0) return;
  SYSTOLE_ON_CUDA(queue.device(), fill_zero(queue, to, bytes));
  (void)queue;
  std::memset(to, 0, bytes);
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
