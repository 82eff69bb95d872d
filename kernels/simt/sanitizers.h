// What the sanitizers must be told about fibers. Empty without them.
//
// ThreadSanitizer: every CUDA thread is a fiber of its own to it, and nothing orders two of them but the tokens that
// barriers release and acquire. A token is a byte whose address stands for "everything before": releasing it publishes,
// acquiring it receives. AddressSanitizer: it must know which stack is the current one.
#pragma once

#include <cstddef>

#if defined(SYSTOLE_SIMT_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace systole::simt {

#if defined(SYSTOLE_SIMT_TSAN)
inline constexpr bool kRaceDetector = true;
inline void* race_fiber() {
  return __tsan_create_fiber(0);
}
inline void* current_race_fiber() {
  return __tsan_get_current_fiber();
}
inline void switch_race_fiber(void* fiber) {
  __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
}
inline void release(char* token) {
  __tsan_release(token);
}
inline void acquire(char* token) {
  __tsan_acquire(token);
}
#else
inline constexpr bool kRaceDetector = false;
inline void* race_fiber() {
  return nullptr;
}
inline void* current_race_fiber() {
  return nullptr;
}
inline void switch_race_fiber(void*) {}
inline void release(char*) {}
inline void acquire(char*) {}
#endif

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAddressChecker = true;
inline void leave_stack(void** saved, const void* next_bottom, size_t next_bytes) {
  __sanitizer_start_switch_fiber(saved, next_bottom, next_bytes);
}
inline void enter_stack(void* saved, const void** last_bottom, size_t* last_bytes) {
  __sanitizer_finish_switch_fiber(saved, last_bottom, last_bytes);
}
inline void forget_poison(void* memory, size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
#else
inline constexpr bool kAddressChecker = false;
inline void leave_stack(void**, const void*, size_t) {}
inline void enter_stack(void*, const void**, size_t*) {}
inline void forget_poison(void*, size_t) {}
#endif

}  // namespace systole::simt
