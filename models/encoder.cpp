#include "models/encoder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/dual_stream.h"
#include "models/ecg_encoder_1d_cnn.h"
#include "models/improved_cnn.h"
#include "models/resnet1d.h"
#include "models/temporal_net.h"

namespace systole::models {
namespace {

template <class T>
std::unique_ptr<Encoder> make(ParameterStore& store, const std::string& prefix, const EncoderOptions& options) {
  return std::make_unique<T>(store, prefix, options);
}

}  // namespace

EncoderOptions by_slots(EncoderOptions options) {
  if (options.lead_groups.empty()) options.leads = 1;
  return options;
}

Encoder::Encoder(EncoderOptions options) : options_(std::move(options)) {
  if (options_.leads < 1 || options_.width < 1)
    throw Error(fmt::format("{}: leads and width must be positive, not {} and {}", options_.name, options_.leads,
                            options_.width));
}

Tensor Encoder::series_of(const Tensor& x, Mode mode) const {
  return slot_count(static_cast<int>(x.dim(2))) == 1 ? x : split_leads(x, mode.groups);
}

Tensor Encoder::latent(const Tensor& x, Mode mode) {
  const int slots = slot_count(static_cast<int>(x.dim(2)));
  const Tensor latents = slot_latents(x, mode);
  return slots == 1 ? latents : mean_over_leads(latents, slots, mode.groups);
}

const std::vector<EncoderDefinition>& encoder_definitions() {
  static const std::vector<EncoderDefinition> definitions{
      {.name = ECGEncoder1DCNN::kName,
       .meaning = "six convolutions, all leads together",
       .source = "SSRL-ECG",
       .width = 64,
       .leads = 12,
       .length = 1000,
       .single_leads = false,
       .first_weight = "features.0.block.0.weight",
       .make = make<ECGEncoder1DCNN>,
       .layers = ECGEncoder1DCNN::layers},
      {.name = TemporalNet::kName,
       .meaning = "two branches of residual blocks with short and long kernels, lead by lead",
       .source = "Dade et al. 2026, single stream",
       .width = 32,
       .leads = 8,
       .length = 2500,
       .single_leads = true,
       .first_weight = "firstLayer.0.weight",
       .make = make<TemporalNet>,
       .layers = TemporalNet::layers},
      {.name = DualStream::kName,
       .meaning = "two TemporalNets, each for a group of leads",
       .source = "Dade et al. 2026, dual stream",
       .width = 32,
       .leads = 8,
       .length = 2500,
       .single_leads = false,
       .first_weight = "model_g1.firstLayer.0.weight",
       .make = make<DualStream>,
       .layers = DualStream::layers},
      {.name = ResNet1D::kName,
       .meaning = "a residual network of four stages, all leads together",
       .source = "SSRL-ECG",
       .width = 64,
       .leads = 12,
       .length = 1000,
       .single_leads = false,
       .first_weight = "conv1.weight",
       .make = make<ResNet1D>,
       .layers = ResNet1D::layers},
      {.name = ImprovedCNN::kName,
       .meaning = "nine convolutions with shortcuts, mean and maximum over time",
       .source = "SSRL-ECG",
       .width = 64,
       .leads = 12,
       .length = 1000,
       .single_leads = false,
       .first_weight = "initial.0.weight",
       .make = make<ImprovedCNN>,
       .layers = ImprovedCNN::layers},
  };
  return definitions;
}

const EncoderDefinition& encoder_definition(const std::string& name) {
  std::vector<std::string> names;
  for (const EncoderDefinition& definition : encoder_definitions()) {
    if (name == definition.name) return definition;
    names.emplace_back(definition.name);
  }
  throw UsageError(fmt::format("unknown encoder '{}'; expected {}", name, fmt::join(names, ", ")));
}

std::unique_ptr<Encoder> make_encoder(ParameterStore& store, const std::string& prefix, const EncoderOptions& options) {
  return encoder_definition(options.name).make(store, prefix, options);
}

std::vector<EncoderLayer> encoder_layers(const EncoderOptions& options, int length) {
  return encoder_definition(options.name).layers(options, length);
}

double multiply_adds(const EncoderOptions& options, int length) {
  double total = 0;
  for (const EncoderLayer& layer : encoder_layers(options, length)) total += layer.multiply_adds();
  return total;
}

}  // namespace systole::models
