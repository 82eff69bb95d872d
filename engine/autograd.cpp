#include "engine/autograd.h"

#include <algorithm>
#include <fmt/format.h>
#include <unordered_set>

#include "engine/pair_tensors.h"
#include "kernels/common/dry_run.h"
#include "kernels/common/memory.h"

namespace systole {
namespace {

thread_local uint64_t next_order = 1;

/// A float 1 in the device's memory, made once: its copy on the device can be part of a captured graph, a copy from the
/// host cannot.
const std::byte* one_on(Queue& queue) {
  thread_local std::shared_ptr<std::byte> memory[std::size(kAllDevices)];
  std::shared_ptr<std::byte>& one = memory[static_cast<size_t>(queue.device())];
  if (!one && !DryRun::is_active()) {
    constexpr float kOne = 1;
    one = allocate_memory(queue.device(), sizeof kOne);
    copy_to_device(queue, one.get(), &kOne, sizeof kOne);
  }
  return one.get();
}

/// Every node that gradients reach from `root`, latest first.
std::vector<std::shared_ptr<Node>> reachable(const std::shared_ptr<Node>& root) {
  std::vector<std::shared_ptr<Node>> nodes{root};
  std::unordered_set<const Node*> seen{root.get()};
  for (size_t i = 0; i < nodes.size(); ++i) {
    const std::vector<std::shared_ptr<Node>> inputs = nodes[i]->inputs;  // `nodes` grows below
    for (const auto& input : inputs)
      if (input && seen.insert(input.get()).second) nodes.push_back(input);
  }
  std::sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a->order > b->order; });
  return nodes;
}

}  // namespace

GradientTarget InputGradients::target(size_t i) {
  Node* const input = node_.inputs.at(i).get();
  if (!input) return {};
  input->gradient_sums = {};
  if (input->gradient) return {input->gradient.series(), GradientMode::accumulate};
  input->gradient = Tensor::empty(input->shape, input->device, input->type);
  return {input->gradient.series(), GradientMode::overwrite};
}

void InputGradients::leave_sums(size_t i, const GradientSums& sums) {
  node_.inputs.at(i)->gradient_sums = sums;
}

const GradientSums& InputGradients::sums() const {
  return node_.gradient_sums;
}

Tensor record(const char* operation, Tensor output, std::initializer_list<const Tensor*> inputs,
              Node::Backward backward, Recorded recorded) {
  output.set_node(nullptr);
  const bool wanted = recorded == Recorded::always ||
                      std::any_of(inputs.begin(), inputs.end(), [](const Tensor* t) { return t->node() != nullptr; });
  if (NoGradient::is_active() || !wanted) return output;
  auto node = std::make_shared<Node>();
  node->operation = operation;
  node->order = next_order++;
  for (const Tensor* input : inputs) node->inputs.push_back(input->node());
  node->backward = std::move(backward);
  node->shape = output.shape();
  node->type = output.dtype();
  node->device = output.device();
  output.set_node(std::move(node));
  return output;
}

void make_leaf(Tensor& tensor, const Tensor& gradient) {
  if (!(gradient.shape() == tensor.shape()))
    throw Error(fmt::format("a leaf of shape {} cannot have a gradient of shape {}", tensor.shape().text(),
                            gradient.shape().text()));
  auto node = std::make_shared<Node>();
  node->operation = "leaf";
  node->shape = tensor.shape();
  node->device = tensor.device();
  node->gradient = gradient;
  tensor.set_node(std::move(node));
}

const Tensor& gradient_of(const Tensor& leaf) {
  if (!leaf.node() || leaf.node()->backward) throw Error("only a leaf keeps its gradient");
  return leaf.node()->gradient;
}

void backward(const Tensor& loss, float weight) {
  if (loss.count() != 1)
    throw Error(fmt::format("backward needs one number, not a tensor of shape {}", loss.shape().text()));
  Queue queue(loss.device());
  const Tensor one = Tensor::empty({1}, loss.device());
  copy_on_device(queue, one.bytes_begin(), one_on(queue), sizeof(float));
  const Tensor gradient = weight == 1 ? one : scaled(one, weight);
  backward(loss, gradient.slice(0, loss.shape()));
}

void backward(const Tensor& output, const Tensor& gradient, const GradientSums& sums) {
  if (!output.node())
    throw Error("backward needs a loss that depends on a parameter and was computed with recording on");
  if (!(gradient.shape() == output.shape()))
    throw Error(fmt::format("backward from a tensor of shape {} cannot start with a gradient of shape {}",
                            output.shape().text(), gradient.shape().text()));
  output.node()->gradient = gradient;
  output.node()->gradient_sums = sums;
  for (const auto& node : reachable(output.node())) {
    if (node->order == 0) continue;  // a leaf
    if (!node->backward) throw Error(fmt::format("the graph of this {} has been walked already", node->operation));
    InputGradients gradients(*node);
    if (node->gradient) node->backward(node->gradient, gradients);
    node->backward = nullptr;
    node->inputs.clear();
    node->gradient = {};
    node->gradient_sums = {};
  }
}

}  // namespace systole
