// The machine that executes CUDA kernels on the CPU. README.md explains it; the parts are
//
//   Thread     one CUDA thread: its index, what it waits for, its asynchronous copies and products
//   Block      one block in execution: its threads on fibers, their rendezvous at barriers and in warps
//   run_grid   all blocks of a launch, on a lasting pool of workers
//
// This header is what kernels see of it. Nothing here depends on how the including file is instrumented.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <vector>

namespace systole::simt {

using Where = std::source_location;

struct Index {
  unsigned x = 1, y = 1, z = 1;
};

class Block;
struct Fiber;

/// cp.async: the destination is poisoned when the copy is issued and written when it is waited for.
struct AsyncCopy {
  void* to;
  unsigned char bytes[16];
  unsigned size;
  unsigned group;  // number of the commit that closes it; kOpen before
  Where where;
};

/// Some rows of an operand of wgmma in shared memory; none: it is in registers. warpgroup.h tells what its numbers are.
struct SharedOperand {
  const unsigned char* first;
  int depth_bytes, row_bytes, line_bytes;
  bool rows_in_chunk;
  int first_row, rows;

  /// The 16 bytes that have the value at (row, depth): eight rows of one depth, or eight depths of one row.
  const unsigned char* chunk(int row, int depth) const {
    const int across = (rows_in_chunk ? row : depth) / 8, along = rows_in_chunk ? depth : row;
    if (line_bytes == 0) return first + row / 8 * row_bytes + depth / 8 * depth_bytes + along % 8 * 16;
    const int chunks = line_bytes / 16;
    const auto* const plain = first + across / chunks * row_bytes + along * line_bytes + across % chunks * 16;
    const auto at = reinterpret_cast<uintptr_t>(plain), swizzled = at ^ at / 128 % static_cast<unsigned>(chunks) * 16;
    return plain + (static_cast<ptrdiff_t>(swizzled) - static_cast<ptrdiff_t>(at));
  }
};

/// wgmma: computed when it is issued, shown when it is waited for; until then the sums are NaN, and the operands must
/// stay as they were.
struct AsyncProduct {
  float* sum;
  unsigned count;
  float result[64];
  SharedOperand a, b;
  uint64_t hash;   // of the operands at the start
  unsigned group;  // number of the commit that closes it; kOpen before
  Where where;
};

/// What a lane brings to a rendezvous of its warp and takes away from it.
union LaneData {
  uint64_t words[8];
  uint32_t u32[16];
  float f32[16];
};

struct Thread {
  enum class State : uint8_t { unstarted, ready, running, at_barrier, in_warp, exited };

  Index index;      // threadIdx
  unsigned number;  // within the block, x fastest
  Block* block;
  State state;
  Where where;  // of the rendezvous it waits at
  Fiber* fiber;
  LaneData data;
  unsigned barrier_phase = 0, warp_phase = 0;  // which of two tokens the race detector is told about
  std::vector<AsyncCopy> copies;
  unsigned committed = 0;  // groups of copies
  std::vector<AsyncProduct> products;
  unsigned committed_products = 0;  // groups

  unsigned lane() const { return number % 32; }
  unsigned warp() const { return number / 32; }
};

/// The CUDA thread that this worker is executing; null outside of kernels.
extern constinit thread_local Thread* current_thread;

/// One exchange of a warp: reads data of all lanes of the mask and writes their results. lanes[k] is null outside.
using Exchange = void (*)(Thread* const* lanes, unsigned mask);

/// Block-wide barrier.
void barrier(const Where& where);
/// Waits for all lanes of the mask, at the same place with the same exchange, which is then made once. `orders_memory`:
/// __syncwarp does, a shuffle does not.
void warp_rendezvous(unsigned mask, Exchange exchange, bool orders_memory, const Where& where);

/// Ends the launch with a sentence that names launch, block, thread and place.
[[noreturn]] void fail(const std::string& message, const Where& where);

Index block_index();
Index block_extent();
Index grid_extent();
void* shared_memory();

/// A kernel with its arguments: `call(closure)` runs the current thread.
struct Grid {
  Index grid, block;
  size_t shared_bytes;
  void (*call)(const void* closure);
  const void* closure;
  const char* file;
  int line;
};

/// Runs all blocks. Throws Error with the first failure.
void run_grid(const Grid& grid);

}  // namespace systole::simt
