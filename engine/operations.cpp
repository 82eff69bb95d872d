#include "engine/operations.h"

#include <fmt/format.h>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/classification/classification.h"
#include "kernels/common/memory.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/pool/pool.h"

namespace systole {
namespace {

using namespace kernels;

void require(bool condition, const char* operation, const std::string& expected, const Tensor& found) {
  if (!condition)
    throw Error(fmt::format("{}: expected {}, found the shape {}", operation, expected, found.shape().text()));
}

/// The queue of the device that all tensors lie on.
Queue queue_of(const char* operation, std::initializer_list<const Tensor*> tensors) {
  const Device device = (*tensors.begin())->device();
  for (const Tensor* t : tensors)
    if (*t && t->device() != device)
      throw Error(fmt::format("{}: a tensor of shape {} lies on {}, another on {}", operation, t->shape().text(),
                              name(t->device()), name(device)));
  return Queue(device);
}

const float* data_or_null(const Tensor& t) {
  return t ? t.data() : nullptr;
}

PendingAffine pending_of(const Activation& x) {
  return {data_or_null(x.scale), data_or_null(x.shift), x.groups, x.relu};
}

/// A weight and its bias get their gradients from one kernel, in one mode: both are leaves, or neither.
void check_bias(const char* operation, const Tensor& w, const Tensor& bias, int64_t count) {
  if (!bias) return;
  require(bias.count() == count, operation, fmt::format("a bias [{}]", count), bias);
  if ((bias.node() != nullptr) != (w.node() != nullptr))
    throw Error(fmt::format("{}: a weight and its bias are trained together or not at all", operation));
}

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

NormalizedOutput output_of(const Activation& x) {
  return {x.raw.data(), x.mean.data(), x.scale.data(), x.shift.data(), x.groups, x.relu};
}

/// Sums [2, N, C] of a gradient dz of the activation's shape, as the kernels write them.
RecordGradientSums sums_in(const Tensor& sums, const Activation& x) {
  return {output_of(x), sums.data(), sums.data() + sums.count() / 2};
}

/// The convolution's two gradients: of the weight (and bias) and of the input x. Where a BatchNorm waits in front of x,
/// its sums are left with the gradient. `pending`: dy is that of a normalisation's output.
void conv_backward(Device device, const Conv1dShape& shape, const Activation& x, const Tensor& w, const Tensor& dy,
                   const PendingGradient& pending, InputGradients& gradients, GradientTarget dbias) {
  Queue queue(device);
  const Conv1dKernels& conv = conv1d_kernels(device);
  const GradientTarget dx = gradients.target(0), dw = gradients.target(1);
  if (dw)
    conv.weight_gradient(queue, shape, x.raw.data(), pending_of(x), dy.data(), pending, dw.data, dbias.data, dw.mode);
  if (!dx) return;
  RecordGradientSums wanted;
  Tensor sums;
  if (x.mean && dx.mode == GradientMode::overwrite) {
    sums = Tensor::empty({2, shape.N, shape.C_in}, device);
    wanted = sums_in(sums, x);
  }
  conv.input_gradient(queue, shape, dy.data(), pending, w.data(), dx.data, dx.mode, wanted);
  if (sums) gradients.leave_sums(0, sums);
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

/// Running statistics in evaluation; those of the batch, from x or from its record moments, in training.
Normalized normalize(const Tensor& x, const Tensor& record_mean, const Tensor& record_m2, const BatchNorm& norm,
                     Mode mode) {
  const Device device = x.device();
  Queue queue = queue_of("batch_norm", {&x, &norm.gamma, &norm.beta, &norm.running_mean, &norm.running_var});
  const BatchNormKernels& bn = batch_norm_kernels(device);
  Normalized n{norm_shape(x, norm, mode), norm.running_mean, norm.running_var, {}, {}, mode.training};
  const Shape per_group{n.shape.groups, n.shape.C};
  if (mode.training) {
    n.mean = Tensor::empty(per_group, device);
    n.var = Tensor::empty(per_group, device);
    if (record_mean)
      bn.combine(queue, n.shape, record_mean.data(), record_m2.data(), n.mean.data(), n.var.data());
    else
      bn.statistics(queue, n.shape, x.data(), n.mean.data(), n.var.data());
    bn.update_running(queue, n.shape, n.mean.data(), n.var.data(), mode.momentum, norm.running_mean.data(),
                      norm.running_var.data());
    *norm.batches_tracked += n.shape.groups;
  }
  n.scale = Tensor::empty(per_group, device);
  n.shift = Tensor::empty(per_group, device);
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
    unwanted_dx = Tensor::empty(x.shape(), device);
    dx = {unwanted_dx.data(), GradientMode::overwrite};
  }
  const ParameterTargets parameters(n.shape.C, device, dgamma, dbeta);
  const auto& kernel = [&](const auto& entry) {
    entry(queue, n.shape, x.data(), dy.data(), n.mean.data(), n.var.data(), eps, n.scale.data(), n.shift.data(), relu,
          dx.data, dx.mode, parameters.dgamma.data, parameters.dbeta.data, parameters.dgamma.mode);
  };
  n.training ? kernel(bn.backward) : kernel(bn.backward_evaluation);
}

/// For conv_bn_relu, whose normalisation is undone by the convolutions that read dz: offset and slope [2, G, C] of
/// PendingGradient. The gradients of gamma and beta (inputs 2 and 3) go to their targets.
Tensor pending_gradient(const Activation& output, const Normalized& n, float eps, const Tensor& dz,
                        InputGradients& gradients) {
  const Device device = dz.device();
  Queue queue(device);
  const BatchNormKernels& bn = batch_norm_kernels(device);
  Tensor sums = gradients.sums();
  if (!sums) {
    sums = Tensor::empty({2, n.shape.N, n.shape.C}, device);
    bn.backward_sums(queue, n.shape, dz.data(), sums_in(sums, output));
  }
  const ParameterTargets parameters(n.shape.C, device, gradients.target(2), gradients.target(3));
  Tensor correction = Tensor::empty({2, n.shape.groups, n.shape.C}, device);
  bn.backward_finish(queue, n.shape, sums.data(), sums.data() + sums.count() / 2, n.var.data(), eps, n.scale.data(),
                     n.training, correction.data(), correction.data() + correction.count() / 2, parameters.dgamma.data,
                     parameters.dbeta.data, parameters.dgamma.mode);
  return correction;
}

}  // namespace

Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv1dOptions& options) {
  const Conv1dShape shape = conv_shape(x, w, options);
  check_bias("conv1d", w, bias, shape.C_out);
  const Device device = x.device();
  Queue queue = queue_of("conv1d", {&x, &w, &bias});
  Tensor y = Tensor::empty({shape.N, shape.L_out(), shape.C_out}, device);
  conv1d_kernels(device).forward(queue, shape, x.data(), {}, w.data(), data_or_null(bias), y.data(), {});
  return record("conv1d", y, {&x, &w, &bias}, [shape, x, w](const Tensor& dy, InputGradients& gradients) {
    conv_backward(dy.device(), shape, {.raw = x}, w, dy, {}, gradients, gradients.target(2));
  });
}

