// Convolution and BatchNorm, and the end of a residual block.

#include "engine/graph.h"
#include "engine/operation_checks.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/elementwise/elementwise.h"

namespace systole {
namespace {

using namespace kernels;

Conv1dShape conv_shape(const Tensor& x, const Tensor& w, const Conv1dOptions& o) {
  require(x.shape().rank() == 3, "conv1d", "an input [N, L, C]", x);
  require(w.shape().rank() == 3 && w.dim(1) == x.dim(2), "conv1d", fmt::format("a weight [K, {}, C_out]", x.dim(2)), w);
  const Conv1dShape shape{static_cast<int>(x.dim(0)),
                          static_cast<int>(x.dim(1)),
                          static_cast<int>(x.dim(2)),
                          static_cast<int>(w.dim(2)),
                          static_cast<int>(w.dim(0)),
                          o.stride,
                          o.padding,
                          o.dilation};
  check(shape);
  return shape;
}

/// The convolution's two gradients: of the weight (and bias) and of the input x. Where a BatchNorm waits in front of x,
/// its sums are left with the gradient. `pending`: dy is that of a normalisation's output.
void conv_backward(Device device, const Conv1dShape& shape, const Activation& x, const Tensor& w, const Tensor& dy,
                   const PendingGradient& pending, InputGradients& gradients, GradientTarget dbias) {
  Queue queue(device);
  const Conv1dKernels& conv = conv1d_kernels(device);
  const GradientTarget dx = gradients.target(0), dw = gradients.target(1);
  Tensor finished = dy;
  PendingGradient left = pending;
  if (pending.offset && wants_finished_gradient(queue, dy.series().storage())) {
    finished = Tensor::empty(dy.shape(), device, dy.dtype());
    batch_norm_kernels(device).backward_apply(queue, {pending.output.groups, shape.N, shape.L_out(), shape.C_out},
                                              dy.series(), pending, finished.series());
    left = {};
  }
  if (dw)
    conv.weight_gradient(queue, shape, x.raw.series(), pending_of(x), finished.series(), left, dw.data, dbias.data,
                         dw.mode);
  if (!dx) return;
  const WantedSums sums(x, dx, most_pieces(shape.L, shape.stride));
  conv.input_gradient(queue, shape, finished.series(), left, w.data(), dx.data, dx.mode, sums.wanted());
  sums.leave(gradients);
}

/// Statistics and folded affine of one application of a BatchNorm.
struct Normalized {
  BatchNormShape shape;
  Tensor mean, var, scale, shift;  // [G, C]
  bool training;
};

BatchNormShape norm_shape(const Tensor& x, const BatchNorm& norm, Mode mode) {
  const bool series = x.shape().rank() == 3;
  require(series || x.shape().rank() == 2, "batch_norm", "an input [N, L, C] or [N, C]", x);
  const BatchNormShape shape{mode.training ? mode.groups : 1, static_cast<int>(x.dim(0)),
                             series ? static_cast<int>(x.dim(1)) : 1, static_cast<int>(x.dim(x.shape().rank() - 1))};
  require(norm.gamma.count() == shape.C, "batch_norm", fmt::format("{} channels", norm.gamma.count()), x);
  if (shape.groups < 1 || shape.N % shape.groups != 0)
    throw Error(fmt::format("batch_norm: {} records cannot be split into {} views", shape.N, shape.groups));
  if (mode.training && shape.rows_per_group() < 2)
    throw Error("batch_norm: training needs at least two values per channel and view, found one");
  return shape;
}

/// Running statistics in evaluation; those of the batch, from x or, where there are any, from moments of pieces of its
/// records, in training.
Normalized normalize(const Tensor& x, const RecordMoments& moments, const BatchNorm& norm, Mode mode) {
  const Device device = x.device();
  Queue queue = queue_of("batch_norm", {&x, &norm.gamma, &norm.beta, &norm.running_mean, &norm.running_var});
  const BatchNormKernels& bn = batch_norm_kernels(device);
  Normalized n{norm_shape(x, norm, mode), norm.running_mean, norm.running_var, {}, {}, mode.training};
  const Shape per_group{n.shape.groups, n.shape.C};
  n.scale = Tensor::empty(per_group, device);
  n.shift = Tensor::empty(per_group, device);
  if (mode.training) {
    n.mean = Tensor::empty(per_group, device);
    n.var = Tensor::empty(per_group, device);
    const bool moves = !RepeatedPass::is_active();
    if (moves) with_every_run([tracked = norm.batches_tracked, groups = n.shape.groups] { *tracked += groups; });
    if (moments.mean) {
      bn.finish_statistics(
          queue, n.shape, moments.mean, moments.m2, *moments.piece_rows,
          {norm.gamma.data(), norm.beta.data(), norm.eps, mode.momentum, n.mean.data(), n.var.data(), n.scale.data(),
           n.shift.data(), moves ? norm.running_mean.data() : nullptr, moves ? norm.running_var.data() : nullptr});
      return n;
    }
    bn.statistics(queue, n.shape, x.series(), n.mean.data(), n.var.data());
    if (moves)
      bn.update_running(queue, n.shape, n.mean.data(), n.var.data(), mode.momentum, norm.running_mean.data(),
                        norm.running_var.data());
  }
  bn.fold(queue, n.shape, n.mean.data(), n.var.data(), norm.gamma.data(), norm.beta.data(), norm.eps, n.scale.data(),
          n.shift.data());
  return n;
}

/// Where the gradients of gamma and beta go; to a tensor of its own when one of them is not wanted.
struct ParameterTargets {
  GradientTarget dgamma, dbeta;
  Tensor unwanted;

