#include "engine/optimizer.h"

#include <cmath>
#include <fmt/format.h>
#include <vector>

#include "kernels/optimizer/optimizer.h"

namespace systole {

using kernels::optimizer_kernels;

OptimizerOptions::Kind parse_optimizer(const std::string& name) {
  using Kind = OptimizerOptions::Kind;
  if (name == "adam") return Kind::adam;
  if (name == "adamw") return Kind::adamw;
  if (name == "sgd") return Kind::sgd;
  if (name == "lars") return Kind::lars;
  throw UsageError(fmt::format("unknown optimiser '{}'; expected adam, adamw, sgd or lars", name));
}

Optimizer::Optimizer(ParameterStore& store, const OptimizerOptions& options)
    : store_(store), options_(options), first_moment_(Tensor::zeros(store.values().shape(), store.values().device())) {
  if (options.kind == OptimizerOptions::Kind::adam || options.kind == OptimizerOptions::Kind::adamw)
    second_moment_ = Tensor::zeros(store.values().shape(), store.values().device());
}

double Optimizer::step(float learning_rate) {
  using Kind = OptimizerOptions::Kind;
  Queue queue(store_.values().device());
  const auto& kernel = optimizer_kernels(queue.device());
  const int64_t count = store_.parameter_count();
  const float* gradient = store_.gradients().data();
  float* w = store_.values().data();

  double sum_of_squares = 0;
  kernel.sum_of_squares(queue, count, gradient, &sum_of_squares);
  const double norm = std::sqrt(sum_of_squares);
  const float scale =
      options_.clip_norm > 0 && norm > options_.clip_norm ? static_cast<float>(options_.clip_norm / norm) : 1.0f;

  ++steps_;
  switch (options_.kind) {
    case Kind::adam:
    case Kind::adamw:
      kernel.adam(queue, count,
                  {.step = steps_,
                   .learning_rate = learning_rate,
                   .beta1 = options_.beta1,
                   .beta2 = options_.beta2,
                   .eps = options_.eps,
                   .weight_decay = options_.weight_decay,
                   .decoupled = options_.kind == Kind::adamw,
                   .gradient_scale = scale},
                  gradient, w, first_moment_.data(), second_moment_.data());
      break;
    case Kind::sgd:
      kernel.sgd(queue, count, {learning_rate, options_.momentum, options_.weight_decay, steps_ == 1, scale}, gradient,
                 w, first_moment_.data());
      break;
    case Kind::lars: {
      std::vector<kernels::LarsSegment> segments;
      for (const Parameter& p : store_.parameters())
        segments.push_back({p.offset, p.offset + p.shape.count(), p.shape.rank() == 1});
      kernel.lars(queue, static_cast<int>(segments.size()), segments.data(),
                  {learning_rate, options_.momentum, options_.weight_decay, options_.trust, steps_ == 1, scale},
                  gradient, w, first_moment_.data());
      break;
    }
  }
  return norm;
}

}  // namespace systole
