#include "engine/graph.h"

#include <memory>

#include "kernels/common/error.h"
#include "kernels/simt/recording.h"
#if defined(SYSTOLE_CUDA)
#include "kernels/cuda/graph.h"
#endif

namespace systole {
namespace {

/// Where the actions of the capture under way go.
thread_local std::vector<std::function<void()>>* captured_actions = nullptr;

class CapturedActions {
 public:
  CapturedActions() { captured_actions = &actions_; }
  ~CapturedActions() { captured_actions = nullptr; }
  CapturedActions(const CapturedActions&) = delete;
  CapturedActions& operator=(const CapturedActions&) = delete;
  std::vector<std::function<void()>> take() { return std::move(actions_); }

 private:
  std::vector<std::function<void()>> actions_;
};

}  // namespace

void with_every_run(std::function<void()> action) {
  if (captured_actions)
    captured_actions->push_back(std::move(action));
  else
    action();
}

void Graph::capture(Queue& queue, std::function<void()> step) {
  if (queue.device() == Device::cpu) {
    replay_ = std::move(step);
    return;
  }
  CapturedActions actions;
  if (queue.device() == Device::simt) {
    replay_ = [recording = std::make_shared<const simt::Recording>(step)] { recording->run(); };
  } else {
#if defined(SYSTOLE_CUDA)
    replay_ = [graph = std::make_shared<const kernels::cuda::Graph>(queue, step), queue] { graph->launch(queue); };
#endif
  }
  on_host_ = actions.take();
}

void Graph::replay() const {
  if (!replay_) throw Error("a graph is replayed before a step was captured");
  replay_();
  for (const std::function<void()>& action : on_host_) action();
}

}  // namespace systole
