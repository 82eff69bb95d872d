// The differentiable operations. Each calls its kernel table and records one autograd node. Shapes are checked here and
// wrong ones throw Error with the shapes; formulas stand in the kernels' contracts. Series are [N, L, C].
#pragma once

#include "engine/autograd.h"
#include "engine/tensor.h"
#include "kernels/common/step_number.h"

namespace systole {

/// How the series of a run are stored, from the views on: as bf16 in that precision, where our convolutions run, else
/// as f32. Operations go on in the type of their input.
DType series_type();

struct Conv1dOptions {
  int stride = 1, padding = 0, dilation = 1;
};

/// The parts of a BatchNorm layer. In training, running statistics and the counter follow.
struct BatchNorm {
  Tensor gamma, beta;                // [C], leaves
  Tensor running_mean, running_var;  // [C]
  int64_t* batches_tracked = nullptr;
  float eps = 1e-5f;
};

/// How a model runs: with batch statistics and updates of buffers, or without; and whether dropout draws.
struct Mode {
  bool training = false;
  int groups = 1;         // views in the batch, each with BatchNorm statistics of its own when training
  float momentum = 0.1f;  // weight of a batch in the running statistics; 1/t in batch t makes them plain averages
  bool drops = false;     // with dropout, whose masks follow from:
  uint64_t seed = 0;
  StepNumber step{};
  static Mode evaluation() { return {}; }
  /// Without dropout.
  static Mode train(int groups = 1, float momentum = 0.1f) {
    return {.training = true, .groups = groups, .momentum = momentum};
  }
  Mode with_dropout(uint64_t run_seed, StepNumber run_step) const {
    Mode mode = *this;
    mode.drops = true, mode.seed = run_seed, mode.step = run_step;
    return mode;
  }
};

/// While it lives, passes of this thread repeat others: BatchNorm leaves its running statistics as they are.
using RepeatedPass = ScopedFlag<struct RepeatedPassTag>;

/// A convolution's raw output with the BatchNorm and ReLU that its reader applies while it loads. Autograd sees the
/// value after both: the gradient that reaches `raw` is that of relu(raw · scale + shift).
struct Activation {
  Tensor raw;               // [N, L, C]
  Tensor scale{}, shift{};  // [groups, C]; empty: the value is raw itself
  int groups = 1;
  bool relu = false;
  Tensor mean{};  // [groups, C], of the BatchNorm
};

/// x [N, L, C_in], w [K, C_in, C_out], bias [C_out] or empty → [N, L_out, C_out].
Tensor conv1d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv1dOptions& options);
/// BatchNorm(conv1d(x)), then a ReLU where asked for, with the normalisation left pending: one node for all three.
Activation conv_bn(const Activation& x, const Tensor& w, const Tensor& bias, const BatchNorm& norm,
                   const Conv1dOptions& options, bool relu, Mode mode);
/// The usual case: without a bias, with a ReLU.
Activation conv_bn_relu(const Activation& x, const Tensor& w, const BatchNorm& norm, const Conv1dOptions& options,
                        Mode mode);
/// A tensor with what was pending applied, for readers other than convolutions and the mean over time.
Tensor value_of(const Activation& x);
/// x [N, L, C] or [N, C].
Tensor batch_norm(const Tensor& x, const BatchNorm& norm, Mode mode);
Tensor relu(const Tensor& x);
Tensor add(const Tensor& a, const Tensor& b);
/// Joins the last dimension.
Tensor concatenate(const Tensor& a, const Tensor& b);

/// Each lead as a series of its own: x [views · N, L, C] → [views · C · N, L, 1], lead after lead within a view. For
/// signals: no gradient flows through it.
Tensor split_leads(const Tensor& x, int views = 1);
/// The same for some of the leads, in the order given: [views · leads.size() · N, L, 1].
Tensor split_leads(const Tensor& x, const std::vector<int>& leads, int views);
/// The mean over the leads that split_leads took apart: x [views · leads · N, D] → [views · N, D].
Tensor mean_over_leads(const Tensor& x, int leads, int views = 1);

/// Two slots of each record, one after the other within a view: a, b [views · N, D] → [views · 2 · N, D].
Tensor join_slots(const Tensor& a, const Tensor& b, int views = 1);

/// A place of the network where values are dropped with probability p. The mask of a record depends on the mode's seed
/// and step, on the layer's number and on the record's place in the batch.
struct Dropout {
  float p = 0;
  uint32_t layer = 0;  // below 65536
};
Tensor dropout(const Tensor& x, const Dropout& dropout, Mode mode);
/// The end of a residual block, relu(dropout(x) + shortcut), as one node that keeps its result alone.
Tensor residual(const Activation& x, const Activation& shortcut, const Dropout& dropout, Mode mode);

/// x [N, D_in], w [D_in, D_out], bias [D_out] or empty.
Tensor linear(const Tensor& x, const Tensor& w, const Tensor& bias);
/// [N, L, C] → [N, C].
Tensor mean_over_time(const Activation& x);
Tensor mean_over_time(const Tensor& x);
Tensor max_pool(const Tensor& x, int window, int stride, int padding = 0);
/// [N, L, C] → [N, C].
Tensor max_over_time(const Tensor& x);
/// Rows begin … begin + count − 1 of x [M, D], in the same memory.
Tensor rows(const Tensor& x, int64_t begin, int64_t count);

/// Rows of a table, by numbers in the device's memory: table [any, D], numbers i32 [N] → [N, D]. For data: no gradient
/// flows through it, and nobody looks whether the table has these rows.
Tensor gather(const Tensor& table, const Tensor& numbers);

/// Weights of the binary cross-entropy (kernels/classification); empty weights are ones. [C] each.
struct BceWeights {
  Tensor positive, negative;
  float gamma = 0;
};
/// logits, targets [N, C] → a scalar.
Tensor bce_with_logits(const Tensor& logits, const Tensor& targets, const BceWeights& weights = {});

}  // namespace systole
