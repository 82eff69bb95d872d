#include "models/encoder.h"

#include <fmt/format.h>

namespace systole::models {

std::vector<EncoderLayer> encoder_layers(const EncoderOptions& o) {
  return {{o.leads, o.width, 11, 2},        {o.width, o.width, 7, 1},         {o.width, 2 * o.width, 7, 2},
          {2 * o.width, 2 * o.width, 5, 1}, {2 * o.width, 4 * o.width, 5, 2}, {4 * o.width, 4 * o.width, 3, 1}};
}

double multiply_adds(const EncoderOptions& options, int length) {
  double total = 0;
  for (const EncoderLayer& layer : encoder_layers(options)) {
    length = (length - 1) / layer.stride + 1;  // padding K/2 of an odd K
    total += 1.0 * length * layer.kernel * layer.in_channels * layer.out_channels;
  }
  return total;
}

ECGEncoder1DCNN::ECGEncoder1DCNN(ParameterStore& store, const std::string& prefix, const EncoderOptions& options)
    : options_(options) {
  if (options.leads < 1 || options.width < 1)
    throw Error(
        fmt::format("{}: leads and width must be positive, not {} and {}", kName, options.leads, options.width));
  int i = 0;
  for (const EncoderLayer& layer : encoder_layers(options)) {
    const std::string conv = fmt::format("{}features.{}.block.0.", prefix, i);
    const std::string norm = fmt::format("{}features.{}.block.1.", prefix, i);
    const Shape channels{layer.out_channels};
    blocks_.push_back({store.add(conv + "weight", {layer.kernel, layer.in_channels, layer.out_channels}, Layout::conv1d,
                                 Initializer::fan_in(int64_t{layer.in_channels} * layer.kernel)),
                       store.add(norm + "weight", channels, Layout::plain, Initializer::constant(1)),
                       store.add(norm + "bias", channels, Layout::plain, Initializer::constant(0)),
                       store.add_buffer(norm + "running_mean", channels, 0),
                       store.add_buffer(norm + "running_var", channels, 1),
                       store.add_counter(norm + "num_batches_tracked"),
                       {.stride = layer.stride, .padding = layer.kernel / 2}});
    ++i;
  }
}

Activation ECGEncoder1DCNN::forward(const Tensor& x, Mode mode) {
  Activation activation{.raw = x};
  for (const Block& block : blocks_)
    activation = conv_bn_relu(activation, block.weight.value,
                              {block.gamma.value, block.beta.value, block.running_mean.value, block.running_var.value,
                               &block.batches_tracked.value},
                              block.convolution, mode);
  return activation;
}

Tensor ECGEncoder1DCNN::latent(const Tensor& x, Mode mode) {
  if (options_.leads != 1 || x.dim(2) == 1) return mean_over_time(forward(x, mode));
  return mean_over_leads(lead_latents(x, mode), static_cast<int>(x.dim(2)), mode.groups);
}

}  // namespace systole::models