  ParameterTargets(int C, Device device, GradientTarget gamma, GradientTarget beta) : dgamma(gamma), dbeta(beta) {
    if (dgamma && dbeta) return;
    unwanted = Tensor::empty({2, C}, device);
    dgamma = {unwanted.data(), GradientMode::overwrite};
    dbeta = {unwanted.data() + C, GradientMode::overwrite};
  }
};

/// dx of the normalisation (and ReLU) of x; gradients of gamma and beta go to their targets.
void norm_backward(const Tensor& x, const Normalized& n, float eps, bool relu, const Tensor& dy, GradientTarget dx,
                   GradientTarget dgamma, GradientTarget dbeta) {
  const Device device = x.device();
  Queue queue(device);
  const BatchNormKernels& bn = batch_norm_kernels(device);
  Tensor unwanted_dx;
  if (!dx) {
    unwanted_dx = Tensor::empty(x.shape(), device, x.dtype());
    dx = {unwanted_dx.series(), GradientMode::overwrite};
  }
  const ParameterTargets parameters(n.shape.C, device, dgamma, dbeta);
  const auto& kernel = [&](const auto& entry) {
    entry(queue, n.shape, x.series(), dy.series(), n.mean.data(), n.var.data(), eps, n.scale.data(), n.shift.data(),
          relu, dx.data, dx.mode, parameters.dgamma.data, parameters.dbeta.data, parameters.dgamma.mode);
  };
  n.training ? kernel(bn.backward) : kernel(bn.backward_evaluation);
}

/// For conv_bn, whose normalisation is undone by the convolutions that read dz: offset and slope [2, G, C] of
/// PendingGradient. The gradients of gamma and beta (inputs 2 and 3) go to their targets.
Tensor pending_gradient(const Activation& output, const Normalized& n, float eps, const Tensor& dz,
                        InputGradients& gradients) {
  const Device device = dz.device();
  Queue queue(device);
  const BatchNormKernels& bn = batch_norm_kernels(device);
  GradientSums sums = gradients.sums();
  if (!sums) {
    sums.values = Tensor::empty({2, n.shape.N, most_pieces(n.shape.L), n.shape.C}, device);
    bn.backward_sums(queue, n.shape, dz.series(), sums_in(sums, output));
  }
  const float* const g = sums.values.data();
  const ParameterTargets parameters(n.shape.C, device, gradients.target(2), gradients.target(3));
  Tensor correction = Tensor::empty({2, n.shape.groups, n.shape.C}, device);
  bn.backward_finish(queue, n.shape, g, g + sums.values.count() / 2, sums.pieces, n.var.data(), eps, n.scale.data(),
                     n.training, correction.data(), correction.data() + correction.count() / 2, parameters.dgamma.data,
                     parameters.dbeta.data, parameters.dgamma.mode);
  return correction;
}

/// The value of an activation, as its readers see it: a tensor of its own, or raw where nothing is pending.
Tensor applied(const Activation& x) {
  if (!x.scale) return x.raw;
  const Tensor& raw = x.raw;
  require(raw.shape().rank() == 3, "batch_norm", "an input [N, L, C]", raw);
  const BatchNormShape shape{x.groups, static_cast<int>(raw.dim(0)), static_cast<int>(raw.dim(1)),
                             static_cast<int>(raw.dim(2))};
  Tensor y = Tensor::empty(raw.shape(), raw.device(), raw.dtype());
  Queue queue(raw.device());
  batch_norm_kernels(raw.device())
      .apply(queue, shape, raw.series(), x.scale.data(), x.shift.data(), x.relu, y.series());
  return y;
}

void check(const Dropout& dropout) {
  if (!(dropout.p >= 0 && dropout.p < 1))
    throw Error(fmt::format("dropout: the probability must lie in [0, 1), not {}", dropout.p));
}

DropoutShape mask_of(const Tensor& x, const Dropout& dropout, Mode mode) {
  return {static_cast<int>(x.dim(0)), x.count() / x.dim(0), dropout.p, mode.seed, mode.step, dropout.layer};
}

}  // namespace

Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv1dOptions& options) {
  const Conv1dShape shape = conv_shape(x, w, options);
  check_bias("conv1d", w, bias, shape.C_out);
  const Device device = x.device();
  Queue queue = queue_of("conv1d", {&x, &w, &bias});
  Tensor y = Tensor::empty({shape.N, shape.L_out(), shape.C_out}, device, x.dtype());
  conv1d_kernels(device).forward(queue, shape, x.series(), {}, w.data(), data_or_null(bias), y.series(), {});
  return record("conv1d", y, {&x, &w, &bias}, [shape, x, w](const Tensor& dy, InputGradients& gradients) {
    conv_backward(dy.device(), shape, {.raw = x}, w, dy, {}, gradients, gradients.target(2));
  });
}

