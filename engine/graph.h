// A step that is recorded once and run many times. On cuda it becomes one CUDA graph: a single launch, where the step
// by itself costs the CPU one launch per kernel. On simt it is a recording (kernels/simt/recording.h), which shows
// without a GPU whether a step can be captured; on cpu a replay simply runs the step.
//
// A replay repeats the recorded kernels and copies with the same addresses and the same numbers as arguments, and
// nothing of what the step does on the host. So what changes from replay to replay must lie in the device's memory
// (step_data.h), the step's memory must stay where it is (an Arena's does), and the step must neither wait for the
// device nor copy to or from the host: no item(), no Optimizer::step. It must have run once before, so that all memory
// it needs is there.
#pragma once

#include <functional>
#include <vector>

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
  std::vector<std::function<void()>> on_host_;
};

/// Something on the host that belongs to a step, a counter for example: is called now, or, while a graph is being
/// captured, with every replay.
void with_every_run(std::function<void()> action);

}  // namespace systole
