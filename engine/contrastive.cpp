#include "engine/contrastive.h"

#include <cmath>
#include <fmt/format.h>

#include "engine/pair_tensors.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/sigmoid_loss.h"

namespace systole {
namespace {

using namespace kernels;

void require_rows(const char* operation, const Tensor& x) {
  if (x.shape().rank() != 2)
    throw Error(fmt::format("{}: expected an input [M, D], found the shape {}", operation, x.shape().text()));
}

void require_ids(const char* operation, const Tensor& ids, int64_t count, Device device) {
  if (ids.count() != count || ids.dtype() != DType::i32 || ids.device() != device)
    throw Error(fmt::format("{}: expected {} whole numbers on {} as ids, found the shape {} on {}", operation, count,
                            name(device), ids.shape().text(), name(ids.device())));
}

void require_two_sets(const char* operation, const Tensor& x, const Tensor& y, const Tensor& row_ids,
                      const Tensor& column_ids) {
  require_rows(operation, x);
  require_rows(operation, y);
  if (y.dim(1) != x.dim(1) || y.device() != x.device())
    throw Error(fmt::format("{}: rows {} on {} cannot be compared with columns {} on {}", operation, x.shape().text(),
                            name(x.device()), y.shape().text(), name(y.device())));
  require_ids(operation, row_ids, x.dim(0), x.device());
  require_ids(operation, column_ids, y.dim(0), x.device());
}

/// Rows of unit length, and what the way back through the normalisation needs.
struct UnitRows {
  NormalizeShape shape;
  Tensor z, norm;

  explicit UnitRows(const Tensor& x)
      : shape{x.dim(0), static_cast<int>(x.dim(1))},
        z(Tensor::empty(x.shape(), x.device())),
        norm(Tensor::empty({shape.M}, x.device())) {
    Queue queue(x.device());
    contrastive_kernels(x.device()).l2_normalize(queue, shape, x.data(), z.data(), norm.data());
  }
  int rows() const { return static_cast<int>(shape.M); }
  void backward(const Tensor& dz, GradientTarget dx) const {
    Queue queue(dz.device());
    contrastive_kernels(dz.device())
        .l2_normalize_backward(queue, shape, z.data(), norm.data(), dz.data(), dx.data, dx.mode);
  }
};

/// ∂loss/∂log_scale = −τ ∂loss/∂τ, from dz; both_roles: dz has each pair twice.
void temperature_backward(const UnitRows& rows, const Tensor& dz, float temperature, bool both_roles,
                          GradientTarget target) {
  if (!target) return;
  Queue queue(dz.device());
  const Tensor by_temperature = Tensor::empty({1}, dz.device());
  pair_loss_kernels(dz.device())
      .temperature(queue, {rows.rows(), rows.shape.D, temperature, both_roles}, rows.z.data(), dz.data(),
                   by_temperature.data(), GradientMode::overwrite);
  elementwise_kernels(dz.device()).scale(queue, 1, -temperature, by_temperature.data(), target.data, target.mode);
}

/// One direction of a loss: the rows of x are classified.
struct Direction {
  PairShape shape;
  const float *x, *y;
  const int32_t *row_ids, *column_ids;