Activation conv_bn(const Activation& x, const Tensor& w, const Tensor& bias, const BatchNorm& norm,
                   const Conv1dOptions& options, bool relu, Mode mode) {
  const Conv1dShape shape = conv_shape(x.raw, w, options);
  check_bias("conv1d", w, bias, shape.C_out);
  const Device device = x.raw.device();
  Queue queue = queue_of("conv1d", {&x.raw, &x.scale, &x.shift, &w, &bias});
  Tensor y = Tensor::empty({shape.N, shape.L_out(), shape.C_out}, device, x.raw.dtype());
  Tensor mean_and_m2;
  int piece_rows = shape.L_out();
  RecordMoments moments;
  if (mode.training) {
    mean_and_m2 = Tensor::empty({2, shape.N, most_pieces(shape.L_out()), shape.C_out}, device);
    moments = {mean_and_m2.data(), mean_and_m2.data() + mean_and_m2.count() / 2, &piece_rows};
  }
  conv1d_kernels(device).forward(queue, shape, x.raw.series(), pending_of(x), w.data(), data_or_null(bias), y.series(),
                                 moments);
  const Normalized n = normalize(y, moments, norm, mode);

  const Activation output{y, n.scale, n.shift, n.shape.groups, relu, n.mean};
  y = record(
      "conv_bn", y, {&x.raw, &w, &norm.gamma, &norm.beta, &bias},
      [shape, x, w, output, n, eps = norm.eps](const Tensor& dz, InputGradients& gradients) {
        const Tensor correction = pending_gradient(output, n, eps, dz, gradients);
        const PendingGradient pending{output_of(output), correction.data(), correction.data() + correction.count() / 2};
        conv_backward(dz.device(), shape, x, w, dz, pending, gradients, gradients.target(4));
      });
  return {y, n.scale, n.shift, n.shape.groups, relu, n.mean};
}

