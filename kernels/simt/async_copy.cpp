// Asynchronous copies of one thread. Unlike the rest of the runtime this file is instrumented as kernels are: its
// writes are the kernel's.

#include <algorithm>

#include "kernels/simt/intrinsics.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace systole::simt {
namespace {

constexpr unsigned kOpen = ~0u;

/// Whoever touches the destination before the wait is reported.
void watch([[maybe_unused]] void* to, [[maybe_unused]] unsigned size, [[maybe_unused]] bool on) {
#if defined(__SANITIZE_ADDRESS__)
  if (size < 8) return;
  if (on)
    __asan_poison_memory_region(to, size);
  else
    __asan_unpoison_memory_region(to, size);
#endif
}

}  // namespace

void start_copy(void* to, const unsigned char* bytes, unsigned size, const Where& where) {
  AsyncCopy copy{to, {}, size, kOpen, where};
  std::copy_n(bytes, size, copy.bytes);
  watch(to, size, true);
  current_thread->copies.push_back(copy);
}

void cp_async_commit() {
  Thread& thread = *current_thread;
  for (AsyncCopy& copy : thread.copies)
    if (copy.group == kOpen) copy.group = thread.committed;
  ++thread.committed;
}

void finish_copies(unsigned groups_left) {
  Thread& thread = *current_thread;
  const auto under_way = [&](const AsyncCopy& copy) {
    return copy.group == kOpen || copy.group + groups_left >= thread.committed;
  };
  for (const AsyncCopy& copy : thread.copies) {
    if (under_way(copy)) continue;
    watch(copy.to, copy.size, false);
    for (unsigned i = 0; i < copy.size; i += 4) {
      uint32_t word;
      __builtin_memcpy(&word, copy.bytes + i, 4);
      *static_cast<uint32_t*>(static_cast<void*>(static_cast<unsigned char*>(copy.to) + i)) = word;
    }
  }
  std::erase_if(thread.copies, [&](const AsyncCopy& copy) { return !under_way(copy); });
}

}  // namespace systole::simt
