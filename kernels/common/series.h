// A series [N, L, C] in a device's memory, as kernels take it: f32, or bf16 in a run of that precision, where it costs
// half of the memory and of the traffic. Kernels compute in f32 registers either way, and all sums are f32.
//
//   Entry<"pool.mean_forward", void(const MeanShape&, ConstSeries x, …)>        takes float* and bf16* alike
//   with_storage({x, y}, [&]<class S>() { launch(…, kernel<S>, x.as<S>(), y.as<S>()); })
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "kernels/common/bf16.h"
#include "kernels/common/error.h"

namespace systole::kernels {

enum class Storage : uint8_t { f32, bf16 };

constexpr int64_t byte_size(Storage storage) {
  return storage == Storage::bf16 ? 2 : 4;
}

class ConstSeries {
 public:
  constexpr ConstSeries() = default;
  constexpr ConstSeries(std::nullptr_t) {}                                                 // NOLINT: none
  constexpr ConstSeries(const float* values) : values_(values) {}                          // NOLINT
  constexpr ConstSeries(const bf16* values) : values_(values), storage_(Storage::bf16) {}  // NOLINT
  constexpr ConstSeries(const void* values, Storage storage) : values_(values), storage_(storage) {}

  constexpr Storage storage() const { return storage_; }
  constexpr const void* address() const { return values_; }
  explicit constexpr operator bool() const { return values_ != nullptr; }
  /// The values, whose type S the caller knows.
  template <class S>
  SYSTOLE_HOST_DEVICE const S* as() const {
    return static_cast<const S*>(values_);
  }
  /// For kernels that know f32 alone. Throws LaunchError when the series is stored as bf16.
  operator const float*() const {  // NOLINT: f32 is the usual case
    if (storage_ != Storage::f32) throw LaunchError("a series is stored as bf16; this kernel reads and writes f32");
    return static_cast<const float*>(values_);
  }

 private:
  const void* values_ = nullptr;
  Storage storage_ = Storage::f32;
};

/// One that is written.
class Series {
 public:
  constexpr Series() = default;
  constexpr Series(std::nullptr_t) {}                                           // NOLINT: none
  constexpr Series(float* values) : values_(values) {}                          // NOLINT
  constexpr Series(bf16* values) : values_(values), storage_(Storage::bf16) {}  // NOLINT
  constexpr Series(void* values, Storage storage) : values_(values), storage_(storage) {}

  constexpr Storage storage() const { return storage_; }
  constexpr void* address() const { return values_; }
  explicit constexpr operator bool() const { return values_ != nullptr; }
  template <class S>
  SYSTOLE_HOST_DEVICE S* as() const {
    return static_cast<S*>(values_);
  }
  constexpr operator ConstSeries() const { return {values_, storage_}; }  // NOLINT
  operator float*() const {                                               // NOLINT
    if (storage_ != Storage::f32) throw LaunchError("a series is stored as bf16; this kernel reads and writes f32");
    return static_cast<float*>(values_);
  }

 private:
  void* values_ = nullptr;
  Storage storage_ = Storage::f32;
};

/// Calls body.operator()<float>() or <bf16>(), as the series are stored; null ones are as the others. Throws
/// LaunchError when they differ.
template <class Body>
void with_storage(std::initializer_list<ConstSeries> series, const Body& body) {
  const ConstSeries* first = nullptr;
  for (const ConstSeries& each : series) {
    if (!each) continue;
    if (first && first->storage() != each.storage())
      throw LaunchError("some of its series are stored as f32 and others as bf16; expected one of them");
    if (!first) first = &each;
  }
  if (first && first->storage() == Storage::bf16)
    body.template operator()<bf16>();
  else
    body.template operator()<float>();
}

}  // namespace systole::kernels
