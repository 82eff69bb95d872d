// Encoders for tests.
#pragma once

#include <memory>
#include <optional>

#include "models/encoder.h"
#include "models/temporal_net.h"
#include "tests/tensors.h"

namespace systole::test {

inline models::EncoderOptions published(const char* name) {
  return models::encoder_definition(name).published();
}

/// An encoder with its store; for TemporalNet with the projector.
struct Network {
  ParameterStore store;
  std::unique_ptr<models::Encoder> encoder;
  std::optional<models::TemporalNetProjector> projector;

  explicit Network(const models::EncoderOptions& options, Device where = device())
      : encoder(models::make_encoder(store, "", options)) {
    if (options.name == models::TemporalNet::kName)
      projector.emplace(models::TemporalNetProjector::declare(store, "", encoder->latent_size()));
    store.allocate(where, 3);
  }
};

/// A narrow encoder of each kind for records of so many leads.
inline models::EncoderOptions narrow(const char* name, int leads = 8) {
  return {.leads = models::encoder_definition(name).single_leads ? 1 : leads, .width = 2, .name = name};
}

}  // namespace systole::test
