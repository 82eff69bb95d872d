// SimCLR (Chen et al. 2020): an encoder, a projector of two Linear layers with a ReLU between, and NT-Xent on the two
// views of each record. The source trains with BatchNorm statistics per view; so do we, in one batch with two groups.
#pragma once

#include <memory>

#include "engine/contrastive.h"
#include "models/encoder.h"
#include "models/linear_layer.h"
#include "models/objective.h"

namespace systole::models {

struct SimclrOptions {
  EncoderOptions encoder{};
  int hidden_size = 2048;
  int projection_size = 128;
  float temperature = 0.07f;
};

class Simclr {
 public:
  explicit Simclr(ParameterStore& store, const SimclrOptions& options = {});

  /// views [2N, L, leads], N first views then N second ones → projections [2N, projection_size].
  Tensor project(const Tensor& views, Mode mode);
  /// The projections of each slot: views [V · N, L, leads] → [V · slots · N, projection_size], as
  /// Encoder::slot_latents.
  Tensor project_slots(const Tensor& views, Mode mode);
  /// The NT-Xent loss of a training step, a scalar.
  Tensor loss(const Tensor& views) { return nt_xent(project(views, Mode::train(2)), options_.temperature); }

  Encoder& encoder() { return *encoder_; }
  const Encoder& encoder() const { return *encoder_; }

 private:
  Tensor project_latent(const Tensor& latent) { return output_.forward(relu(hidden_.forward(latent))); }

  SimclrOptions options_;
  std::unique_ptr<Encoder> encoder_;
  LinearLayer hidden_, output_;  // projection_head.net.{0,2}
};

}  // namespace systole::models
