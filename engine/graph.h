// A step that is recorded once and run many times. On cuda it becomes one CUDA graph: a single launch, where the step
// by itself costs the CPU one launch per kernel. On cpu and simt a replay simply runs the step.
//
// A replay on cuda repeats the recorded kernels and copies with the same addresses and the same numbers as arguments,
// and nothing of what the step does on the host. So what changes from replay to replay must lie in the device's memory,
// the step's memory must stay where it is (an Arena's does), and the step must neither wait for the device nor copy to
// or from the host: no item(), no Optimizer::step. It must have run once before, so that all memory it needs is there.
#pragma once

#include <functional>

#include "kernels/common/device.h"

namespace systole {

class Graph {
 public:
  /// Records what `step` puts on the queue; nothing of it is executed. What `step` throws leaves the graph as it was.
  void capture(Queue& queue, std::function<void()> step);
  /// Puts the recorded step on its queue once more. Throws Error when there is none.
  void replay() const;

 private:
  std::function<void()> replay_;
};

}  // namespace systole
