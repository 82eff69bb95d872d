// BYOL (Grill et al. 2020): no negatives. The online network (encoder, projector, predictor) predicts what the target
// network (encoder, projector) makes of the other view:
//
//   loss = Σ over (a, b) = (view 1, view 2), (view 2, view 1) of mean over the records of
//          2 − 2 cos(predictor(projector(encoder(a))), target_projector(target_encoder(b)))
//
// The target starts as a copy of the online network and follows it as an exponential moving average, buffers included;
// no gradient reaches it. Both run with the BatchNorm statistics of the batch, each view with its own. Projector and
// predictor are Linear, BatchNorm, ReLU, Linear; keys projector.net.{0,1,3} and predictor.net.{0,1,3}.
#pragma once

#include "engine/optimizer.h"
#include "models/conv_layers.h"
#include "models/linear_layer.h"
#include "models/objective.h"

namespace systole::models {

enum class DecaySchedule { constant, cosine };

struct ByolOptions {
  EncoderOptions encoder{};
  int hidden_size = 2048, projection_size = 256;
  double decay = 0.999;  // of the moving average of the target
  DecaySchedule schedule = DecaySchedule::constant;
};

/// The decay after a share `progress` of the run: constant, or 1 − (1 − decay)(cos(π progress) + 1) / 2, which ends
/// at 1 (Grill et al., section 3.2).
double decay_at(const ByolOptions& options, double progress);

class Byol : public PretrainingObjective {
 public:
  Byol(ParameterStore& store, const ByolOptions& options);

  void start() override;
  PairLossResult loss(const Tensor& views, const Tensor& ids, uint64_t seed, StepNumber step) override;
  void follow() override;
  Tensor numbers() const override { return decay_; }
  std::vector<float> numbers_at(double progress) const override { return ema_weights(decay_at(options_, progress)); }
  void state(RunState& state) override { state.store("target", target_store_); }
  const Encoder& encoder() const override { return *online_.encoder; }

  /// What the target makes of views: [M, L, leads] → [M, projection_size], for `mode.groups` views. Without gradient.
  Tensor target_projection(const Tensor& views, Mode mode);
  const ParameterStore& target_store() const { return target_store_; }

 private:
  /// Linear, BatchNorm, ReLU, Linear.
  struct Head {
    LinearLayer hidden;
    BatchNormLayer norm;
    LinearLayer output;
    static Head declare(ParameterStore& store, const std::string& prefix, int in, const ByolOptions& options);
    Tensor forward(const Tensor& x, Mode mode) const;
  };
  struct Network {
    std::unique_ptr<Encoder> encoder;
    Head projector;
    Network(ParameterStore& store, const ByolOptions& options);
    Tensor project(const Tensor& views, Mode mode) { return projector.forward(encoder->latent(views, mode), mode); }
  };

  ParameterStore& store_;
  ByolOptions options_;
  Network online_;
  Head predictor_;
  ParameterStore target_store_;
  Tensor decay_;  // [2], the weights of the moving average
  Network target_;
};

}  // namespace systole::models