Activation conv_bn_relu(const Activation& x, const Tensor& w, const BatchNorm& norm, const Conv1dOptions& options,
                        Mode mode) {
  const Conv1dShape shape = conv_shape(x.raw, w, options);
  const Device device = x.raw.device();
  Queue queue = queue_of("conv1d", {&x.raw, &x.scale, &x.shift, &w});
  Tensor y = Tensor::empty({shape.N, shape.L_out(), shape.C_out}, device);
  Tensor record_mean, record_m2;
  RecordMoments moments;
  if (mode.training) {
    record_mean = Tensor::empty({shape.N, shape.C_out}, device);
    record_m2 = Tensor::empty({shape.N, shape.C_out}, device);
    moments = {record_mean.data(), record_m2.data()};
  }
  conv1d_kernels(device).forward(queue, shape, x.raw.data(), pending_of(x), w.data(), nullptr, y.data(), moments);
  const Normalized n = normalize(y, record_mean, record_m2, norm, mode);

  const Activation output{y, n.scale, n.shift, n.shape.groups, true, n.mean};
  y = record(
      "conv_bn_relu", y, {&x.raw, &w, &norm.gamma, &norm.beta},
      [shape, x, w, output, n, eps = norm.eps](const Tensor& dz, InputGradients& gradients) {
        const Tensor correction = pending_gradient(output, n, eps, dz, gradients);
        const PendingGradient pending{output_of(output), correction.data(), correction.data() + correction.count() / 2};
        conv_backward(dz.device(), shape, x, w, dz, pending, gradients, {});
      });
  return {y, n.scale, n.shift, n.shape.groups, true, n.mean};
}

