#include "models/byol.h"

#include <cmath>
#include <numbers>

#include "engine/feature_losses.h"

namespace systole::models {

double decay_at(const ByolOptions& options, double progress) {
  if (options.schedule == DecaySchedule::constant) return options.decay;
  return 1 - (1 - options.decay) * (std::cos(std::numbers::pi * progress) + 1) / 2;
}

Byol::Head Byol::Head::declare(ParameterStore& store, const std::string& prefix, int in, const ByolOptions& o) {
  return {LinearLayer::declare(store, prefix + "net.0.", in, o.hidden_size),
          BatchNormLayer::declare(store, prefix + "net.1.", o.hidden_size),
          LinearLayer::declare(store, prefix + "net.3.", o.hidden_size, o.projection_size)};
}

Tensor Byol::Head::forward(const Tensor& x, Mode mode) const {
  return output.forward(relu(batch_norm(hidden.forward(x), norm.parts(), mode)));
}

Byol::Network::Network(ParameterStore& store, const ByolOptions& o)
    : encoder(make_encoder(store, kEncoderPrefix, o.encoder)),
      projector(Head::declare(store, "projector.", encoder->latent_size(), o)) {}

// The predictor is declared last: so the target's parameters and buffers are the first ones of the online network.
Byol::Byol(ParameterStore& store, const ByolOptions& options)
    : store_(store),
      options_(options),
      online_(store, options),
      predictor_(Head::declare(store, "predictor.", options.projection_size, options)),
      target_(target_store_, options) {}

void Byol::start() {
  target_store_.allocate(store_.values().device(), 0);
  decay_ = Tensor::from(numbers_at(0), {2}, store_.values().device());
  target_store_.values().copy_from(store_.values().slice(0, target_store_.values().shape()));
  target_store_.buffers().copy_from(store_.buffers().slice(0, target_store_.buffers().shape()));
}

Tensor Byol::target_projection(const Tensor& views, Mode mode) {
  const NoGradient none;
  mode.momentum = 0;  // the target's running statistics follow the online network's, not its own batches
  return target_.project(views, mode);
}

PairLossResult Byol::loss(const Tensor& views, const Tensor&, uint64_t seed, StepNumber step) {
  const Mode mode = Mode::train(2);
  const Tensor prediction =
      predictor_.forward(online_.project(views, mode.with_dropout(seed, step)), mode.with_dropout(seed, step));
  const Tensor target = target_projection(views, mode.with_dropout(~seed, step));  // masks of its own
  const int64_t N = views.dim(0) / 2;
  return {add(cosine_loss(rows(prediction, 0, N), rows(target, N, N)),
              cosine_loss(rows(prediction, N, N), rows(target, 0, N))),
          {}};
}

void Byol::follow() {
  if (RepeatedPass::is_active()) return;
  ema(store_.values().slice(0, target_store_.values().shape()), target_store_.values(), decay_);
  ema(store_.buffers().slice(0, target_store_.buffers().shape()), target_store_.buffers(), decay_);
}

}  // namespace systole::models
