// One worker's block in execution: threads, fibers, rendezvous. See README.md.
#pragma once

#include <array>
#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/simt/runtime.h"

namespace systole::simt {

/// A stack and where its execution stands. A fiber runs threads one after the other until one of them has to wait.
struct Fiber {
  boost::context::detail::fcontext_t context = nullptr;
  std::byte* stack = nullptr;  // the lowest page is a guard
  Block* block = nullptr;
  Thread* thread = nullptr;  // that it is running or that waits on it
  void* race_fiber = nullptr;
  void* saved_stack = nullptr;  // AddressSanitizer's
};

class Block {
 public:
  ~Block();

  /// Runs one block of the grid to its end. Returns the sentence of what went wrong, empty when nothing did.
  std::string run(const Grid& grid, Index index);

  void barrier(const Where& where);
  void warp_rendezvous(unsigned mask, Exchange exchange, bool orders_memory, const Where& where);
  [[noreturn]] void fail(const std::string& message, const Where* where);

  Index index() const { return index_; }
  const Grid& grid() const { return *grid_; }
  void* shared() const { return shared_.get(); }

 private:
  /// Lanes of one warp that wait for the same exchange.
  struct Group {
    unsigned mask, arrived;
    Exchange exchange;
    Where where;
  };
  struct Warp {
    std::array<Group, 32> groups;
    unsigned group_count = 0;
    unsigned existing = 0, exited = 0;
    char token[2];
  };
  struct FreeDeleter {
    void operator()(std::byte* p) const;
  };

  void prepare(const Grid& grid, Index index);
  void prepare_shared(size_t bytes);
  std::string check_shared_end() const;
  void shuffle(unsigned* numbers, size_t count);
  void make_ready(unsigned first, unsigned count, unsigned mask);

  static void fiber_main(boost::context::detail::transfer_t from);
  void run_thread(Thread& thread);
  void exit_thread(Thread& thread);
  void suspend();  // the current fiber, until its thread is ready again
  Fiber* add_fiber();
  Fiber* next_fiber();        // that can go on; null: none
  void jump_to(Fiber* next);  // null: to the worker itself
  void arrived(boost::context::detail::transfer_t from);
  void complete(Warp& warp, unsigned group, unsigned first_thread);
  std::string stuck() const;
  void reset_fibers();

  const Grid* grid_ = nullptr;
  Index index_;
  unsigned size_ = 0, exited_ = 0, at_barrier_ = 0;
  Thread* first_at_barrier_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<unsigned> start_order_;
  size_t started_ = 0;
  // Of fixed size while threads run: what one of them allocated and another freed would be a race to the detector.
  std::vector<Thread*> ready_;  // a ring
  size_t ready_begin_ = 0, ready_count_ = 0;
  std::vector<unsigned> released_;

  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber worker_;  // the worker's own stack
  size_t worker_stack_bytes_ = 0;
  Fiber* current_ = nullptr;
  std::string failure_;
  uint64_t random_ = 0;
  char start_token_, barrier_token_[2], done_token_;

  std::unique_ptr<std::byte, FreeDeleter> shared_;
  size_t shared_bytes_ = 0;
};

}  // namespace systole::simt
