// Kernel tables: one plain struct of entries per family, one instance of it per device.
//
//   struct PoolKernels {
//     Entry<"pool.mean_forward", void(const PoolShape&, const float* x, float* y)> mean_forward;
//   };
//   const PoolKernels& pool_kernels(Device);          // the only dispatch there is
//   pool_kernels(queue.device()).mean_forward(queue, shape, x, y);
//
// An entry that a device leaves empty throws a sentence with the names of kernel and device when it is called.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "kernels/common/device.h"
#include "kernels/common/error.h"

namespace systole::kernels {

template <size_t N>
struct FixedString {
  char text[N];
  constexpr FixedString(const char (&literal)[N]) { std::copy_n(literal, N, text); }  // NOLINT: a literal converts
};

template <FixedString Name, class Signature>
struct Entry;

template <FixedString Name, class... Args>
struct Entry<Name, void(Args...)> {
  using Function = void (*)(Queue&, Args...);
  Function function = nullptr;

  constexpr Entry() = default;
  constexpr Entry(Function f) : function(f) {}  // NOLINT: a table is filled with plain functions

  static constexpr const char* name() { return Name.text; }
  explicit operator bool() const { return function != nullptr; }

  void operator()(Queue& queue, Args... args) const {
    if (!function)
      throw Error("the kernel " + std::string(name()) + " does not exist for the device " +
                  std::string(systole::name(queue.device())));
    function(queue, args...);
  }
};

}  // namespace systole::kernels
