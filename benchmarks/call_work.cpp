#include "benchmarks/call_work.h"

#include <functional>
#include <map>

#include "augment/views.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/classification/classification.h"
#include "kernels/contrastive/contrastive.h"
#include "kernels/contrastive/feature_loss.h"
#include "kernels/contrastive/pair_loss.h"
#include "kernels/contrastive/sigmoid_loss.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/packed_weights.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool/pool.h"
#include "kernels/reconstruction/reconstruction.h"
#include "kernels/step_data/step_data.h"

namespace systole::benchmarks {
namespace {

using namespace systole::kernels;

using Counters = std::map<std::string, std::function<CallWork(const void* arguments)>>;

/// `count` gets the arguments of an entry and gives its work.
template <class... Args, class Count>
void add(Counters& counters, const Call<void(Args...)>& entry, const Count& count) {
  counters[entry.name] = [count](const void* arguments) {
    return std::apply(count, *static_cast<const Arguments<Args...>*>(arguments));
  };
}

constexpr double kFloat = sizeof(float);

double size_of(ConstSeries series) {
  return static_cast<double>(byte_size(series.storage()));
}
/// How often a gradient is touched: written, or read too.
double touched(GradientMode mode) {
  return mode == GradientMode::accumulate ? 2 : 1;
}
double values(const BatchNormShape& s) {
  return static_cast<double>(s.size());
}
double channels(const BatchNormShape& s) {
  return static_cast<double>(s.groups) * s.C;
}
int pieces_of(int rows, int piece_rows) {
  return (rows + piece_rows - 1) / piece_rows;
}
template <class Shape>
double values(const Shape& s) {
  return static_cast<double>(s.N) * s.L * s.C;
}
double outputs(const MaxPoolShape& s) {
  return static_cast<double>(s.N) * s.L_out() * s.C;
}

void add_conv1d(Counters& to) {
  const Conv1dKernels& k = conv1d_kernels(Device::cpu);
  const auto in = [](const Conv1dShape& s) { return static_cast<double>(s.input_size()); };
  const auto out = [](const Conv1dShape& s) { return static_cast<double>(s.output_size()); };
  const auto weights = [](const Conv1dShape& s) { return kFloat * static_cast<double>(s.weight_size()); };
  add(to, k.forward,
      [=](const Conv1dShape& s, ConstSeries x, const PendingAffine&, const float*, const float*, Series,
          const RecordMoments& moments) {
        const int rows = moments.piece_rows ? *moments.piece_rows : s.L_out();
        const double of_moments = moments.mean ? 2 * kFloat * s.N * pieces_of(s.L_out(), rows) * s.C_out : 0;
        return CallWork{.product_flop = s.flop(), .bytes = size_of(x) * (in(s) + out(s)) + weights(s) + of_moments};
      });
  add(to, k.input_gradient,
      [=](const Conv1dShape& s, ConstSeries dy, const PendingGradient& pending, const float*, Series, GradientMode mode,
          const RecordGradientSums& sums) {
        const double read = pending.offset ? 2 : 1;  // dz, and the output that it belongs to
        const double pieces = sums.pieces ? *sums.pieces : 1;
        const double of_sums = sums.g ? size_of(dy) * in(s) + 2 * kFloat * s.N * pieces * s.C_in : 0;
        return CallWork{.product_flop = s.flop(),
                        .bytes = size_of(dy) * (read * out(s) + touched(mode) * in(s)) + weights(s) + of_sums};
      });
  add(to, k.weight_gradient,
      [=](const Conv1dShape& s, ConstSeries x, const PendingAffine&, ConstSeries, const PendingGradient& pending,
          float*, float*, GradientMode mode) {
        const double read = pending.offset ? 2 : 1;
        return CallWork{.product_flop = s.flop(),
                        .bytes = size_of(x) * (in(s) + read * out(s)) + touched(mode) * weights(s)};
      });
  add(to, simt::weight_packing.pack, [](std::span<const PackOrder> orders) {
    CallWork work;
    for (const auto& [layout, w, packed] : orders)
      work.bytes +=
          kFloat * layout.taps.K * layout.in_channels * layout.out_channels + static_cast<double>(layout.bytes());
    return work;
  });
}

void add_batch_norm(Counters& to) {
  const BatchNormKernels& k = batch_norm_kernels(Device::cpu);
  add(to, k.statistics, [](const BatchNormShape& s, ConstSeries x, float*, float*) {
    return CallWork{.flop = 5 * values(s), .bytes = size_of(x) * values(s)};
  });
  add(to, k.finish_statistics,
      [](const BatchNormShape& s, const float*, const float*, int piece_rows, const LayerStatistics&) {
        const double parts = static_cast<double>(s.N) * pieces_of(s.L, piece_rows) * s.C;
        return CallWork{.flop = 6 * parts + 12 * channels(s),
                        .bytes = kFloat * (2 * parts + 4 * channels(s) + 6.0 * s.C)};
      });
  add(to, k.update_running, [](const BatchNormShape& s, auto&&...) {
    return CallWork{.flop = 7 * channels(s), .bytes = kFloat * (2 * channels(s) + 4.0 * s.C)};
  });
  add(to, k.fold, [](const BatchNormShape& s, auto&&...) {
    return CallWork{.flop = 5 * channels(s), .bytes = kFloat * (4 * channels(s) + 2.0 * s.C)};
  });
  add(to, k.apply, [](const BatchNormShape& s, ConstSeries x, const float*, const float*, bool, Series) {
    return CallWork{.flop = 3 * values(s), .bytes = 2 * size_of(x) * values(s)};
  });
  const auto backward = [](int reads) {  // of x and dy
    return [reads](const BatchNormShape& s, ConstSeries x, ConstSeries, const float*, const float*, float, const float*,
                   const float*, bool, Series, GradientMode mode, float*, float*, GradientMode) {
      return CallWork{.flop = 15 * values(s), .bytes = size_of(x) * values(s) * (2 * reads + touched(mode))};
    };
  };
  add(to, k.backward, backward(2));
  add(to, k.backward_evaluation, backward(1));
  add(to, k.backward_sums, [](const BatchNormShape& s, ConstSeries dz, const RecordGradientSums&) {
    return CallWork{.flop = 7 * values(s), .bytes = 2 * size_of(dz) * values(s) + 2 * kFloat * s.N * s.C};
  });
  add(to, k.backward_finish, [](const BatchNormShape& s, const float*, const float*, int pieces, auto&&...) {
    const double parts = static_cast<double>(s.N) * pieces * s.C;
    return CallWork{.flop = 2 * parts, .bytes = 2 * kFloat * parts + 4 * kFloat * channels(s)};
  });
  add(to, k.backward_apply, [](const BatchNormShape& s, ConstSeries dz, const PendingGradient&, Series) {
    return CallWork{.flop = 8 * values(s), .bytes = 3 * size_of(dz) * values(s)};
  });
}

void add_elementwise(Counters& to) {
  const ElementwiseKernels& k = elementwise_kernels(Device::cpu);
  const auto map = [](int64_t count, double tensors, ConstSeries series) {
    return CallWork{.flop = static_cast<double>(count),
                    .bytes = tensors * size_of(series) * static_cast<double>(count)};
  };
  add(to, k.relu, [=](int64_t count, ConstSeries x, Series) { return map(count, 2, x); });
  add(to, k.relu_backward, [=](int64_t count, ConstSeries y, ConstSeries, Series, GradientMode mode) {
    return map(count, 2 + touched(mode), y);
  });
  add(to, k.add, [=](int64_t count, ConstSeries a, ConstSeries, Series) { return map(count, 3, a); });
  add(to, k.scale,
      [=](int64_t count, float, ConstSeries x, Series, GradientMode mode) { return map(count, 1 + touched(mode), x); });
  add(to, k.concatenate, [](const ConcatenateShape& s, ConstSeries a, auto&&...) {
    return CallWork{.bytes = 2 * size_of(a) * static_cast<double>(s.rows) * (s.C_a + s.C_b)};
  });
  add(to, k.concatenate_backward,
      [](const ConcatenateShape& s, ConstSeries dy, Series da, GradientMode a, Series db, GradientMode b) {
        const double parts = (da ? touched(a) * s.C_a : 0) + (db ? touched(b) * s.C_b : 0);
        return CallWork{.bytes = size_of(dy) * static_cast<double>(s.rows) * (s.C_a + s.C_b + parts)};
      });
  add(to, k.split_leads, [](const SplitLeadsShape& s, ConstSeries x, Series) {
    return CallWork{.bytes = 2 * size_of(x) * s.V * values(s)};
  });
  add(to, k.gather, [](const GatherShape& s, auto&&...) { return CallWork{.bytes = kFloat * (2.0 * s.C + 1) * s.N}; });
  const auto of_block = [](const ResidualShape& s, double tensors, ConstSeries series) {
    return CallWork{.flop = 6 * values(s), .bytes = tensors * size_of(series) * values(s)};
  };
  add(to, k.residual, [=](const ResidualShape& s, ConstSeries x, auto&&...) { return of_block(s, 3, x); });
  add(to, k.residual_backward,
      [=](const ResidualShape& s, ConstSeries y, ConstSeries, const DropoutShape&, Series da, GradientMode a, Series db,
          GradientMode b) { return of_block(s, 2 + (da ? touched(a) : 0) + (db ? touched(b) : 0), y); });
  add(to, k.dropout, [=](const DropoutShape& s, ConstSeries x, Series, GradientMode mode) {
    return map(s.N * s.elements, 1 + touched(mode), x);
  });
}

void add_linear(Counters& to) {
  const LinearKernels& k = linear_kernels(Device::cpu);
  const auto product = [](const LinearShape& s, auto&&...) {
    const double operands = 1.0 * s.M * s.D_in + 1.0 * s.M * s.D_out + 1.0 * s.D_in * s.D_out;
    return CallWork{.product_flop = s.flop(), .bytes = kFloat * operands};
  };
  add(to, k.forward, product);
  add(to, k.input_gradient, product);
  add(to, k.weight_gradient, product);
}

void add_pool(Counters& to) {
  const PoolKernels& k = pool_kernels(Device::cpu);
  add(to, k.mean_forward, [](const MeanShape& s, ConstSeries x, const PendingAffine&, float*) {
    return CallWork{.flop = values(s), .bytes = size_of(x) * values(s) + kFloat * s.N * s.C};
  });
  add(to, k.mean_backward,
      [](const MeanShape& s, const float*, Series dz, GradientMode mode, const RecordGradientSums& sums) {
        const double read = sums.g ? 1 : 0;
        return CallWork{
            .flop = read * 5 * values(s),
            .bytes = (touched(mode) + read) * size_of(dz) * values(s) + (1 + 2 * read) * kFloat * s.N * s.C};
      });
  add(to, k.max_forward, [](const MaxPoolShape& s, ConstSeries x, Series y, int32_t*) {
    return CallWork{.flop = s.window * outputs(s), .bytes = size_of(x) * values(s) + (size_of(y) + 4) * outputs(s)};
  });
  add(to, k.max_backward, [](const MaxPoolShape& s, ConstSeries dy, const int32_t*, Series dx, GradientMode mode) {
    return CallWork{.flop = outputs(s),
                    .bytes = touched(mode) * size_of(dx) * values(s) + (size_of(dy) + 4) * outputs(s)};
  });
}

/// Passes over pairs of rows, in units of one product of all of them.
void add_contrastive(Counters& to) {
  const auto rows = [](const auto& s) { return static_cast<double>(s.M) * s.D; };
  const ContrastiveKernels& k = contrastive_kernels(Device::cpu);
  add(to, k.l2_normalize,
      [=](const NormalizeShape& s, auto&&...) { return CallWork{.flop = 3 * rows(s), .bytes = 2 * kFloat * rows(s)}; });
  add(to, k.l2_normalize_backward,
      [=](const NormalizeShape& s, auto&&...) { return CallWork{.flop = 5 * rows(s), .bytes = 3 * kFloat * rows(s)}; });
  // The tiles of one half give the sums of rows and of columns; backward computes all of them, and multiplies once
  // more.
  add(to, k.nt_xent_forward, [=](const NtXentShape& s, auto&&...) {
    const double pairs = 1.0 * s.M * s.M;
    return CallWork{.product_flop = pairs * s.D, .exponentials = pairs / 2, .bytes = kFloat * rows(s)};
  });
  add(to, k.nt_xent_backward, [=](const NtXentShape& s, auto&&...) {
    const double pairs = 1.0 * s.M * s.M;
    return CallWork{.product_flop = 4 * pairs * s.D, .exponentials = pairs, .bytes = 2 * kFloat * rows(s)};
  });
  const auto pairs_of = [](const PairShape& s, double products, double row_passes) {
    const double pairs = 1.0 * s.A * s.B;
    return CallWork{.product_flop = products * 2 * pairs * s.D,
                    .exponentials = pairs,
                    .bytes = kFloat * s.D * (row_passes * s.A + s.B)};
  };
  const PairLossKernels& pair = pair_loss_kernels(Device::cpu);
  add(to, pair.sums, [=](const PairShape& s, auto&&...) { return pairs_of(s, 1, 1); });
  add(to, pair.loss, [](const PairLossShape& s, auto&&...) {
    return CallWork{.flop = 6.0 * s.A, .bytes = s.A * static_cast<double>(sizeof(PairSums) + sizeof(PairRow))};
  });
  add(to, pair.gradient, [=](const PairShape& s, auto&&...) { return pairs_of(s, 2, 2); });
  add(to, pair.temperature, [](const PairTemperatureShape& s, auto&&...) {
    return CallWork{.flop = 2.0 * s.A * s.D, .bytes = 2 * kFloat * s.A * s.D};
  });
  const SigmoidLossKernels& sigmoid = sigmoid_loss_kernels(Device::cpu);
  add(to, sigmoid.loss, [=](const SigmoidShape& s, auto&&...) { return pairs_of(s.pairs, 1, 1); });
  add(to, sigmoid.gradient, [=](const SigmoidShape& s, auto&&...) { return pairs_of(s.pairs, 2, 2); });

  const auto matrix = [](double flop, double count) { return CallWork{.flop = flop * count, .bytes = kFloat * count}; };
  const FeatureLossKernels& feature = feature_loss_kernels(Device::cpu);
  add(to, feature.cosine_forward, [=](const CosineShape& s, auto&&...) { return matrix(3, 2.0 * s.N * s.D); });
  add(to, feature.cosine_backward, [=](const CosineShape& s, auto&&...) { return matrix(3, 3.0 * s.N * s.D); });
  add(to, feature.column_affine, [=](int64_t count, auto&&...) { return matrix(1, 4 * static_cast<double>(count)); });
  add(to, feature.barlow_twins_forward,
      [=](const BarlowTwinsShape& s, auto&&...) { return matrix(3, 1.0 * s.D * s.D); });
  add(to, feature.barlow_twins_backward,
      [=](const BarlowTwinsShape& s, auto&&...) { return matrix(1, 2.0 * s.D * s.D); });
  add(to, feature.vicreg_forward,
      [=](const VicregShape& s, auto&&...) { return matrix(3, 2.0 * s.N * s.D + 2.0 * s.D * s.D); });
  add(to, feature.vicreg_backward, [=](const VicregShape& s, auto&&...) { return matrix(1, 4.0 * s.D * s.D); });
  add(to, feature.vicreg_invariance_backward,
      [=](const VicregShape& s, auto&&...) { return matrix(1, 4.0 * s.N * s.D); });
}

void add_the_rest(Counters& to) {
  const ReconstructionKernels& masked = reconstruction_kernels(Device::cpu);
  add(to, masked.mask_blocks,
      [](const BlockMaskShape& s, ConstSeries x, Series) { return CallWork{.bytes = 2 * size_of(x) * values(s)}; });
  const auto map = [](double flop, double numbers, double count) {
    return CallWork{.flop = flop * count, .bytes = numbers * kFloat * count};
  };
  add(to, masked.squared_error_forward, [](int64_t count, ConstSeries x, auto&&...) {
    return CallWork{.flop = 3.0 * static_cast<double>(count), .bytes = 2 * size_of(x) * static_cast<double>(count)};
  });
  add(to, masked.squared_error_backward, [](int64_t count, ConstSeries x, auto&&...) {
    return CallWork{.flop = 2.0 * static_cast<double>(count), .bytes = 3 * size_of(x) * static_cast<double>(count)};
  });
  const ClassificationKernels& bce = classification_kernels(Device::cpu);
  add(to, bce.bce_forward, [=](const BceShape& s, auto&&...) { return map(10, 2, 1.0 * s.N * s.C); });
  add(to, bce.bce_backward, [=](const BceShape& s, auto&&...) { return map(10, 3, 1.0 * s.N * s.C); });

  const OptimizerKernels& optimizer = optimizer_kernels(Device::cpu);
  const auto of_count = [=](double flop, double numbers) {
    return [=](int64_t count, auto&&...) { return map(flop, numbers, static_cast<double>(count)); };
  };
  add(to, optimizer.adam, of_count(14, 7));
  add(to, optimizer.sgd, of_count(7, 5));
  add(to, optimizer.lars, [=](int segments, const LarsSegment* segment, auto&&...) {
    return map(11, 7, static_cast<double>(segments > 0 ? segment[segments - 1].end - segment[0].begin : 0));
  });
  add(to, optimizer.sum_of_squares, of_count(2, 1));
  add(to, optimizer.limit_norm, [=](auto&&...) { return map(3, 3, 1); });
  add(to, optimizer.ema, of_count(3, 3));

  const StepDataKernels& data = step_data_kernels(Device::cpu);
  const auto copy = [=](const StepColumns& columns, auto&&...) { return map(0, 2, columns.words); };
  add(to, data.fetch, copy);
  add(to, data.keep, copy);

  // What a recipe computes depends on what is drawn; the views are designed to be bound by their bytes.
  add(to, augment::augment_kernels(Device::cpu).views,
      [](const augment::ViewShape& s, const augment::ViewSource&, const augment::Recipe&, uint64_t, StepNumber,
         Series views) {
        const double raw = static_cast<double>(sizeof(int16_t)) * s.N * s.L_in * s.C;
        return CallWork{.bytes = raw + size_of(views) * s.V * values(s)};
      });
}

const Counters& counters() {
  static const Counters all = [] {
    Counters to;
    add_conv1d(to);
    add_batch_norm(to);
    add_elementwise(to);
    add_linear(to);
    add_pool(to);
    add_contrastive(to);
    add_the_rest(to);
    return to;
  }();
  return all;
}

}  // namespace

CallWork work_of(const kernels::WatchedCall& call) {
  const auto found = counters().find(call.kernel);
  if (found == counters().end())
    throw Error(std::string("the work of the kernel ") + call.kernel + " is not counted in benchmarks/call_work.cpp");
  return found->second(call.arguments);
}

bool is_counted(const std::string& kernel) {
  return counters().contains(kernel);
}

}  // namespace systole::benchmarks
