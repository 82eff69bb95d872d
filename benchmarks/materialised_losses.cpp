#include "benchmarks/materialised_losses.h"

#include <fmt/format.h>
#include <map>
#include <vector>

#include "benchmarks/whole_matrix.h"
#include "engine/operations.h"
#include "engine/pair_tensors.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"

namespace systole::benchmarks {
namespace {

using namespace kernels;
using models::LossParameters;
using models::ViewBatch;

/// The unit rows of two sets, which may be one, and their ids.
struct Pairs {
  Tensor x, y;                 // [A, D], [B, D]
  Tensor row_ids, column_ids;  // i32 [A], [B]
};

LinearShape product_of(const PairShape& shape) {
  return {shape.A, shape.B, shape.D};
}

/// S = X Yᵀ [A, B].
Tensor similarities(const Pairs& p, const PairShape& shape) {
  Queue queue(p.x.device());
  const Tensor s = Tensor::empty({shape.A, shape.B}, p.x.device());
  linear_kernels(p.x.device())
      .input_gradient(queue, product_of(shape), p.x.data(), p.y.data(), s.data(), GradientMode::overwrite);
  return s;
}

/// dX = W Y and dY = Wᵀ X, where they are wanted.
void products_with(const Tensor& w, const Pairs& p, const PairShape& shape, InputGradients& gradients) {
  const Device device = w.device();
  Queue queue(device);
  if (const GradientTarget dx = gradients.target(0)) {
    const Tensor product = Tensor::empty(p.x.shape(), device);
    linear_kernels(device).forward(queue, product_of(shape), w.data(), p.y.data(), nullptr, product.data());
    elementwise_kernels(device).scale(queue, product.count(), 1, product.data(), dx.data, dx.mode);
  }
  if (const GradientTarget dy = gradients.target(1))
    linear_kernels(device).weight_gradient(queue, product_of(shape), w.data(), p.x.data(), dy.data, nullptr, dy.mode);
}

/// What a direction of a loss is, beside its pairs.
struct Softmax {
  float temperature;
  bool same_rows = false, positives_in_denominator = true;
  Directions directions = Directions::rows;
  PairMean mean = PairMean::rows;
  float share = 1;  // of the loss in a sum of several
};

PairShape shape_of(const Pairs& p, const Softmax& o) {
  return {.A = static_cast<int>(p.x.dim(0)),
          .B = static_cast<int>(p.y.dim(0)),
          .D = static_cast<int>(p.x.dim(1)),
          .temperature = o.temperature,
          .same_rows = o.same_rows,
          .positives_in_denominator = o.positives_in_denominator};
}

/// The loss of one direction, by the sums of rows or columns, goes to `loss`; returns what the weights need of each of
/// the `count`.
template <class SumsKernel>
Tensor direction(const SumsKernel& sums_of, int64_t count, const Pairs& p, const Softmax& o, const Tensor& s,
                 float* loss) {
  const Device device = s.device();
  Queue queue(device);
  const Tensor sums = empty_structs<PairSums>(count, device), rows = empty_structs<PairRow>(count, device);
  const Tensor left_out = Tensor::empty({1}, device, DType::i32);
  auto* of_each = structs_in<PairSums>(sums);
  sums_of(queue, shape_of(p, o), s.data(), p.row_ids.data<int32_t>(), p.column_ids.data<int32_t>(), of_each);
  pair_loss_kernels(device).loss(queue, {static_cast<int>(count), o.temperature, o.mean}, of_each, loss,
                                 structs_in<PairRow>(rows), left_out.data<int32_t>());
  return rows;
}

/// S becomes the derivative by S.
void weigh(const Tensor& s, const Pairs& p, const Softmax& o, const Tensor& rows, const Tensor& columns,
           const Tensor& dloss) {
  Queue queue(s.device());
  const Tensor upstream = scaled(dloss, columns ? o.share / 2 : o.share);
  whole_matrix_kernels(s.device())
      .weights(queue, shape_of(p, o), p.row_ids.data<int32_t>(), p.column_ids.data<int32_t>(),
               structs_in<PairRow>(rows), structs_in<PairRow>(columns), upstream.data(), s.data());
}

/// A softmax over the rows, or the mean of that and one over the columns.
Tensor softmax_loss(const Pairs& p, const Softmax& o) {
  if (o.temperature < kPlainTemperature)
    throw Error(fmt::format("a materialised loss at the temperature {}; expected at least {}", o.temperature,
                            kPlainTemperature));
  const Device device = p.x.device();
  const WholeMatrixKernels& kernel = whole_matrix_kernels(device);
  const bool both = o.directions == Directions::both;
  const Tensor losses = Tensor::empty({both ? 2 : 1}, device), s = similarities(p, shape_of(p, o));
  const Tensor rows = direction(kernel.row_sums, p.x.dim(0), p, o, s, losses.data());
  Tensor columns;
  if (both) columns = direction(kernel.column_sums, p.y.dim(0), p, o, s, losses.data() + 1);
  return record("materialised_softmax_loss", scaled(mean_of(losses), o.share), {&p.x, &p.y},
                [p, o, s, rows, columns](const Tensor& dloss, InputGradients& gradients) {
                  weigh(s, p, o, rows, columns, dloss);
                  products_with(s, p, shape_of(p, o), gradients);
                });
}

Tensor sigmoid_loss(const Pairs& p, float temperature, float bias) {
  const PairShape pairs = shape_of(p, {.temperature = temperature});
  const SigmoidShape shape{pairs, bias, pair_count(pairs)};
  Queue queue(p.x.device());
  const Tensor s = similarities(p, pairs), losses = Tensor::empty({pairs.A}, p.x.device());
  whole_matrix_kernels(p.x.device())
      .sigmoid_losses(queue, shape, s.data(), p.row_ids.data<int32_t>(), p.column_ids.data<int32_t>(), losses.data());
  return record("materialised_sigmoid_loss", mean_of(losses), {&p.x, &p.y},
                [p, shape, s](const Tensor& dloss, InputGradients& gradients) {
                  Queue backward_queue(dloss.device());
                  whole_matrix_kernels(dloss.device())
                      .sigmoid_weights(backward_queue, shape, p.row_ids.data<int32_t>(), p.column_ids.data<int32_t>(),
                                       dloss.data(), s.data());
                  products_with(s, p, shape.pairs, gradients);
                });
}

/// The rows of a batch against each other: one set, which is both.
PairLossResult of_one_set(const ViewBatch& b, const LossParameters& p, bool positives_in_denominator) {
  const Tensor z = l2_normalize(b.x);
  return {softmax_loss({z, z, b.ids, b.ids}, {.temperature = p.temperature.value,
                                              .same_rows = true,
                                              .positives_in_denominator = positives_in_denominator}),
          {}};
}

/// First views against second views.
Pairs views_of(const ViewBatch& b) {
  return {l2_normalize(b.first()), l2_normalize(b.second()), b.record_ids(), b.record_ids()};
}

/// NT-Xent, where ids are those of records, and SupCon.
PairLossResult supcon(const ViewBatch& b, const LossParameters& p) {
  return of_one_set(b, p, true);
}

PairLossResult dcl(const ViewBatch& b, const LossParameters& p) {
  return of_one_set(b, p, false);
}

PairLossResult info_nce(const ViewBatch& b, const LossParameters& p) {
  return {softmax_loss(views_of(b), {.temperature = p.temperature.value}), {}};
}

PairLossResult clip(const ViewBatch& b, const LossParameters& p) {
  return {softmax_loss(views_of(b), {.temperature = p.temperature.value, .directions = Directions::both}), {}};
}

PairLossResult moco(const ViewBatch& b, const LossParameters& p) {
  return {
      softmax_loss({l2_normalize(b.x), l2_normalize(b.keys), b.ids, b.key_ids}, {.temperature = p.temperature.value}),
      {}};
}

/// The mean of the losses of every two slots.
PairLossResult clocs(const ViewBatch& b, const LossParameters& p) {
  const Tensor z = l2_normalize(b.x);
  std::vector<Tensor> slots;
  for (int a = 0; a < b.slots; ++a) slots.push_back(rows(z, a * b.records(), b.records()));
  const Softmax o{.temperature = p.temperature.value,
                  .directions = Directions::both,
                  .mean = PairMean::positives,
                  .share = 2.0f / static_cast<float>(b.slots * (b.slots - 1))};
  Tensor sum;
  for (size_t a = 0; a < slots.size(); ++a)
    for (size_t other = a + 1; other < slots.size(); ++other) {
      const Tensor loss = softmax_loss({slots[a], slots[other], b.record_ids(), b.record_ids()}, o);
      sum = sum ? add(sum, loss) : loss;
    }
  return {sum, {}};
}

PairLossResult siglip(const ViewBatch& b, const LossParameters& p) {
  return {sigmoid_loss(views_of(b), p.temperature.value, p.bias.item()), {}};
}

}  // namespace

LossFunction materialised_loss(const std::string& loss) {
  static const std::map<std::string, LossFunction> functions{
      {"nt-xent", supcon}, {"supcon", supcon}, {"dcl", dcl},    {"info-nce", info_nce}, {"clip", clip},
      {"moco", moco},      {"cmsc", clocs},    {"cmlc", clocs}, {"cmsmlc", clocs},      {"siglip", siglip}};
  const auto found = functions.find(loss);
  return found == functions.end() ? nullptr : found->second;
}

const WholeMatrixKernels& whole_matrix_kernels(Device device) {
  return SYSTOLE_TABLE_OF(device, whole_matrix);
}

}  // namespace systole::benchmarks
