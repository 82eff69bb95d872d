#include "engine/optimizer.h"

#include <cmath>
#include <fmt/format.h>
#include <vector>

#include "engine/checkpoint/run_state.h"
#include "kernels/common/memory.h"
#include "kernels/optimizer/optimizer.h"

namespace systole {
namespace {

using kernels::LarsSegment;
using kernels::optimizer_kernels;

/// The place of every parameter of a part of the flat buffers, for LARS.
std::vector<LarsSegment> segments_of(const ParameterStore& store, int64_t begin, int64_t end) {
  std::vector<LarsSegment> segments;
  for (const Parameter& p : store.parameters())
    if (p.offset >= begin && p.offset < end)
      segments.push_back({p.offset, p.offset + p.shape.count(), p.shape.rank() == 1});
  return segments;
}

double rate_factor(const OptimizerOptions& options, const std::string& name) {
  for (const OptimizerOptions::RateFactor& entry : options.rate_factors)
    if (name.starts_with(entry.prefix)) return entry.factor;
  return 1;
}

}  // namespace

OptimizerOptions::Kind parse_optimizer(const std::string& name) {
  using Kind = OptimizerOptions::Kind;
  if (name == "adam") return Kind::adam;
  if (name == "adamw") return Kind::adamw;
  if (name == "sgd") return Kind::sgd;
  if (name == "lars") return Kind::lars;
  throw UsageError(fmt::format("unknown optimiser '{}'; expected adam, adamw, sgd or lars", name));
}

Optimizer::Optimizer(ParameterStore& store, const OptimizerOptions& options)
    : store_(store), options_(options), groups_(make_groups()) {
  using Kind = OptimizerOptions::Kind;
  const Device device = store.values().device();
  first_moment_ = Tensor::zeros(store.values().shape(), device);
  if (options.kind == Kind::adam || options.kind == Kind::adamw)
    second_moment_ = Tensor::zeros(store.values().shape(), device);
  sum_of_squares_ = allocate_memory(device, sizeof(double));
}

std::vector<Optimizer::Group> Optimizer::make_groups() const {
  std::vector<Group> groups;
  for (const Parameter& p : store_.parameters()) {
    const int64_t end = p.offset + p.shape.count();
    const double factor = rate_factor(options_, p.name);
    if (!groups.empty() && groups.back().rate_factor == factor)
      groups.back().end = end;
    else
      groups.push_back({p.offset, end, factor});
  }
  return groups;
}

double Optimizer::gradient_norm() {
  Queue queue(store_.values().device());
  optimizer_kernels(queue.device())
      .sum_of_squares(queue, store_.parameter_count(), store_.gradients().data(),
                      reinterpret_cast<double*>(sum_of_squares_.get()));
  double sum = 0;
  copy_to_host(queue, &sum, sum_of_squares_.get(), sizeof sum);
  return std::sqrt(sum);
}

double Optimizer::step(float learning_rate) {
  Queue queue(store_.values().device());
  const double norm = gradient_norm();
  const float scale =
      options_.clip_norm > 0 && norm > options_.clip_norm ? static_cast<float>(options_.clip_norm / norm) : 1.0f;
  ++steps_;
  for (const Group& group : groups_)
    step(queue, group, static_cast<float>(group.rate_factor * double{learning_rate}), scale);
  return norm;
}

void Optimizer::step(Queue& queue, const Group& group, float learning_rate, float scale) {
  using Kind = OptimizerOptions::Kind;
  const auto& kernel = optimizer_kernels(queue.device());
  const int64_t count = group.end - group.begin;
  const float* gradient = store_.gradients().data();
  float* w = store_.values().data();

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
                  gradient + group.begin, w + group.begin, first_moment_.data() + group.begin,
                  second_moment_.data() + group.begin);
      break;
    case Kind::sgd:
      kernel.sgd(queue, count, {learning_rate, options_.momentum, options_.weight_decay, steps_ == 1, scale},
                 gradient + group.begin, w + group.begin, first_moment_.data() + group.begin);
      break;
    case Kind::lars: {
      const std::vector<LarsSegment> segments = segments_of(store_, group.begin, group.end);
      kernel.lars(queue, static_cast<int>(segments.size()), segments.data(),
                  {learning_rate, options_.momentum, options_.weight_decay, options_.trust, steps_ == 1, scale},
                  gradient, w, first_moment_.data());
      break;
    }
  }
}

void Optimizer::state(RunState& state) {
  state.tensor("optimizer.first_moment", first_moment_);
  if (second_moment_) state.tensor("optimizer.second_moment", second_moment_);
  state.number("optimizer.steps", steps_);
}

void ema(const Tensor& source, const Tensor& target, double decay) {
  if (!(source.shape() == target.shape()) || source.device() != target.device())
    throw Error(fmt::format("ema: a tensor of shape {} on {} cannot follow one of shape {} on {}",
                            target.shape().text(), name(target.device()), source.shape().text(),
                            name(source.device())));
  if (!(decay >= 0 && decay <= 1)) throw Error(fmt::format("ema: the decay must lie in [0, 1], not {}", decay));
  Queue queue(target.device());
  optimizer_kernels(queue.device()).ema(queue, target.count(), decay, source.data(), target.data());
}

}  // namespace systole
