// A classifier: an encoder and one Linear layer on its latent. 539,909 parameters for ECGEncoder1DCNN and five classes.
#pragma once

#include <memory>

#include "models/encoder.h"
#include "models/linear_layer.h"

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

}  // namespace systole::models
