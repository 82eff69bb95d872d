#include "engine/feature_losses.h"

#include <fmt/format.h>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/contrastive/feature_loss.h"
#include "kernels/linear/linear.h"

namespace systole {
namespace {

using namespace kernels;

void require_two_views(const char* operation, const Tensor& x) {
  if (x.shape().rank() != 2 || x.dim(0) % 2 != 0)
    throw Error(
        fmt::format("{}: expected the rows of two views [2N, D], found the shape {}", operation, x.shape().text()));
}

/// Half of a tensor [2, …] or [2N, …]: what belongs to one of the views.
float* view_of(const Tensor& both, int view) {
  return both.data() + view * both.count() / 2;
}

/// What brings columns to mean 0 and variance 1, or to mean 0 alone; the views are groups of a BatchNorm.
struct Columns {
  BatchNormShape shape;
  Tensor mean, var, scale, shift;  // [2, D]

  explicit Columns(const Tensor& x) : shape{2, static_cast<int>(x.dim(0)), 1, static_cast<int>(x.dim(1))} {
    for (Tensor* values : {&mean, &var, &scale, &shift}) *values = Tensor::empty({2, shape.C}, x.device());
  }

  /// y, which may be x, from x [2N, D].
  void center(const Tensor& x, const Tensor& y) const { apply(x, nullptr, 0, y); }
  void standardize(const Tensor& x, float eps, const Tensor& y) const { apply(x, var.data(), eps, y); }

 private:
  void apply(const Tensor& x, const float* variance, float eps, const Tensor& y) const {
    Queue queue(x.device());
    const BatchNormKernels& bn = batch_norm_kernels(x.device());
    bn.statistics(queue, shape, x.data(), mean.data(), var.data());
    feature_loss_kernels(x.device())
        .column_affine(queue, mean.count(), mean.data(), variance, eps, scale.data(), shift.data());
    bn.apply(queue, shape, x.data(), scale.data(), shift.data(), false, y.data());
  }
};

/// x [2N, D] with columns of mean 0 in each view. Centred twice: means are floats, and what their rounding leaves over,
/// the same in all rows of a column, would be multiplied by the steep slopes of narrow columns.
Tensor centered(const Tensor& x) {
  const Columns columns(x);
  const Tensor rows = Tensor::empty(x.shape(), x.device());
  columns.center(x, rows);
  columns.center(rows, rows);
  return rows;
}

/// x [2N, D] with columns of mean 0 and variance 1 in each view, and the way back.
struct Standardized {
  static constexpr float kEps = 1e-5f;  // of BatchNorm1d

  Tensor x, rows;
  Columns columns;

  explicit Standardized(const Tensor& input) : x(input), rows(Tensor::empty(x.shape(), x.device())), columns(x) {
    columns.standardize(x, kEps, rows);
  }