  Direction exchanged() const { return {transposed(shape), y, x, column_ids, row_ids}; }
};

/// The loss of a direction goes to `loss`; returns what the gradients need, [A] PairRow.
Tensor forward(Device device, const Direction& d, PairMean mean, float* loss, int32_t* left_out) {
  Queue queue(device);
  const PairLossKernels& kernel = pair_loss_kernels(device);
  const Tensor sums = empty_structs<PairSums>(d.shape.A, device), rows = empty_structs<PairRow>(d.shape.A, device);
  auto* s = structs_in<PairSums>(sums);
  kernel.sums(queue, d.shape, d.x, d.y, d.row_ids, d.column_ids, s, GradientMode::overwrite);
  kernel.loss(queue, {d.shape.A, d.shape.temperature, mean}, s, loss, structs_in<PairRow>(rows), left_out);
  return rows;
}

/// The gradient of a direction's x, where it is rows of a loss, columns of another, or both.
void gradient(Device device, const Direction& d, const Tensor& rows, const Tensor& columns, const Tensor& upstream,
              float* dx, GradientMode mode) {
  Queue queue(device);
  pair_loss_kernels(device).gradient(queue, d.shape, d.x, d.y, d.row_ids, d.column_ids, structs_in<PairRow>(rows),
                                     structs_in<PairRow>(columns), upstream.data(), dx, mode);
}

/// Calls visit(a, b, number) for every two of the slots.
template <class Visit>
void for_each_pair(int slots, const Visit& visit) {
  for (int a = 0, number = 0; a < slots; ++a)
    for (int b = a + 1; b < slots; ++b) visit(a, b, number++);
}

}  // namespace

Temperature Temperature::learned(const Tensor& log_scale) {
  Temperature result(std::exp(-log_scale.item()));
  result.log_scale = log_scale;
  return result;
}

Tensor l2_normalize(const Tensor& x) {
  require_rows("l2_normalize", x);
  const UnitRows rows(x);
  return record("l2_normalize", rows.z, {&x},
                [rows](const Tensor& dz, InputGradients& gradients) { rows.backward(dz, gradients.target(0)); });
}

Tensor nt_xent(const Tensor& x, const Temperature& temperature) {
  require_rows("nt_xent", x);
  const NtXentShape shape{static_cast<int>(x.dim(0)), static_cast<int>(x.dim(1)), temperature.value};
  check(shape);
  const Device device = x.device();
  Queue queue(device);
  const UnitRows rows(x);
  const Tensor log_sum = Tensor::empty({shape.M}, device);
  Tensor loss = Tensor::empty({1}, device);
  contrastive_kernels(device).nt_xent_forward(queue, shape, rows.z.data(), loss.data(), log_sum.data());
  return record("nt_xent", loss, {&x, &temperature.log_scale},
                [shape, rows, log_sum](const Tensor& dloss, InputGradients& gradients) {
                  Queue backward_queue(dloss.device());
                  const Tensor dz = Tensor::empty(rows.z.shape(), dloss.device());
                  contrastive_kernels(dloss.device())
                      .nt_xent_backward(backward_queue, shape, rows.z.data(), log_sum.data(), dloss.data(), dz.data(),
                                        GradientMode::overwrite);
                  temperature_backward(rows, dz, shape.temperature, true, gradients.target(1));
                  if (const GradientTarget dx = gradients.target(0)) rows.backward(dz, dx);
                });
}

PairLossResult pair_loss(const Tensor& x, const Tensor& ids, const PairLossOptions& options) {
  require_rows("pair_loss", x);
  require_ids("pair_loss", ids, x.dim(0), x.device());
  const int M = static_cast<int>(x.dim(0)), D = static_cast<int>(x.dim(1));
  const PairShape shape{.A = M,
                        .B = M,
                        .D = D,
                        .temperature = options.temperature.value,
                        .same_rows = true,
                        .positives_in_denominator = options.positives_in_denominator};
  check(shape);
  const Device device = x.device();
  const UnitRows unit(x);
  const Direction direction{shape, unit.z.data(), unit.z.data(), ids.data<int32_t>(), ids.data<int32_t>()};
  PairLossResult result{Tensor::empty({1}, device), Tensor::empty({1}, device, DType::i32)};
  const Tensor rows = forward(device, direction, options.mean, result.loss.data(), result.left_out.data<int32_t>());
  result.loss = record("pair_loss", result.loss, {&x, &options.temperature.log_scale},
                       [direction, unit, ids, rows](const Tensor& dloss, InputGradients& gradients) {
                         const Tensor dz = Tensor::empty(unit.z.shape(), dloss.device());
                         gradient(dloss.device(), direction, rows, rows, dloss, dz.data(), GradientMode::overwrite);
                         temperature_backward(unit, dz, direction.shape.temperature, true, gradients.target(1));
                         if (const GradientTarget dx = gradients.target(0)) unit.backward(dz, dx);
                       });
  return result;
}

PairLossResult pair_loss(const Tensor& x, const Tensor& y, const Tensor& row_ids, const Tensor& column_ids,
                         Directions directions, const PairLossOptions& options) {
  require_two_sets("pair_loss", x, y, row_ids, column_ids);
  const PairShape shape{.A = static_cast<int>(x.dim(0)),
                        .B = static_cast<int>(y.dim(0)),
                        .D = static_cast<int>(x.dim(1)),
                        .temperature = options.temperature.value,
                        .positives_in_denominator = options.positives_in_denominator};
  check(shape);
  const Device device = x.device();
  const UnitRows unit_x(x), unit_y(y);
  const Direction there{shape, unit_x.z.data(), unit_y.z.data(), row_ids.data<int32_t>(), column_ids.data<int32_t>()};
  const int count = directions == Directions::both ? 2 : 1;
  const Tensor losses = Tensor::empty({count}, device);
  PairLossResult result{{}, Tensor::empty({count}, device, DType::i32)};
  int32_t* left_out = result.left_out.data<int32_t>();
  const Tensor rows = forward(device, there, options.mean, losses.data(), left_out);
  Tensor columns;  // of the direction back
  if (count == 2) columns = forward(device, there.exchanged(), options.mean, losses.data() + 1, left_out + 1);

  result.loss = record(
      "pair_loss", mean_of(losses), {&x, &y, &options.temperature.log_scale},
      [there, unit_x, unit_y, row_ids, column_ids, rows, columns](const Tensor& dloss, InputGradients& gradients) {
        const Device on = dloss.device();
        const GradientTarget dx = gradients.target(0), dy = gradients.target(1), dscale = gradients.target(2);
        const Tensor upstream = columns ? scaled(dloss, 0.5f) : dloss;
        if (dx || dscale) {
          const Tensor dz = Tensor::empty(unit_x.z.shape(), on);
          gradient(on, there, rows, columns, upstream, dz.data(), GradientMode::overwrite);
          temperature_backward(unit_x, dz, there.shape.temperature, false, dscale);
          if (dx) unit_x.backward(dz, dx);
        }
        if (dy) {
          const Tensor dz = Tensor::empty(unit_y.z.shape(), on);
          gradient(on, there.exchanged(), columns, rows, upstream, dz.data(), GradientMode::overwrite);
          unit_y.backward(dz, dy);
        }
      });
  return result;
}

Tensor clocs(const Tensor& x, int slots, const Tensor& ids, const Temperature& temperature) {
  require_rows("clocs", x);
  if (slots < 2 || x.dim(0) % slots != 0)
    throw Error(fmt::format("clocs: {} rows are no {} slots of equally many records; expected at least 2 slots",
                            x.dim(0), slots));
  const int N = static_cast<int>(x.dim(0)) / slots, D = static_cast<int>(x.dim(1)), pairs = slots * (slots - 1) / 2;
  require_ids("clocs", ids, N, x.device());
  const PairShape shape{.A = N, .B = N, .D = D, .temperature = temperature.value};
  check(shape);
  const Device device = x.device();
  const UnitRows unit(x);
  const auto direction = [shape, unit, ids](int a, int b) -> Direction {
    const int64_t size = int64_t{shape.A} * shape.D;
    return {shape, unit.z.data() + a * size, unit.z.data() + b * size, ids.data<int32_t>(), ids.data<int32_t>()};
  };

  const Tensor losses = Tensor::empty({2 * pairs}, device), left_out = Tensor::empty({1}, device, DType::i32);
  std::vector<Tensor> rows(static_cast<size_t>(slots) * slots);  // of slot a against slot b at a · slots + b
  for_each_pair(slots, [&](int a, int b, int number) {
    for (const auto& [from, to, which] : {std::tuple{a, b, 2 * number}, {b, a, 2 * number + 1}})
      rows[from * slots + to] =
          forward(device, direction(from, to), PairMean::positives, losses.data() + which, left_out.data<int32_t>());
  });
  return record("clocs", mean_of(losses), {&x, &temperature.log_scale},
                [=](const Tensor& dloss, InputGradients& gradients) {
                  const Tensor dz = Tensor::empty(unit.z.shape(), dloss.device());
                  const Tensor upstream = scaled(dloss, 0.5f / static_cast<float>(pairs));
                  const int64_t size = int64_t{N} * D;
                  for (int a = 0; a < slots; ++a)
                    for (int b = 0; b < slots; ++b) {
                      if (b == a) continue;
                      const bool first = b == (a == 0 ? 1 : 0);
                      gradient(dloss.device(), direction(a, b), rows[a * slots + b], rows[b * slots + a], upstream,
                               dz.data() + a * size, first ? GradientMode::overwrite : GradientMode::accumulate);
                    }
                  temperature_backward(unit, dz, shape.temperature, true, gradients.target(1));
                  if (const GradientTarget dx = gradients.target(0)) unit.backward(dz, dx);
                });
}

Tensor siglip(const Tensor& x, const Tensor& y, const Tensor& row_ids, const Tensor& column_ids,
              const Temperature& temperature, const Tensor& bias) {
  require_two_sets("siglip", x, y, row_ids, column_ids);
  const PairShape pairs{.A = static_cast<int>(x.dim(0)),
                        .B = static_cast<int>(y.dim(0)),
                        .D = static_cast<int>(x.dim(1)),
                        .temperature = temperature.value};
  const SigmoidShape shape{pairs, bias.item(), pair_count(pairs)};
  check(shape);
  const Device device = x.device();
  Queue queue(device);
  const UnitRows unit_x(x), unit_y(y);
  const Direction there{pairs, unit_x.z.data(), unit_y.z.data(), row_ids.data<int32_t>(), column_ids.data<int32_t>()};
  Tensor loss = Tensor::empty({1}, device);
  sigmoid_loss_kernels(device).loss(queue, shape, there.x, there.y, there.row_ids, there.column_ids, loss.data(),
                                    GradientMode::overwrite);
  return record("siglip", loss, {&x, &y, &temperature.log_scale, &bias},
                [shape, there, unit_x, unit_y, row_ids, column_ids](const Tensor& dloss, InputGradients& gradients) {
                  const Device on = dloss.device();
                  Queue backward_queue(on);
                  const auto gradient_of = [&](const Direction& d, const UnitRows& unit, float* dbias) {
                    const Tensor dz = Tensor::empty(unit.z.shape(), on);
                    sigmoid_loss_kernels(on).gradient(backward_queue, {d.shape, shape.bias, shape.count}, d.x, d.y,
                                                      d.row_ids, d.column_ids, dloss.data(), dz.data(), dbias,
                                                      GradientMode::overwrite);
                    return dz;
                  };
                  const GradientTarget dx = gradients.target(0), dy = gradients.target(1), dscale = gradients.target(2),
                                       dbias = gradients.target(3);
                  if (dx || dscale || dbias) {
                    const Tensor by_bias = Tensor::empty({1}, on);
                    const Tensor dz = gradient_of(there, unit_x, by_bias.data());
                    temperature_backward(unit_x, dz, shape.pairs.temperature, false, dscale);
                    if (dx) unit_x.backward(dz, dx);
                    if (dbias)
                      elementwise_kernels(on).scale(backward_queue, 1, 1, by_bias.data(), dbias.data, dbias.mode);
                  }
                  if (dy) unit_y.backward(gradient_of(there.exchanged(), unit_y, nullptr), dy);
                });
}

}  // namespace systole
