#include "models/residual_block.h"

namespace systole::models {

ResidualBlock ResidualBlock::declare(ParameterStore& store, const std::string& prefix, const ResidualBlockNames& names,
                                     const ResidualBlockShape& shape, const Dropout& dropout) {
  ResidualBlock block{ConvNormLayer::declare(store, prefix + "conv1.", prefix + names.norm1 + ".", shape.conv1()),
                      ConvNormLayer::declare(store, prefix + "conv2.", prefix + names.norm2 + ".", shape.conv2()),
                      std::nullopt, dropout};
  const std::string shortcut = prefix + names.shortcut;
  if (shape.has_shortcut())
    block.shortcut.emplace(ConvNormLayer::declare(store, shortcut + ".0.", shortcut + ".1.", shape.shortcut()));
  return block;
}

Tensor ResidualBlock::forward(const Tensor& x, Mode mode) const {
  const Activation main = conv2.forward(conv1.forward({.raw = x}, true, mode), false, mode);
  return residual(main, shortcut ? shortcut->forward({.raw = x}, false, mode) : Activation{.raw = x}, dropout, mode);
}

int append_layers(std::vector<EncoderLayer>& rows, const std::string& prefix, const ResidualBlockNames& names,
                  const ResidualBlockShape& shape, int L, int series) {
  const int length = shape.conv1().length(L);
  rows.push_back(layer_of(prefix + "conv1", shape.conv1(), L, series));
  rows.push_back(layer_of(prefix + "conv2", shape.conv2(), length, series));
  if (shape.has_shortcut()) rows.push_back(layer_of(prefix + names.shortcut + ".0", shape.shortcut(), L, series));
  return length;
}

}  // namespace systole::models
