#include "models/conv_layers.h"

namespace systole::models {

BatchNormLayer BatchNormLayer::declare(ParameterStore& store, const std::string& prefix, int channels) {
  return {store.add(prefix + "weight", {channels}, Layout::plain, Initializer::constant(1)),
          store.add(prefix + "bias", {channels}, Layout::plain, Initializer::constant(0)),
          store.add_buffer(prefix + "running_mean", {channels}, 0),
          store.add_buffer(prefix + "running_var", {channels}, 1), store.add_counter(prefix + "num_batches_tracked")};
}

ConvNormLayer ConvNormLayer::declare(ParameterStore& store, const std::string& conv, const std::string& batch_norm,
                                     const ConvShape& shape) {
  const Initializer initial = Initializer::fan_in(int64_t{shape.in} * shape.kernel);
  Parameter& weight = store.add(conv + "weight", {shape.kernel, shape.in, shape.out}, Layout::conv1d, initial);
  Parameter* const bias = shape.bias ? &store.add(conv + "bias", {shape.out}, Layout::plain, initial) : nullptr;
  return {weight,
          bias,
          BatchNormLayer::declare(store, batch_norm, shape.out),
          {.stride = shape.stride, .padding = shape.kernel / 2}};
}

EncoderLayer layer_of(const std::string& name, const ConvShape& shape, int L, int series) {
  const int64_t weights = int64_t{shape.in} * shape.out * shape.kernel, norm = 2 * shape.out;
  return {name,         shape.in,        shape.out, shape.kernel,
          shape.stride, shape.length(L), series,    weights + (shape.bias ? shape.out : 0) + norm};
}

}  // namespace systole::models