Tensor batch_norm(const Tensor& x, const BatchNorm& norm, Mode mode) {
  const Normalized n = normalize(x, {}, {}, norm, mode);
  Tensor y = Tensor::empty(x.shape(), x.device());
  Queue queue(x.device());
  batch_norm_kernels(x.device()).apply(queue, n.shape, x.data(), n.scale.data(), n.shift.data(), false, y.data());
  return record("batch_norm", y, {&x, &norm.gamma, &norm.beta},
                [x, n, eps = norm.eps](const Tensor& dy, InputGradients& gradients) {
                  norm_backward(x, n, eps, false, dy, gradients.target(0), gradients.target(1), gradients.target(2));
                });
}

Tensor relu(const Tensor& x) {
  Queue queue(x.device());
  Tensor y = Tensor::empty(x.shape(), x.device());
  elementwise_kernels(x.device()).relu(queue, x.count(), x.data(), y.data());
  const Tensor output = y;
  return record("relu", y, {&x}, [output](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    elementwise_kernels(dy.device())
        .relu_backward(backward_queue, dy.count(), output.data(), dy.data(), dx.data, dx.mode);
  });
}

Tensor add(const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape(), "add", "the shape " + a.shape().text(), b);
  Queue queue = queue_of("add", {&a, &b});
  Tensor y = Tensor::empty(a.shape(), a.device());
  elementwise_kernels(a.device()).add(queue, a.count(), a.data(), b.data(), y.data());
  return record("add", y, {&a, &b}, [](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    for (size_t i = 0; i < 2; ++i)
      if (const GradientTarget d = gradients.target(i))
        elementwise_kernels(dy.device()).scale(backward_queue, dy.count(), 1.0f, dy.data(), d.data, d.mode);
  });
}

Tensor concatenate(const Tensor& a, const Tensor& b) {
  const int rank = a.shape().rank();
  require(
      rank >= 2 && rank <= 3 && b.shape().rank() == rank && a.dim(0) == b.dim(0) && (rank == 2 || a.dim(1) == b.dim(1)),
      "concatenate", "the rows of " + a.shape().text(), b);
  const int C_a = static_cast<int>(a.dim(rank - 1)), C_b = static_cast<int>(b.dim(rank - 1));
  const ConcatenateShape shape{a.count() / C_a, C_a, C_b};
  Queue queue = queue_of("concatenate", {&a, &b});
  Tensor y = Tensor::empty(rank == 2 ? Shape{a.dim(0), C_a + C_b} : Shape{a.dim(0), a.dim(1), C_a + C_b}, a.device());
  elementwise_kernels(a.device()).concatenate(queue, shape, a.data(), b.data(), y.data());
  return record("concatenate", y, {&a, &b}, [shape](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget da = gradients.target(0), db = gradients.target(1);
    elementwise_kernels(dy.device())
        .concatenate_backward(backward_queue, shape, dy.data(), da.data, da.mode, db.data, db.mode);
  });
}

