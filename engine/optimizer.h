// Optimisers over the flat buffers of a ParameterStore, the clipping of the gradient's norm, and averages of weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/parameters.h"
#include "kernels/optimizer/optimizer.h"

namespace systole {

class RunState;

struct OptimizerOptions {
  enum class Kind { adam, adamw, sgd, lars } kind = Kind::adam;
  float weight_decay = 0;
  float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;  // adam, adamw
  float momentum = 0.9f;                            // sgd, lars
  float trust = 0.001f;                             // lars
  float clip_norm = 0;                              // gradients with a larger L2 norm are scaled down to it; 0: never
  /// A learning rate of their own for parameters whose names start with the prefix: the step's, times the factor. The
  /// first entry that fits counts; the others have the factor 1.
  struct RateFactor {
    std::string prefix;
    double factor;
  };
  std::vector<RateFactor> rate_factors{};
};

/// adam, adamw, sgd or lars; throws UsageError for another name.
OptimizerOptions::Kind parse_optimizer(const std::string& name);

/// Updates all parameters of a store from their gradients.
class Optimizer {
 public:
  Optimizer(ParameterStore& store, const OptimizerOptions& options);

  /// One update with this learning rate. Returns the L2 norm of the gradient before clipping. Where that is not finite,
  /// nothing changes.
  double step(float learning_rate);
  int64_t steps() const { return steps_; }
  /// Shows its moments and its count of steps, as they are saved and restored.
  void state(RunState& state);

  // The same in two parts, for a captured step: apply() reads what it needs to know of the step from factors().

  /// What factors() must hold in a step: 1 for the first.
  std::vector<float> factors_of(int64_t step, float learning_rate) const;
  /// In the device's memory.
  const Tensor& factors() const { return factors_; }
  /// The update; counts the step.
  void apply();
  /// The squares of the gradient that apply() saw, added up: a double in the device's memory, as two i32.
  const Tensor& sum_of_squares() const { return sum_of_squares_; }

 private:
  /// Parameters that stand side by side in the flat buffers and have one learning rate.
  struct Group {
    int64_t begin, end;  // in the flat buffers
    double rate_factor;
  };
  std::vector<Group> make_groups() const;
  kernels::Adam adam() const;
  void apply(Queue& queue, size_t group);

  ParameterStore& store_;
  OptimizerOptions options_;
  std::vector<Group> groups_;
  Tensor first_moment_, second_moment_;  // the momentum of sgd and lars is the first
  Tensor factors_;                       // [groups] StepFactors
  Tensor gradient_scale_, sum_of_squares_;
  int64_t steps_ = 0;
};

/// target = decay · target + (1 − decay) · source: the exponential moving average that a momentum encoder follows its
/// model with, over the flat buffers (ParameterStore::values, buffers) of two stores of one shape. weights [2], in the
/// device's memory: the decay and 1 − decay.
void ema(const Tensor& source, const Tensor& target, const Tensor& weights);
/// Both for a decay. Throws Error unless it lies in [0, 1].
std::vector<float> ema_weights(double decay);

}  // namespace systole
