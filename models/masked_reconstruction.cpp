#include "models/masked_reconstruction.h"

#include <fmt/format.h>

#include "engine/reconstruction.h"

namespace systole::models {
namespace {

constexpr Conv1dOptions kUpsampling{.stride = 2, .padding = 1};
constexpr int kUpsamplingKernel = 4, kOutputKernel = 3;

const EncoderOptions& checked(const EncoderOptions& options) {
  if (options.name != ECGEncoder1DCNN::kName)
    throw UsageError(fmt::format("masked reconstruction decodes the feature map of {}, not that of {}",
                                 ECGEncoder1DCNN::kName, options.name));
  return options;
}

}  // namespace

MaskedReconstruction::MaskedReconstruction(ParameterStore& store, const EncoderOptions& options)
    : encoder_(store, kEncoderPrefix, checked(options)),
      upsampling_([&] {
        std::vector<Layer> layers;
        for (int in = encoder_.latent_size(); layers.size() < 3; in /= 2) {
          const int out = std::max(in / 2, 1);
          const std::string prefix = fmt::format("decoder.{}.", 2 * layers.size());
          // PyTorch counts the fan-in of a transposed convolution by its outputs.
          const Initializer initial = Initializer::fan_in(int64_t{out} * kUpsamplingKernel);
          layers.push_back({store.add(prefix + "weight", {kUpsamplingKernel, out, in}, Layout::conv1d, initial),
                            store.add(prefix + "bias", {out}, Layout::plain, initial)});
        }
        return layers;
      }()),
      output_([&]() -> Layer {
        const int64_t in = upsampling_.back().bias.shape.count();
        const Initializer initial = Initializer::fan_in(in * kOutputKernel);
        return {store.add("decoder.6.weight", {kOutputKernel, in, options.leads}, Layout::conv1d, initial),
                store.add("decoder.6.bias", {options.leads}, Layout::plain, initial)};
      }()) {}

Tensor MaskedReconstruction::reconstruct(const Tensor& x, Mode mode) {
  if (x.dim(1) % kStride != 0)
    throw Error(
        fmt::format("masked reconstruction needs views of a multiple of {} samples, not {}; --signal-length {} is one",
                    kStride, x.dim(1), x.dim(1) / kStride * kStride));
  Tensor h = value_of(encoder_.features(x, mode));
  for (const Layer& layer : upsampling_)
    h = relu(conv_transpose1d(h, layer.weight.value, layer.bias.value, kUpsampling));
  return conv1d(h, output_.weight.value, output_.bias.value, {.padding = kOutputKernel / 2});
}

PairLossResult MaskedReconstruction::loss(const Tensor& views, const Tensor&, uint64_t seed, StepNumber step) {
  const Tensor masked = mask_blocks(views, kBlock, kShare, seed, step);
  return {mean_squared_error(reconstruct(masked, Mode::train()), views), {}};
}

}  // namespace systole::models
