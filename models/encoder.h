// Encoders by name. Each turns ECGs into latents, and is one pair of files; encoder.cpp lists them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/operations.h"
#include "engine/parameters.h"

namespace systole::models {

struct EncoderOptions {
  int leads = 12;  // read together; 1: each lead of a record on its own, with the same weights
  int width = 64;  // channels of its first layer, from which the others follow
  std::string name = "ECGEncoder1DCNN";
  std::vector<std::vector<int>> lead_groups{};  // DualStream: the leads of each stream; empty: as published
};

/// The encoder for losses that compare slots: one that has no slots of its own reads one lead at a time.
EncoderOptions by_slots(EncoderOptions options);

class Encoder {
 public:
  virtual ~Encoder() = default;
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  /// x [N, L, leads] → [N, latent_size], the mean over the slots of each record. N counts the records of all views.
  Tensor latent(const Tensor& x, Mode mode);
  /// A latent for each part of a record that the encoder reads on its own: a lead or a stream.
  /// x [views · N, L, leads] → [views · slots · N, latent_size], slot after slot within a view.
  virtual Tensor slot_latents(const Tensor& x, Mode mode) = 0;
  /// Slots of a record with so many leads; 1: the encoder reads all of it together.
  virtual int slot_count(int leads) const { return options_.leads == 1 ? leads : 1; }
  virtual int latent_size() const = 0;
  /// Probability of the dropout between the latent and the classifier's last layer.
  virtual float head_dropout() const { return 0; }
  const EncoderOptions& options() const { return options_; }

 protected:
  /// Throws Error for options that no encoder can have.
  explicit Encoder(EncoderOptions options);
  /// What an encoder of options().leads leads reads: x itself, or for one lead each lead as a series of its own.
  Tensor series_of(const Tensor& x, Mode mode) const;

  EncoderOptions options_;
};

/// One layer of an encoder, for tables of sizes and of arithmetic.
struct EncoderLayer {
  std::string name;  // of its weight in a checkpoint, without ".weight"
  int in_channels, out_channels, kernel, stride;
  int length;          // positions of its output
  int series;          // that pass through it, of each input: leads that are read one by one
  int64_t parameters;  // with those of its bias and BatchNorm
  double multiply_adds() const { return 1.0 * series * length * kernel * in_channels * out_channels; }
};

struct EncoderDefinition {
  const char* name;
  const char* meaning;
  const char* source;
  int width, leads, length;  // as published; of its records
  bool single_leads;         // it reads every lead on its own
  const char* first_weight;  // [width, leads, K]: tells files with this encoder from others
  std::unique_ptr<Encoder> (*make)(ParameterStore& store, const std::string& prefix, const EncoderOptions& options);
  /// The layers for an input of `length` samples of options.leads leads.
  std::vector<EncoderLayer> (*layers)(const EncoderOptions& options, int length);

  EncoderOptions published() const { return {.leads = single_leads ? 1 : leads, .width = width, .name = name}; }
};

const std::vector<EncoderDefinition>& encoder_definitions();
/// The definition of a name. Throws UsageError that lists the names for any other.
const EncoderDefinition& encoder_definition(const std::string& name);

/// Declares the encoder's parameters under `prefix` in the store.
std::unique_ptr<Encoder> make_encoder(ParameterStore& store, const std::string& prefix, const EncoderOptions& options);
std::vector<EncoderLayer> encoder_layers(const EncoderOptions& options, int length);
/// Multiply-adds of one forward pass over `length` samples of options.leads leads.
double multiply_adds(const EncoderOptions& options, int length);

}  // namespace systole::models
