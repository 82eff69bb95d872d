// launch() and dynamic_shared() of the simt device; the CUDA language is in language.h.
#pragma once

#include <string>
#include <tuple>

#include "kernels/common/error.h"
#include "kernels/simt/language.h"
#include "kernels/simt/recording.h"
#include "kernels/simt/runtime.h"

namespace systole::kernels::simt {

/// The block's shared memory, 1024-byte aligned, as a T. All bytes are NaN at the start of a block.
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(::systole::simt::shared_memory());
}

/// The limits of compute capability 8.0, which every portable kernel keeps. Throws Error with the launch's place.
::systole::simt::Grid checked_grid(const Launch& launch);

template <class... P, class... A>
void launch(Queue&, const Launch& shape, void (*kernel)(P...), A... args) {
  struct Closure {
    void (*kernel)(P...);
    std::tuple<P...> args;
  };
  const Closure closure{kernel, std::tuple<P...>(static_cast<P>(args)...)};
  ::systole::simt::Grid grid = checked_grid(shape);
  grid.call = [](const void* data) {
    const auto& c = *static_cast<const Closure*>(data);
    std::apply(c.kernel, c.args);
  };
  const auto run = [closure, grid] {
    ::systole::simt::Grid own = grid;
    own.closure = &closure;
    ::systole::simt::run_grid(own);
  };
  if (auto* recording = ::systole::simt::Recording::active())
    recording->add_launch(grid, run);
  else
    run();
}

}  // namespace systole::kernels::simt
