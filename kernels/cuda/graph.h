// A recording of the work that a function puts on a queue, as a CUDA graph. No CUDA header is needed here.
#pragma once

#include <functional>

#include "kernels/common/device.h"

namespace systole::kernels::cuda {

class Graph {
 public:
  /// Calls `step` and records, instead of executing it, what it puts on the queue. Throws LaunchError when something of
  /// it cannot be recorded (a wait, a copy to the host), and what `step` throws.
  Graph(const Queue& queue, const std::function<void()>& step);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch(const Queue& queue) const;

 private:
  void* executable_ = nullptr;
};

}  // namespace systole::kernels::cuda
