#include "engine/optimizer.h"

#include <cmath>
#include <cstring>
#include <fmt/format.h>

#include "engine/checkpoint/run_state.h"
#include "engine/graph.h"
#include "engine/pair_tensors.h"

namespace systole {
namespace {

using kernels::LarsSegment;
using kernels::optimizer_kernels;
using kernels::StepFactors;

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
  factors_ = empty_structs<StepFactors>(static_cast<int64_t>(groups_.size()), device);
  gradient_scale_ = Tensor::empty({1}, device);
  sum_of_squares_ = Tensor::empty({2}, device, DType::i32);
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

kernels::Adam Optimizer::adam() const {
  return {.beta1 = options_.beta1,
          .beta2 = options_.beta2,
          .eps = options_.eps,
          .weight_decay = options_.weight_decay,
          .decoupled = options_.kind == OptimizerOptions::Kind::adamw};
}

std::vector<float> Optimizer::factors_of(int64_t step, float learning_rate) const {
  using Kind = OptimizerOptions::Kind;
  std::vector<StepFactors> factors;
  for (const Group& group : groups_) {
    const double rate = static_cast<float>(group.rate_factor * double{learning_rate});
    factors.push_back(options_.kind == Kind::adam || options_.kind == Kind::adamw
                          ? kernels::step_factors(adam(), step, rate)
                          : kernels::step_factors(step, rate));
  }
  std::vector<float> words(static_cast<size_t>(factors_.count()));
  std::memcpy(words.data(), factors.data(), words.size() * sizeof(float));
  return words;
}

void Optimizer::apply() {
  Queue queue(store_.values().device());
  const auto& kernel = optimizer_kernels(queue.device());
  auto* const sum = reinterpret_cast<double*>(sum_of_squares_.bytes_begin());
  kernel.sum_of_squares(queue, store_.parameter_count(), store_.gradients().data(), sum);
  kernel.limit_norm(queue, options_.clip_norm, sum, gradient_scale_.data());
  for (size_t group = 0; group < groups_.size(); ++group) apply(queue, group);
  with_every_run([this] { ++steps_; });
}

double Optimizer::step(float learning_rate) {
  const std::vector<float> factors = factors_of(steps_ + 1, learning_rate);
  factors_.copy_from(factors.data(), factors_.bytes());
  apply();
  double sum = 0;
  std::memcpy(&sum, sum_of_squares_.to_vector<int32_t>().data(), sizeof sum);
  return std::sqrt(sum);
}

void Optimizer::apply(Queue& queue, size_t group_number) {
  using Kind = OptimizerOptions::Kind;
  const auto& kernel = optimizer_kernels(queue.device());
  const Group& group = groups_[group_number];
  const int64_t count = group.end - group.begin;
  const float* gradient = store_.gradients().data();
  const float* scale = gradient_scale_.data();
  const StepFactors* factors = structs_in<StepFactors>(factors_) + group_number;
  float* w = store_.values().data();

  switch (options_.kind) {
    case Kind::adam:
    case Kind::adamw:
      kernel.adam(queue, count, adam(), factors, scale, gradient + group.begin, w + group.begin,
                  first_moment_.data() + group.begin, second_moment_.data() + group.begin);
      break;
    case Kind::sgd:
      kernel.sgd(queue, count, {options_.momentum, options_.weight_decay}, factors, scale, gradient + group.begin,
                 w + group.begin, first_moment_.data() + group.begin);
      break;
    case Kind::lars: {
      const std::vector<LarsSegment> segments = segments_of(store_, group.begin, group.end);
      kernel.lars(queue, static_cast<int>(segments.size()), segments.data(),
                  {options_.momentum, options_.weight_decay, options_.trust}, factors, scale, gradient, w,
                  first_moment_.data());
      break;
    }
  }
}

void Optimizer::state(RunState& state) {
  state.tensor("optimizer.first_moment", first_moment_);
  if (second_moment_) state.tensor("optimizer.second_moment", second_moment_);
  state.number("optimizer.steps", steps_);
}

std::vector<float> ema_weights(double decay) {
  if (!(decay >= 0 && decay <= 1)) throw Error(fmt::format("ema: the decay must lie in [0, 1], not {}", decay));
  const kernels::EmaWeights weights = kernels::ema_weights(decay);
  return {weights.keep, weights.rest};
}

void ema(const Tensor& source, const Tensor& target, const Tensor& weights) {
  if (!(source.shape() == target.shape()) || source.device() != target.device())
    throw Error(fmt::format("ema: a tensor of shape {} on {} cannot follow one of shape {} on {}",
                            target.shape().text(), name(target.device()), source.shape().text(),
                            name(source.device())));
  Queue queue(target.device());
  optimizer_kernels(queue.device())
      .ema(queue, target.count(), structs_in<kernels::EmaWeights>(weights), source.data(), target.data());
}

}  // namespace systole
