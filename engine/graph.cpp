#include "engine/graph.h"

#include <memory>

#include "kernels/common/error.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/graph.h"
#endif

namespace systole {

void Graph::capture([[maybe_unused]] Queue& queue, std::function<void()> step) {
#if defined(SYSTOLE_CUDA)
  if (queue.device() == Device::cuda) {
    const auto graph = std::make_shared<const kernels::cuda::Graph>(queue, step);
    replay_ = [graph, queue] { graph->launch(queue); };
    return;
  }
#endif
  replay_ = std::move(step);
}

void Graph::replay() const {
  if (!replay_) throw Error("a graph is replayed before a step was captured");
  replay_();
}

}  // namespace systole
