// A classifier: an encoder and one Linear layer on its latent. 539,909 parameters for ECGEncoder1DCNN and five classes.
// And what its training minimises.
#pragma once

#include <functional>
#include <memory>

#include "engine/operations.h"
#include "models/encoder.h"
#include "models/linear_layer.h"
#include "models/objective.h"

namespace systole::models {

class Classifier {
 public:
  static constexpr const char* kEncoderPrefix = "encoder.";

  Classifier(ParameterStore& store, const EncoderOptions& options, int classes)
      : encoder_(make_encoder(store, kEncoderPrefix, options)),
        head_(LinearLayer::declare(store, "head.", encoder_->latent_size(), classes)) {}

  /// x [N, L, leads] → logits [N, classes].
  Tensor logits(const Tensor& x, Mode mode) {
    return head_.forward(dropout(encoder_->latent(x, mode), {encoder_->head_dropout(), kHeadDropout}, mode));
  }

  Encoder& encoder() { return *encoder_; }
  const LinearLayer& head() const { return head_; }

 private:
  static constexpr uint32_t kHeadDropout = 1000;  // its layer: above those of every encoder

  std::unique_ptr<Encoder> encoder_;
  LinearLayer head_;
};

/// Binary cross-entropy with the labels of the records, whose numbers are the ids.
class ClassifierObjective : public Objective {
 public:
  /// What the network reads → logits [N, classes].
  using Network = std::function<Tensor(const Tensor& x, Mode mode)>;

  /// targets [any, classes]: 0 or 1, a row for each number that may occur.
  ClassifierObjective(Network network, Tensor targets, BceWeights weights)
      : network_(std::move(network)), targets_(std::move(targets)), weights_(std::move(weights)) {}

  PairLossResult loss(const Tensor& x, const Tensor& ids, uint64_t seed, StepNumber step) override {
    const Tensor logits = network_(x, Mode::train().with_dropout(seed, step));
    return {.loss = bce_with_logits(logits, gather(targets_, ids), weights_), .left_out = {}};
  }

 private:
  Network network_;
  Tensor targets_;
  BceWeights weights_;
};

}  // namespace systole::models
