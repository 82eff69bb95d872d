// Reverse-mode differentiation. An operation runs forward through its kernel table and records one node: a closure
// whose captures are exactly the tensors that its backward pass needs, visible where the operation is written.
//
//   Tensor y = …;                                       // forward
//   return record("mean_over_time", y, {&x}, [shape](const Tensor& dy, InputGradients& gradients) {
//     if (auto dx = gradients.target(0)) kernels.mean_backward(queue, shape, dy.data(), dx.data, dx.mode);
//   });
//
// backward(loss) walks the nodes from the last to the first, without recursion, and frees what each node saved.
// Gradients of intermediate results are overwritten by their first reader and accumulated into by the others; those of
// leaves (parameters) always accumulate.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <vector>

#include "engine/tensor.h"
#include "kernels/common/scoped_flag.h"

namespace systole {

/// Where a backward closure puts the gradient of one input; false when nobody wants it.
struct GradientTarget {
  kernels::Series data{};  // stored as the input is
  GradientMode mode = GradientMode::overwrite;
  explicit operator bool() const { return static_cast<bool>(data); }
};

/// What goes with a gradient dz [N, L, C] where a BatchNorm waits for it (kernels/common/pending.h): Σ g and Σ g·(y −
/// mean) of records or of pieces of them. `values` has g in its first half, from the beginning on: [N, pieces, C]; and
/// gd in the second.
struct GradientSums {
  Tensor values{};
  int pieces = 1;
  explicit operator bool() const { return static_cast<bool>(values); }
};

class InputGradients {
 public:
  explicit InputGradients(const Node& node) : node_(node) {}
  /// The target of input i. Who asks for it must write it, every element, in the target's mode.
  GradientTarget target(size_t i);
  /// Leaves with input i's gradient, which the caller has just overwritten, what its node will need and the caller
  /// could add up on the way. It is dropped when the gradient changes again.
  void leave_sums(size_t i, const GradientSums& sums);
  /// What was left with the gradient that the closure is called with; empty: nothing.
  const GradientSums& sums() const;

 private:
  const Node& node_;
};

struct Node {
  using Backward = std::function<void(const Tensor& dy, InputGradients& gradients)>;

  const char* operation = "";
  uint64_t order = 0;  // of recording: every input of a node has a lower one
  std::vector<std::shared_ptr<Node>> inputs;
  Backward backward;  // empty for a leaf
  Shape shape;
  DType type = DType::f32;
  Device device = Device::cpu;
  Tensor gradient;
  GradientSums gradient_sums;  // of `gradient`, where whoever wrote it left them
};

enum class Recorded { where_wanted, always };

/// Gives `output` a node when recording is on and gradients can flow to one of the inputs, or always: to leaves that
/// `backward` alone knows. Returns it.
Tensor record(const char* operation, Tensor output, std::initializer_list<const Tensor*> inputs,
              Node::Backward backward, Recorded recorded = Recorded::where_wanted);

/// Makes a tensor a leaf whose gradient is accumulated into `gradient` (same shape, zeroed by the caller).
void make_leaf(Tensor& tensor, const Tensor& gradient);
/// The gradient of a leaf.
const Tensor& gradient_of(const Tensor& leaf);

/// Accumulates `weight` times the gradient of the scalar `loss` into every leaf that it depends on. Each graph can be
/// walked once.
void backward(const Tensor& loss, float weight = 1);
/// The same from a tensor of any shape whose gradient is known, optionally with the sums that were left with it
/// (InputGradients::leave_sums).
void backward(const Tensor& output, const Tensor& gradient, const GradientSums& sums = {});

/// While it lives, this thread's operations record nothing.
using NoGradient = ScopedFlag<struct NoGradientTag>;

}  // namespace systole