Activation conv_bn_relu(const Activation& x, const Tensor& w, const BatchNorm& norm, const Conv1dOptions& options,
                        Mode mode) {
  return conv_bn(x, w, {}, norm, options, true, mode);
}

Tensor batch_norm(const Tensor& x, const BatchNorm& norm, Mode mode) {
  const Normalized n = normalize(x, {}, norm, mode);
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype());
  Queue queue(x.device());
  batch_norm_kernels(x.device()).apply(queue, n.shape, x.series(), n.scale.data(), n.shift.data(), false, y.series());
  return record("batch_norm", y, {&x, &norm.gamma, &norm.beta},
                [x, n, eps = norm.eps](const Tensor& dy, InputGradients& gradients) {
                  norm_backward(x, n, eps, false, dy, gradients.target(0), gradients.target(1), gradients.target(2));
                });
}

Tensor value_of(const Activation& x) {
  if (!x.scale) return x.raw;
  const Tensor y = applied(x);
  return record("value_of", y, {&x.raw}, [](const Tensor& dy, InputGradients& gradients) {
    Queue queue(dy.device());
    const GradientTarget dz = gradients.target(0);
    elementwise_kernels(dy.device()).scale(queue, dy.count(), 1, dy.series(), dz.data, dz.mode);
  });
}

Tensor dropout(const Tensor& x, const Dropout& dropout, Mode mode) {
  check(dropout);
  if (!mode.drops || dropout.p == 0) return x;
  const DropoutShape shape = mask_of(x, dropout, mode);
  Queue queue(x.device());
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype());
  elementwise_kernels(x.device()).dropout(queue, shape, x.series(), y.series(), GradientMode::overwrite);
  return record("dropout", y, {&x}, [shape](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    elementwise_kernels(dy.device()).dropout(backward_queue, shape, dy.series(), dx.data, dx.mode);
  });
}

Tensor residual(const Activation& x, const Activation& shortcut, const Dropout& dropout, Mode mode) {
  check(dropout);
  require(x.raw.shape() == shortcut.raw.shape(), "residual", "a shortcut of the shape " + x.raw.shape().text(),
          shortcut.raw);
  require(x.raw.shape().rank() == 3, "residual", "inputs [N, L, C]", x.raw);
  Queue queue = queue_of("residual", {&x.raw, &x.scale, &shortcut.raw, &shortcut.scale});
  const ResidualShape shape{static_cast<int>(x.raw.dim(0)), static_cast<int>(x.raw.dim(1)),
                            static_cast<int>(x.raw.dim(2))};
  const DropoutShape mask = mode.drops && dropout.p > 0 ? mask_of(x.raw, dropout, mode) : DropoutShape{};
  const Tensor y = Tensor::empty(x.raw.shape(), x.raw.device(), x.raw.dtype());
  elementwise_kernels(y.device())
      .residual(queue, shape, x.raw.series(), pending_of(x), shortcut.raw.series(), pending_of(shortcut), mask,
                y.series());
  return record("residual", y, {&x.raw, &shortcut.raw}, [shape, y, mask](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    // Asked for in the order of writing: both may be one tensor's.
    const GradientTarget dshortcut = gradients.target(1), dx = gradients.target(0);
    elementwise_kernels(dy.device())
        .residual_backward(backward_queue, shape, y.series(), dy.series(), mask, dx.data, dx.mode, dshortcut.data,
                           dshortcut.mode);
  });
}

}  // namespace systole
