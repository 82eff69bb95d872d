// The device that a test program runs on, and its memory. SYSTOLE_TEST_DEVICE is cpu, simt or cuda; ctest runs every
// program of kernels once for cpu and once for simt, tools/gpu_check for cuda.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/memory.h"

namespace systole::test {

inline Device device() {
  static const Device chosen = [] {
    const char* text = std::getenv("SYSTOLE_TEST_DEVICE");
    return parse_device(text ? text : "cpu");
  }();
  return chosen;
}

/// Vectors as arguments of kernels on the device under test, for one call or a few:
///
///   OnDevice d;
///   pool_kernels(test::device()).mean_forward(d.queue(), shape, d.in(x), {}, d.out(y));
///
/// On cpu and simt kernels get the vectors' own memory, so that AddressSanitizer sees their ends. On cuda they are
/// copied there, and what is `out` is copied back when the OnDevice ends.
class OnDevice {
 public:
  explicit OnDevice(Precision precision = Precision::f32) : queue_(device(), precision) {}
  ~OnDevice() { finish(); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  Queue& queue() { return queue_; }
  /// Copies back what is out, now instead of at the end.
  void finish() {
    for (const auto& copy : copies_back_) copy();
    copies_back_.clear();
  }

  template <class T>
  const T* in(const std::vector<T>& values) {
    return on_host() ? values.data() : upload(values.data(), values.size());
  }
  /// Read and written, or only written.
  template <class T>
  T* out(std::vector<T>& values) {
    return out(values.data(), values.size());
  }
  template <class T>
  T* out(T* values, size_t count) {
    if (on_host()) return values;
    T* memory = upload(values, count);
    copies_back_.push_back([=, this] { copy_to_host(queue_, values, memory, count * sizeof(T)); });
    return memory;
  }

 private:
  /// SYSTOLE_TEST_COPIES copies on every device: what a test does with memory that is a GPU's can then be tried, and
  /// watched by AddressSanitizer, without one.
  bool on_host() const { return queue_.device() != Device::cuda && !std::getenv("SYSTOLE_TEST_COPIES"); }
  template <class T>
  T* upload(const T* values, size_t count) {
    memory_.push_back(allocate_memory(queue_.device(), count * sizeof(T)));
    copy_to_device(queue_, memory_.back().get(), values, count * sizeof(T));
    return reinterpret_cast<T*>(memory_.back().get());
  }

  Queue queue_;
  std::vector<std::shared_ptr<std::byte>> memory_;
  std::vector<std::function<void()>> copies_back_;
};

}  // namespace systole::test
