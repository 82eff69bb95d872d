#include "models/simclr.h"

namespace systole::models {

Simclr::Simclr(ParameterStore& store, const SimclrOptions& options)
    : options_(options),
      encoder_(make_encoder(store, PretrainingObjective::kEncoderPrefix, options.encoder)),
      hidden_(LinearLayer::declare(store, "projection_head.net.0.", encoder_->latent_size(), options.hidden_size)),
      output_(LinearLayer::declare(store, "projection_head.net.2.", options.hidden_size, options.projection_size)) {}

Tensor Simclr::project(const Tensor& views, Mode mode) {
  return project_latent(encoder_->latent(views, mode));
}

Tensor Simclr::project_slots(const Tensor& views, Mode mode) {
  return project_latent(encoder_->slot_latents(views, mode));
}

}  // namespace systole::models
