// A residual block (He et al. 2016), as TemporalNet and ResNet1D have it; no convolution has a bias:
//
//   x ── conv1, BatchNorm, ReLU ── conv2, BatchNorm, dropout ── + ── ReLU
//    └── shortcut: Conv K 1 and BatchNorm where channels or length change, else x itself ──┘
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/conv_layers.h"

namespace systole::models {

struct ResidualBlockShape {
  int in, middle, out, kernel;
  int stride = 1;  // of the first convolution and the shortcut

  ConvShape conv1() const { return {in, middle, kernel, stride}; }
  ConvShape conv2() const { return {middle, out, kernel}; }
  bool has_shortcut() const { return in != out || stride != 1; }
  ConvShape shortcut() const { return {in, out, 1, stride}; }
};

/// What differs in the names of a block's parts; the convolutions are conv1 and conv2.
struct ResidualBlockNames {
  const char *norm1, *norm2, *shortcut;  // the shortcut's convolution is its part 0, its BatchNorm part 1
};

struct ResidualBlock {
  ConvNormLayer conv1, conv2;
  std::optional<ConvNormLayer> shortcut;
  Dropout dropout;

  static ResidualBlock declare(ParameterStore& store, const std::string& prefix, const ResidualBlockNames& names,
                               const ResidualBlockShape& shape, const Dropout& dropout);
  /// x [N, L, in] → [N, L / stride, out].
  Tensor forward(const Tensor& x, Mode mode) const;
};

/// Adds the rows of a block whose input has L positions; returns the positions of its output.
int append_layers(std::vector<EncoderLayer>& rows, const std::string& prefix, const ResidualBlockNames& names,
                  const ResidualBlockShape& shape, int L, int series = 1);

}  // namespace systole::models