Tensor split_leads(const Tensor& x, int views) {
  require(x.shape().rank() == 3 && views >= 1 && x.dim(0) % views == 0, "split_leads",
          fmt::format("{} views of records [N, L, C]", views), x);
  if (x.node()) throw Error("split_leads: no gradient flows through it; expected signals");
  const SplitLeadsShape shape{views, static_cast<int>(x.dim(0)) / views, static_cast<int>(x.dim(1)),
                              static_cast<int>(x.dim(2))};
  Tensor y = Tensor::empty({x.dim(0) * x.dim(2), x.dim(1), 1}, x.device());
  Queue queue(x.device());
  elementwise_kernels(x.device()).split_leads(queue, shape, x.data(), y.data());
  return y;
}

Tensor mean_over_leads(const Tensor& x, int leads, int views) {
  require(x.shape().rank() == 2 && leads >= 1 && views >= 1 && x.dim(0) % (int64_t{views} * leads) == 0,
          "mean_over_leads", fmt::format("{} views of {} leads of records [N, D]", views, leads), x);
  const int64_t N = x.dim(0) / leads / views;
  const MeanShape shape{views, leads, static_cast<int>(N * x.dim(1))};
  Queue queue(x.device());
  Tensor y = Tensor::empty({views * N, x.dim(1)}, x.device());
  pool_kernels(x.device()).mean_forward(queue, shape, x.data(), {}, y.data());
  return record("mean_over_leads", y, {&x}, [shape](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    pool_kernels(dy.device()).mean_backward(backward_queue, shape, dy.data(), dx.data, dx.mode);
  });
}

Tensor dropout(const Tensor& x, float p, const DropoutStream& stream, Mode mode) {
  if (!(p >= 0 && p < 1)) throw Error(fmt::format("dropout: the probability must lie in [0, 1), not {}", p));
  if (!mode.training || p == 0) return x;
  const DropoutShape shape{static_cast<int>(x.dim(0)), x.count() / x.dim(0), p, stream.seed, stream.step, stream.layer};
  Queue queue(x.device());
  Tensor y = Tensor::empty(x.shape(), x.device());
  elementwise_kernels(x.device()).dropout(queue, shape, x.data(), y.data(), GradientMode::overwrite);
  return record("dropout", y, {&x}, [shape](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    elementwise_kernels(dy.device()).dropout(backward_queue, shape, dy.data(), dx.data, dx.mode);
  });
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias) {
  require(x.shape().rank() == 2, "linear", "an input [M, D]", x);
  require(w.shape().rank() == 2 && w.dim(0) == x.dim(1), "linear", fmt::format("a weight [{}, D_out]", x.dim(1)), w);
  check_bias("linear", w, bias, w.dim(1));
  const LinearShape shape{static_cast<int>(x.dim(0)), static_cast<int>(x.dim(1)), static_cast<int>(w.dim(1))};
  const Device device = x.device();
  Queue queue = queue_of("linear", {&x, &w, &bias});
  Tensor y = Tensor::empty({shape.M, shape.D_out}, device);
  linear_kernels(device).forward(queue, shape, x.data(), w.data(), data_or_null(bias), y.data());
  return record("linear", y, {&x, &w, &bias}, [shape, x, w](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const LinearKernels& kernel = linear_kernels(dy.device());
    const GradientTarget dx = gradients.target(0), dw = gradients.target(1), dbias = gradients.target(2);
    if (dw) kernel.weight_gradient(backward_queue, shape, x.data(), dy.data(), dw.data, dbias.data, dw.mode);
    if (dx) kernel.input_gradient(backward_queue, shape, dy.data(), w.data(), dx.data, dx.mode);
  });
}

