#include "models/dade.h"

#include <fmt/format.h>

namespace systole::models {
Dade::Dade(ParameterStore& store, const DadeOptions& options)
    : options_(options), encoder_(make_encoder(store, kEncoderPrefix, by_slots(options.encoder))) {
  const int latent = encoder_->latent_size();
  if (encoder_->options().lead_groups.empty()) {
    projectors_.push_back(TemporalNetProjector::declare(store, "projector.", latent));
    return;
  }
  for (int stream : {1, 2})
    projectors_.push_back(TemporalNetProjector::declare(store, fmt::format("projector.model_g{}.", stream), latent));
}

Tensor Dade::project(const Tensor& views, Mode mode) {
  const Tensor latents = encoder_->slot_latents(views, mode);
  if (projectors_.size() == 1) return projectors_[0].forward(latents);
  const int64_t N = views.dim(0) / 2;
  const auto stream = [&](int64_t s) {  // of both views
    const Tensor own = join_slots(rows(latents, s * N, N), rows(latents, (2 + s) * N, N));
    return projectors_[static_cast<size_t>(s)].forward(own);
  };
  return join_slots(stream(0), stream(1), 2);
}

PairLossResult Dade::compare(const Tensor& embeddings, const Tensor& ids) {
  const int slots = static_cast<int>(embeddings.dim(0) / ids.count());
  return {clocs(embeddings, slots, ids, options_.temperature), {}};
}

}  // namespace systole::models
