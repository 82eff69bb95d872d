// Kernel tables: one plain struct of entries per family, one instance of it per device.
//
//   struct PoolKernels {
//     Entry<"pool.mean_forward", void(const PoolShape&, const float* x, float* y)> mean_forward;
//   };
//   const PoolKernels& pool_kernels(Device);          // the only dispatch there is
//   pool_kernels(queue.device()).mean_forward(queue, shape, x, y);
//
// An entry that a device leaves empty throws a sentence with the names of kernel and device when it is called. What a
// kernel throws is preceded by the name of its entry and the shapes that it was called with.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>

#include "kernels/common/device.h"
#include "kernels/common/dry_run.h"
#include "kernels/common/error.h"

namespace systole::kernels {

template <size_t N>
struct FixedString {
  char text[N];
  constexpr FixedString(const char (&literal)[N]) { std::copy_n(literal, N, text); }  // NOLINT: a literal converts
};

/// Shapes that have a text(shape) are named in errors, and so are plain counts.
template <class T>
std::string shape_text(const T& argument) {
  if constexpr (requires { text(argument); })
    return " " + text(argument);
  else if constexpr (std::is_same_v<T, int64_t>)
    return " " + std::to_string(argument) + " values";
  else
    return {};
}

/// What an entry void(Args...) was called with.
template <class... Args>
using Arguments = std::tuple<const std::remove_reference_t<Args>&...>;

/// A call of an entry, as a watch sees it.
struct WatchedCall {
  const char* kernel;
  std::string shape;      // its text, where it has one
  const void* arguments;  // Arguments<Args...> of the entry
};

/// Is told of every call of an entry while it is installed, before and after it: how a profile takes the time of each
/// kernel, and how the work of a step is counted. Calls come from the one thread that puts work on queues.
struct CallWatch {
  void (*begin)(Queue&, const char* kernel);
  void (*end)(Queue&, const WatchedCall& call);
};
inline const CallWatch* call_watch = nullptr;  // none: the usual case, which costs one comparison

template <class Signature>
struct Call;

template <class... Args>
struct Call<void(Args...)> {
  using Function = void (*)(Queue&, Args...);
  const char* name;  // "family.kernel"
  Function function;

  constexpr Call(const char* n, Function f) : name(n), function(f) {}
  explicit operator bool() const { return function != nullptr; }

  void operator()(Queue& queue, Args... args) const {
    if (!function)
      throw Error("the kernel " + std::string(name) + " does not exist for the device " +
                  std::string(systole::name(queue.device())));
    if (DryRun::is_active()) return;
    try {
      if (call_watch) call_watch->begin(queue, name);
      function(queue, args...);
      if (call_watch) {
        const Arguments<Args...> arguments(args...);
        call_watch->end(queue, {name, (shape_text(args) + ... + std::string()), &arguments});
      }
    } catch (const LaunchError& error) {
      throw Error(std::string(name) + (shape_text(args) + ... + std::string()) + ": " + error.what());
    }
  }
};

template <FixedString Name, class Signature>
struct Entry : Call<Signature> {
  constexpr Entry(typename Call<Signature>::Function f = nullptr)  // NOLINT: a table is filled with plain functions
      : Call<Signature>(Name.text, f) {}
};

/// Declares the tables cpu::table, simt::table and cuda::table of a family.
#define SYSTOLE_KERNEL_TABLES(Kernels, table) \
  namespace cpu {                             \
  extern const Kernels table;                 \
  }                                           \
  namespace simt {                            \
  extern const Kernels table;                 \
  }                                           \
  namespace cuda {                            \
  extern const Kernels table;                 \
  }

/// The table of a device among those that SYSTOLE_KERNEL_TABLES declared; a build without CUDA has no cuda::table.
#if defined(SYSTOLE_CUDA)
#define SYSTOLE_TABLE_OF(device, table) \
  ((device) == Device::cpu ? cpu::table : (device) == Device::simt ? simt::table : cuda::table)
#else
#define SYSTOLE_TABLE_OF(device, table) ((device) == Device::cpu ? cpu::table : simt::table)
#endif

}  // namespace systole::kernels
