#include "engine/recompute.h"

namespace systole {

Activation segment(const Activation& x, const Segment& f) {
  if (!Recompute::is_active() || NoGradient::is_active()) return f(x);
  Activation y = [&] {
    const NoGradient none;
    return f(x);
  }();
  y.raw = record(
      "segment", y.raw, {&x.raw},
      [x, f](const Tensor& dz, InputGradients& gradients) {
        const Recompute no(false);
        const RepeatedPass repeated;
        // The second pass starts from a node of its own, which goes on with what other readers of x have gathered.
        const std::shared_ptr<Node>& outside = x.raw.node();
        Activation input = x;
        if (outside) {
          auto node = std::make_shared<Node>();
          node->operation = "input of a segment";
          node->shape = outside->shape;
          node->type = outside->type;
          node->device = outside->device;
          node->gradient = outside->gradient;
          input.raw.set_node(std::move(node));
        }
        backward(f(input).raw, dz, gradients.sums());
        if (!outside) return;
        outside->gradient = input.raw.node()->gradient;
        outside->gradient_sums = input.raw.node()->gradient_sums;
      },
      Recorded::always);
  return y;
}

Tensor segment(const Tensor& x, const std::function<Tensor(const Tensor&)>& f) {
  return segment(Activation{.raw = x}, [f](const Activation& input) { return Activation{.raw = f(input.raw)}; }).raw;
}

}  // namespace systole