  void backward(const Tensor& drows, GradientTarget dx) const {
    Queue queue(x.device());
    const Tensor unwanted = Tensor::empty({2, x.dim(1)}, x.device());  // the gradients of a γ and a β
    batch_norm_kernels(x.device())
        .backward(queue, columns.shape, x.data(), drows.data(), columns.mean.data(), columns.var.data(), kEps,
                  columns.scale.data(), columns.shift.data(), false, dx.data, dx.mode, view_of(unwanted, 0),
                  view_of(unwanted, 1), GradientMode::overwrite);
  }
};

}  // namespace

Tensor cosine_loss(const Tensor& prediction, const Tensor& target) {
  if (prediction.shape().rank() != 2 || !(target.shape() == prediction.shape()) ||
      target.device() != prediction.device())
    throw Error(fmt::format("cosine_loss: expected predictions and targets [N, D], found {} on {} and {} on {}",
                            prediction.shape().text(), name(prediction.device()), target.shape().text(),
                            name(target.device())));
  const CosineShape shape{static_cast<int>(prediction.dim(0)), static_cast<int>(prediction.dim(1))};
  check(shape);
  Queue queue(prediction.device());
  Tensor loss = Tensor::empty({1}, prediction.device());
  feature_loss_kernels(prediction.device()).cosine_forward(queue, shape, prediction.data(), target.data(), loss.data());
  return record("cosine_loss", loss, {&prediction, &target},
                [shape, prediction, target](const Tensor& dloss, InputGradients& gradients) {
                  Queue backward_queue(dloss.device());
                  const GradientTarget dp = gradients.target(0), dt = gradients.target(1);
                  feature_loss_kernels(dloss.device())
                      .cosine_backward(backward_queue, shape, prediction.data(), target.data(), dloss.data(), dp.data,
                                       dp.mode, dt.data, dt.mode);
                });
}

Tensor barlow_twins(const Tensor& x, float off_diagonal) {
  require_two_views("barlow_twins", x);
  const BarlowTwinsShape shape{static_cast<int>(x.dim(0) / 2), static_cast<int>(x.dim(1)), off_diagonal};
  check(shape);
  const Device device = x.device();
  Queue queue(device);
  const Standardized views(x);
  const LinearShape product{shape.N, shape.D, shape.D};
  const Tensor sums = Tensor::empty({shape.D, shape.D}, device);
  linear_kernels(device).weight_gradient(queue, product, view_of(views.rows, 0), view_of(views.rows, 1), sums.data(),
                                         nullptr, GradientMode::overwrite);
  Tensor loss = Tensor::empty({1}, device);
  feature_loss_kernels(device).barlow_twins_forward(queue, shape, sums.data(), loss.data());
  return record("barlow_twins", loss, {&x},
                [shape, product, views, sums](const Tensor& dloss, InputGradients& gradients) {
                  Queue backward_queue(dloss.device());
                  const LinearKernels& linear_kernel = linear_kernels(dloss.device());
                  float* G = sums.data();  // in place: a graph is walked once
                  feature_loss_kernels(dloss.device()).barlow_twins_backward(backward_queue, shape, G, dloss.data(), G);
                  const Tensor drows = Tensor::empty(views.rows.shape(), dloss.device());
                  linear_kernel.input_gradient(backward_queue, product, view_of(views.rows, 1), G, view_of(drows, 0),
                                               GradientMode::overwrite);
                  linear_kernel.forward(backward_queue, product, view_of(views.rows, 0), G, nullptr, view_of(drows, 1));
                  views.backward(drows, gradients.target(0));
                });
}

Tensor vicreg(const Tensor& x, const VicregWeights& weights) {
  require_two_views("vicreg", x);
  const VicregShape shape{static_cast<int>(x.dim(0) / 2), static_cast<int>(x.dim(1)), weights.invariance,
                          weights.variance, weights.covariance};
  check(shape);
  const Device device = x.device();
  Queue queue(device);
  const LinearShape product{shape.N, shape.D, shape.D};
  const Tensor rows = centered(x), sums = Tensor::empty({2, shape.D, shape.D}, device);
  for (int view : {0, 1})
    linear_kernels(device).weight_gradient(queue, product, view_of(rows, view), view_of(rows, view),
                                           view_of(sums, view), nullptr, GradientMode::overwrite);
  Tensor loss = Tensor::empty({1}, device);
  feature_loss_kernels(device).vicreg_forward(queue, shape, x.data(), sums.data(), loss.data());
  return record("vicreg", loss, {&x}, [shape, product, x, rows, sums](const Tensor& dloss, InputGradients& gradients) {
    Queue backward_queue(dloss.device());
    const FeatureLossKernels& kernel = feature_loss_kernels(dloss.device());
    const GradientTarget dx = gradients.target(0);
    kernel.vicreg_invariance_backward(backward_queue, shape, x.data(), dloss.data(), dx.data, dx.mode);
    kernel.vicreg_backward(backward_queue, shape, sums.data(), dloss.data(), sums.data());  // a graph is walked once
    for (int view : {0, 1})  // Xᶜ Gᵀ, which is Xᶜ G: input_gradient is the product that can add
      linear_kernels(dloss.device())
          .input_gradient(backward_queue, product, view_of(rows, view), view_of(sums, view),
                          dx.data + view * x.count() / 2, GradientMode::accumulate);
  });
}

}  // namespace systole
