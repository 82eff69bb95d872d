// A recording of what a function puts on a queue of the simt device: kernels with their arguments as they were, and
// copies, to be run again without the function. It is what a CUDA graph is on cuda, with the same rules: what the
// function does on the host is not repeated, and numbers that were arguments stay what they were.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/simt/runtime.h"

namespace systole::simt {

class Recording {
 public:
  /// Calls `step`; nothing of what it puts on the queue is executed.
  explicit Recording(const std::function<void()>& step);
  void run() const;

  /// The recording that is being made by this thread, or null.
  static Recording* active();
  /// What is run again and is work of no device: marks of a sanitizer.
  void add(std::function<void()> work) { work_.push_back(std::move(work)); }
  /// A copy or a fill of memory.
  void add_memory_operation(std::function<void()> work) {
    ++memory_operations_;
    add(std::move(work));
  }
  void add_launch(const Grid& grid, std::function<void()> work) {
    launches_.push_back(grid);
    add(std::move(work));
  }
  /// The kernels that were launched, in order; their arguments are not there any more.
  const std::vector<Grid>& launches() const { return launches_; }
  /// Copies and fills of memory beside them.
  size_t memory_operations() const { return memory_operations_; }
  /// Memory that the work uses and nobody else holds.
  void keep(std::shared_ptr<void> memory) { memory_.push_back(std::move(memory)); }

 private:
  std::vector<std::function<void()>> work_;
  std::vector<Grid> launches_;
  size_t memory_operations_ = 0;
  std::vector<std::shared_ptr<void>> memory_;
};

}  // namespace systole::simt
