#include "engine/operations.h"

#include "engine/operation_checks.h"
#include "kernels/classification/classification.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/pool/pool.h"

namespace systole {

using namespace kernels;

namespace {

Tensor joined(const char* operation, const ConcatenateShape& shape, const Shape& output, const Tensor& a,
              const Tensor& b) {
  Queue queue = queue_of(operation, {&a, &b});
  Tensor y = Tensor::empty(output, a.device(), a.dtype());
  elementwise_kernels(a.device()).concatenate(queue, shape, a.series(), b.series(), y.series());
  return record(operation, y, {&a, &b}, [shape](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget da = gradients.target(0), db = gradients.target(1);
    elementwise_kernels(dy.device())
        .concatenate_backward(backward_queue, shape, dy.series(), da.data, da.mode, db.data, db.mode);
  });
}

Tensor maxima(const char* operation, const MaxPoolShape& shape, const Shape& output, const Tensor& x) {
  Queue queue(x.device());
  Tensor y = Tensor::empty(output, x.device(), output.rank() == 3 ? x.dtype() : DType::f32);
  const Tensor index = Tensor::empty(output, x.device(), DType::i32);
  pool_kernels(x.device()).max_forward(queue, shape, x.series(), y.series(), index.data<int32_t>());
  return record(operation, y, {&x}, [shape, index](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    pool_kernels(dy.device()).max_backward(backward_queue, shape, dy.series(), index.data<int32_t>(), dx.data, dx.mode);
  });
}

}  // namespace

DType series_type() {
  const bool ours = convolution() != Convolution::cudnn;  // which is called with f32
  return Queue().precision() == Precision::bf16 && ours ? DType::bf16 : DType::f32;
}

Tensor relu(const Tensor& x) {
  Queue queue(x.device());
  Tensor y = Tensor::empty(x.shape(), x.device(), x.dtype());
  elementwise_kernels(x.device()).relu(queue, x.count(), x.series(), y.series());
  return record("relu", y, {&x}, [output = y](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dx = gradients.target(0);
    elementwise_kernels(dy.device())
        .relu_backward(backward_queue, dy.count(), output.series(), dy.series(), dx.data, dx.mode);
  });
}

Tensor add(const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape(), "add", "the shape " + a.shape().text(), b);
  Queue queue = queue_of("add", {&a, &b});
  Tensor y = Tensor::empty(a.shape(), a.device(), a.dtype());
  elementwise_kernels(a.device()).add(queue, a.count(), a.series(), b.series(), y.series());
  return record("add", y, {&a, &b}, [](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    for (size_t i = 0; i < 2; ++i)
      if (const GradientTarget d = gradients.target(i))
        elementwise_kernels(dy.device()).scale(backward_queue, dy.count(), 1.0f, dy.series(), d.data, d.mode);
  });
}

Tensor concatenate(const Tensor& a, const Tensor& b) {
  const int rank = a.shape().rank();
  require(
      rank >= 2 && rank <= 3 && b.shape().rank() == rank && a.dim(0) == b.dim(0) && (rank == 2 || a.dim(1) == b.dim(1)),
      "concatenate", "the rows of " + a.shape().text(), b);
  const int C_a = static_cast<int>(a.dim(rank - 1)), C_b = static_cast<int>(b.dim(rank - 1));
  const Shape output = rank == 2 ? Shape{a.dim(0), C_a + C_b} : Shape{a.dim(0), a.dim(1), C_a + C_b};
  return joined("concatenate", {a.count() / C_a, C_a, C_b}, output, a, b);
}

Tensor split_leads(const Tensor& x, int views) {
  require(x.shape().rank() == 3 && views >= 1 && x.dim(0) % views == 0, "split_leads",
          fmt::format("{} views of records [N, L, C]", views), x);
  if (x.node()) throw Error("split_leads: no gradient flows through it; expected signals");
  const SplitLeadsShape shape{views, static_cast<int>(x.dim(0)) / views, static_cast<int>(x.dim(1)),
                              static_cast<int>(x.dim(2))};
  Tensor y = Tensor::empty({x.dim(0) * x.dim(2), x.dim(1), 1}, x.device(), x.dtype());
  Queue queue(x.device());
  elementwise_kernels(x.device()).split_leads(queue, shape, x.series(), y.series());
  return y;
}

