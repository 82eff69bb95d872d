// A classifier: an encoder and one Linear layer on its latent. 539,909 parameters for five classes.
#pragma once

#include "models/encoder.h"
#include "models/linear_layer.h"

namespace systole::models {

class Classifier {
 public:
  static constexpr const char* kEncoderPrefix = "encoder.";

  Classifier(ParameterStore& store, const EncoderOptions& options, int classes)
      : encoder_(store, kEncoderPrefix, options),
        head_(LinearLayer::declare(store, "head.", encoder_.latent_size(), classes)) {}

  /// x [N, L, leads] → logits [N, classes].
  Tensor logits(const Tensor& x, Mode mode) { return head_.forward(encoder_.latent(x, mode)); }

  ECGEncoder1DCNN& encoder() { return encoder_; }
  const LinearLayer& head() const { return head_; }

 private:
  ECGEncoder1DCNN encoder_;
  LinearLayer head_;
};

}  // namespace systole::models
