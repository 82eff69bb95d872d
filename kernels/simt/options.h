// How the simt device runs blocks and threads. Correct kernels give the same bits whatever is chosen here.
#pragma once

#include <cstdint>

namespace systole::simt {

/// The order in which the threads of a block start, and go on after a barrier.
enum class Order { forward, reverse, shuffled };

struct Options {
  Order order = Order::forward;
  uint64_t seed = 1;  // of the shuffled order
  int workers = 0;    // CPU threads that run blocks; 0: as many as the cpu device uses, at least two
};

/// The options of all launches that follow; not to be changed while a kernel runs.
Options& options();

}  // namespace systole::simt
