// The sigmoid loss on the CPU (sigmoid_loss.h has the formulas, pair_walk.h how tiles are gone through).

#include <vector>

#include "kernels/contrastive/pair_walk.h"
#include "kernels/contrastive/sigmoid_loss.h"
#include "kernels/contrastive/softplus.h"

namespace systole::kernels::cpu {
namespace {

/// Turns the sign of row i's positives.
void turn_positives(const Pairs& pairs, int i, const Columns& columns, float* values) {
  pairs.for_each_positive(i, columns, [&](int j) { values[j] = -values[j]; });
}

/// s[j] becomes a_ij.
void logits_against(const Pairs& pairs, const SigmoidShape& shape, int i, const Columns& columns, float* s) {
  const Vector scale = static_cast<float>(1 / double{shape.pairs.temperature}), bias = shape.bias;
  for (int j = 0; j < columns.count; j += kWidth) store(multiply_add(load(s + j), scale, bias), s + j);
  turn_positives(pairs, i, columns, s);
}

void sigmoid_loss_of_pairs(Queue&, const SigmoidShape& shape, const float* x, const float* y, const int32_t* row_ids,
                           const int32_t* column_ids, float* loss, GradientMode mode) {
  check(shape);
  const Pairs pairs(shape.pairs, row_ids, column_ids);
  std::vector<double> row_losses(static_cast<size_t>(shape.pairs.A));
  sum_rows<double>(
      shape.pairs, x, y,
      [&](int i, const Columns& columns, float* s, double& sum) {
        logits_against(pairs, shape, i, columns, s);
        for (int j = 0; j < columns.count; j += kWidth) store(softplus(load(s + j)), s + j);
        pairs.fill_self(i, columns, 0, s);
        sum += sum_of_terms(columns, s);
      },
      [&](int i, double sum) { row_losses[i] = sum; });
  double total = 0;
  for (double row : row_losses) total += row;
  const auto value = static_cast<float>(total / static_cast<double>(shape.count));
  *loss = mode == GradientMode::accumulate ? *loss + value : value;
}

void sigmoid_gradient(Queue&, const SigmoidShape& shape, const float* x, const float* y, const int32_t* row_ids,
                      const int32_t* column_ids, const float* upstream, float* dx, float* dbias, GradientMode mode) {
  check(shape);
  const Pairs pairs(shape.pairs, row_ids, column_ids);
  std::vector<double> row_weights(static_cast<size_t>(shape.pairs.A));
  const auto weights = [&](int i, const Columns& columns, float* s) {
    logits_against(pairs, shape, i, columns, s);
    for (int j = 0; j < columns.count; j += kWidth) store(sigmoid(load(s + j)), s + j);
    turn_positives(pairs, i, columns, s);
    pairs.fill_self(i, columns, 0, s);
    row_weights[i] += sum_of_terms(columns, s);
  };
  const double share = double{*upstream} / static_cast<double>(shape.count), roles = shape.pairs.same_rows ? 2 : 1;
  mix_rows(shape.pairs, x, y, weights, static_cast<float>(roles * share / shape.pairs.temperature), dx, mode);
  if (!dbias) return;
  double total = 0;
  for (double row : row_weights) total += row;
  const auto value = static_cast<float>(share * total);
  *dbias = mode == GradientMode::accumulate ? *dbias + value : value;
}

}  // namespace

extern const SigmoidLossKernels sigmoid_loss{.loss = sigmoid_loss_of_pairs, .gradient = sigmoid_gradient};

}  // namespace systole::kernels::cpu
