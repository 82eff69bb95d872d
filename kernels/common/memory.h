// Memory of a device, and copies between it and the host. On cpu and simt it is the host's own memory. In a dry run
// (dry_run.h) nothing is copied.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/common/device.h"

namespace systole {

/// At least `bytes` of the device's memory, 64-byte aligned, its content undefined. Throws Error when there is not
/// enough.
std::shared_ptr<std::byte> allocate_memory(Device device, size_t bytes);

/// Bytes that could be allocated now without any program having to give way: of the GPU's memory, elsewhere of the
/// host's, within the limit of the control group (version 2) that the process runs in.
size_t available_memory(Device device);

/// Host memory as kernels of the device read it, where it is, for as long as the result lives: on cuda it is pinned,
/// and every read crosses the bus. For what is too large for the GPU and read once. Throws Error when it cannot be
/// pinned.
std::shared_ptr<const std::byte> readable_on_host(Device device, const void* begin, size_t bytes);

/// Host → device. Returns when `from` may be changed.
void copy_to_device(Queue& queue, void* to, const void* from, size_t bytes);
/// Device → host. Returns when `to` holds the bytes, after everything that was on the queue before.
void copy_to_host(Queue& queue, void* to, const void* from, size_t bytes);
/// Within the device's memory.
void copy_on_device(Queue& queue, void* to, const void* from, size_t bytes);
void fill_zero(Queue& queue, void* to, size_t bytes);

/// Working memory of one call of a kernel entry on simt or cuda: `bytes` with undefined content (NaN on simt). The next
/// call of scratch_memory may hand out the same addresses; kernels of one queue run in order, so that is safe.
void* scratch_memory(Queue& queue, size_t bytes);

template <class T>
T* scratch(Queue& queue, size_t count) {
  return static_cast<T*>(scratch_memory(queue, count * sizeof(T)));
}

}  // namespace systole