Tensor mean_over_time(const Activation& x) {
  require(x.raw.shape().rank() == 3, "mean_over_time", "an input [N, L, C]", x.raw);
  const MeanShape shape{static_cast<int>(x.raw.dim(0)), static_cast<int>(x.raw.dim(1)), static_cast<int>(x.raw.dim(2))};
  Queue queue(x.raw.device());
  Tensor y = Tensor::empty({shape.N, shape.C}, x.raw.device());
  pool_kernels(x.raw.device()).mean_forward(queue, shape, x.raw.data(), pending_of(x), y.data());
  return record("mean_over_time", y, {&x.raw}, [shape](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dz = gradients.target(0);
    pool_kernels(dy.device()).mean_backward(backward_queue, shape, dy.data(), dz.data, dz.mode);
  });
}

Tensor mean_over_time(const Tensor& x) {
  return mean_over_time(Activation{.raw = x});
}

Tensor max_pool(const Tensor& x, int window, int stride, int padding) {
  require(x.shape().rank() == 3, "max_pool", "an input [N, L, C]", x);
  const MaxPoolShape shape{
      static_cast<int>(x.dim(0)), static_cast<int>(x.dim(1)), static_cast<int>(x.dim(2)), window, stride, padding};
  check(shape);
  Queue queue(x.device());
  const Shape output{shape.N, shape.L_out(), shape.C};
  Tensor y = Tensor::empty(output, x.device());
  const Tensor index = Tensor::empty(output, x.device(), DType::i32);
  pool_kernels(x.device()).max_forward(queue, shape, x.data(), y.data(), index.data<int32_t>());
  return record("max_pool", y, {&x}, [shape, index](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    pool_kernels(dy.device()).max_backward(backward_queue, shape, dy.data(), index.data<int32_t>(), dx.data, dx.mode);
  });
}

Tensor rows(const Tensor& x, int64_t begin, int64_t count) {
  require(x.shape().rank() == 2 && begin >= 0 && count >= 1 && begin + count <= x.dim(0), "rows",
          fmt::format("at least {} rows [M, D]", begin + count), x);
  const int64_t D = x.dim(1);
  return record(
      "rows", x.slice(begin * D, {count, D}), {&x},
      [begin, D, whole = x.shape()](const Tensor& dy, InputGradients& gradients) {
        Queue backward_queue(dy.device());
        const GradientTarget dx = gradients.target(0);
        if (dx.mode == GradientMode::overwrite)
          fill_zero(backward_queue, dx.data, static_cast<size_t>(whole.count()) * sizeof(float));
        elementwise_kernels(dy.device()).scale(backward_queue, dy.count(), 1, dy.data(), dx.data + begin * D, dx.mode);
      });
}

Tensor bce_with_logits(const Tensor& logits, const Tensor& targets, const BceWeights& weights) {
  require(logits.shape().rank() == 2, "bce_with_logits", "logits [N, C]", logits);
  require(targets.shape() == logits.shape(), "bce_with_logits", "targets of the shape " + logits.shape().text(),
          targets);
  const BceShape shape{static_cast<int>(logits.dim(0)), static_cast<int>(logits.dim(1)), weights.gamma};
  for (const Tensor* weight : {&weights.positive, &weights.negative})
    if (*weight) require(weight->count() == shape.C, "bce_with_logits", fmt::format("{} weights", shape.C), *weight);
  Queue queue = queue_of("bce_with_logits", {&logits, &targets, &weights.positive, &weights.negative});
  Tensor loss = Tensor::empty({1}, logits.device());
  classification_kernels(logits.device())
      .bce_forward(queue, shape, logits.data(), targets.data(), data_or_null(weights.positive),
                   data_or_null(weights.negative), loss.data());
  return record("bce_with_logits", loss, {&logits},
                [shape, logits, targets, weights](const Tensor& dloss, InputGradients& gradients) {
                  Queue backward_queue(dloss.device());
                  const GradientTarget d = gradients.target(0);
                  classification_kernels(dloss.device())
                      .bce_backward(backward_queue, shape, logits.data(), targets.data(),
                                    data_or_null(weights.positive), data_or_null(weights.negative), dloss.data(),
                                    d.data, d.mode);
                });
}

}  // namespace systole