Tensor split_leads(const Tensor& x, const std::vector<int>& leads, int views) {
  const Tensor all = split_leads(x, views);  // [views · C · N, L, 1]
  const auto C = static_cast<int>(x.dim(2)), chosen = static_cast<int>(leads.size());
  const int64_t N = x.dim(0) / views, L = x.dim(1);
  Tensor y = Tensor::empty({int64_t{views} * chosen * N, L, 1}, x.device(), x.dtype());
  for (int view = 0; view < views; ++view)
    for (int i = 0; i < chosen; ++i) {
      const int lead = leads[static_cast<size_t>(i)];
      require(lead >= 0 && lead < C, "split_leads", fmt::format("records [N, L, C] that have the lead {}", lead), x);
      y.slice((int64_t{view} * chosen + i) * N * L, {N, L})
          .copy_from(all.slice((int64_t{view} * C + lead) * N * L, {N, L}));
    }
  return y;
}

Tensor gather(const Tensor& table, const Tensor& numbers) {
  require(table.shape().rank() == 2 && table.dtype() == DType::f32, "gather", "a table [rows, D] in f32", table);
  require(numbers.shape().rank() == 1 && numbers.dtype() == DType::i32, "gather", "numbers of rows, i32 [N]", numbers);
  if (table.node()) throw Error("gather: no gradient flows through it; expected data");
  Tensor y = Tensor::empty({numbers.dim(0), table.dim(1)}, table.device());
  Queue queue(table.device());
  elementwise_kernels(table.device())
      .gather(queue, {static_cast<int>(numbers.dim(0)), static_cast<int>(table.dim(1))}, table.data<float>(),
              numbers.data<int32_t>(), y.data<float>());
  return y;
}

Tensor join_slots(const Tensor& a, const Tensor& b, int views) {
  require(a.shape().rank() == 2 && views >= 1 && a.dim(0) % views == 0, "join_slots",
          fmt::format("{} views of records [N, D]", views), a);
  require(a.shape() == b.shape(), "join_slots", "the shape " + a.shape().text(), b);
  const int slot = static_cast<int>(a.count() / views);  // one slot of a view: a row for the kernel
  return joined("join_slots", {views, slot, slot}, {2 * a.dim(0), a.dim(1)}, a, b);
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
    pool_kernels(dy.device()).mean_backward(backward_queue, shape, dy.data(), dx.data, dx.mode, {});
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
  pool_kernels(x.raw.device()).mean_forward(queue, shape, x.raw.series(), pending_of(x), y.data());
  const Activation normalized = x.mean ? x : Activation{};
  return record("mean_over_time", y, {&x.raw}, [shape, normalized](const Tensor& dy, InputGradients& gradients) {
    Queue backward_queue(dy.device());
    const GradientTarget dz = gradients.target(0);
    const WantedSums sums(normalized, dz, kernels::most_pieces(shape.L));
    pool_kernels(dy.device()).mean_backward(backward_queue, shape, dy.data(), dz.data, dz.mode, sums.wanted());
    sums.leave(gradients);
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
  return maxima("max_pool", shape, {shape.N, shape.L_out(), shape.C}, x);
}

Tensor max_over_time(const Tensor& x) {
  require(x.shape().rank() == 3, "max_over_time", "an input [N, L, C]", x);
  const int L = static_cast<int>(x.dim(1));
  const MaxPoolShape whole{static_cast<int>(x.dim(0)), L, static_cast<int>(x.dim(2)), L, 1};
  return maxima("max_over_time", whole, {whole.N, whole.C}, x);
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
