// Batch normalisation on the CPU, bound by memory: statistics read x once, apply reads x and writes y, the backward
// pass reads x and dy twice and writes dx; in evaluation once.
//
// The rows of a group are cut into pieces of 64 KB, whatever the number of threads. Statistics take two passes over a
// piece, the second one from the cache, and the pieces are combined in order. Per piece of n rows, with m the mean of
// the first pass (the corrected two-pass algorithm; Chan, Golub and LeVeque 1983):
//   d = Σ (x − m),  mean = m + d / n,  M2 = Σ (x − m)² − d² / n

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/common/lanes.h"
#include "kernels/common/norm_gradient.h"
#include "kernels/common/parallel.h"
#include "kernels/common/series_cpu.h"

namespace systole::kernels {
namespace {

using cpu::Narrowed, cpu::Widened;

constexpr int64_t kPiece = 16384;  // values per piece: 64 KB, stays in the second-level cache between two passes
constexpr int kPartials = 0;       // scratch of the calling thread: [pieces, C] twice
constexpr int kLanes = 1;          // scratch of each thread: rows of lanes

/// How the rows of each group are cut; a function of the shape alone.
struct Pieces {
  explicit Pieces(const BatchNormShape& s)
      : rows(s.rows_per_group()), rows_per_piece(std::max<int64_t>(16, kPiece / s.C)), C(s.C), groups(s.groups) {}

  int64_t per_group() const { return (rows + rows_per_piece - 1) / rows_per_piece; }
  int64_t count() const { return groups * per_group(); }
  int64_t group_of(int64_t piece) const { return piece / per_group(); }
  int64_t rows_of(int64_t piece) const { return std::min(rows_per_piece, rows - piece % per_group() * rows_per_piece); }
  int64_t values_of(int64_t piece) const { return rows_of(piece) * C; }
  /// Where the piece starts in [N, L, C].
  int64_t offset_of(int64_t piece) const { return (group_of(piece) * rows + piece % per_group() * rows_per_piece) * C; }

  int64_t rows, rows_per_piece;
  int C, groups;
};

// ---- statistics

/// sum[i] += Σ over the runs of x of x.
void add_values(int64_t count, int width, const float* x, float* sum) {
  for_runs(count, width, [&](int64_t offset, int n) {
    const float* run = x + offset;
#pragma omp simd
    for (int i = 0; i < n; ++i) sum[i] += run[i];
  });
}

/// sum[i] += Σ over the runs of x of x − centre[i], squares[i] += Σ of its square. Four whole runs at a time share one
/// update of the sums, which otherwise costs more than the terms.
void add_deviations(int64_t count, int width, const float* x, const float* centre, float* sum, float* squares) {
  const int64_t in_fours = count / (4 * width) * (4 * width);
  for_runs(in_fours, 4 * width, [&](int64_t offset, int) {
    const float* run = x + offset;
#pragma omp simd
    for (int i = 0; i < width; ++i) {
      const float d0 = run[i] - centre[i], d1 = run[i + width] - centre[i];
      const float d2 = run[i + 2 * width] - centre[i], d3 = run[i + 3 * width] - centre[i];
      sum[i] += (d0 + d1) + (d2 + d3);
      squares[i] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  });
  for_runs(count - in_fours, width, [&](int64_t offset, int n) {
    const float* run = x + in_fours + offset;
#pragma omp simd
    for (int i = 0; i < n; ++i) {
      const float d = run[i] - centre[i];
      sum[i] += d;
      squares[i] += d * d;
    }
  });
}

void piece_moments(int64_t rows, int C, const float* x, double* mean, double* m2) {
  const int width = lanes_of(C);
  float* sum = thread_scratch(kLanes, size_t(4) * width);
  float* squares = sum + width;
  float* centre = sum + 3 * width;  // [C]
  std::fill_n(sum, 2 * width, 0.0f);
  add_values(rows * C, width, x, sum);
  for (int c = 0; c < C; ++c) centre[c] = static_cast<float>(sum_of_lanes(sum, C, c) / rows);

  std::fill_n(sum, width, 0.0f);
  add_deviations(rows * C, width, x, widen(centre, C, squares + width), sum, squares);
  for (int c = 0; c < C; ++c) {
    const double d = sum_of_lanes(sum, C, c);
    m2[c] = std::max(0.0, sum_of_lanes(squares, C, c) - d * d / rows);
    mean[c] = centre[c] + d / rows;
  }
}

/// Mean and biased variance of C channels from `parts` moments of part_mean, part_m2 [parts, C], where part p has
/// rows_of(p) rows. With n rows so far and k more:  δ = mean_k − mean,  mean += δ·k/(n+k),  M2 += M2_k + δ²·n·k/(n+k).
template <class Part, class RowsOf>
void combine_in_order(int64_t parts, int C, const RowsOf& rows_of, const Part* part_mean, const Part* part_m2,
                      float* mean, float* var) {
  constexpr int kChannels = 64;
  parallel_for((C + kChannels - 1) / kChannels, [&](int64_t chunk) {
    const int64_t first = chunk * kChannels;
    const int n = static_cast<int>(std::min<int64_t>(kChannels, C - first));
    std::array<double, kChannels> total_mean{}, total_m2{};
    double rows = 0;
    for (int64_t part = 0; part < parts; ++part) {
      const auto more = static_cast<double>(rows_of(part));
      const double share = more / (rows + more);
      const Part* m = part_mean + part * C + first;
      const Part* m2 = part_m2 + part * C + first;
#pragma omp simd
      for (int c = 0; c < n; ++c) {
        const double delta = m[c] - total_mean[c];
        total_mean[c] += delta * share;
        total_m2[c] += m2[c] + delta * delta * rows * share;
      }
      rows += more;
    }
    for (int c = 0; c < n; ++c) {
      mean[first + c] = static_cast<float>(total_mean[c]);
      var[first + c] = static_cast<float>(total_m2[c] / rows);
    }
  });
}

void statistics(Queue&, const BatchNormShape& s, ConstSeries x_series, float* mean, float* var) {
  const Widened x(x_series, s.size());
  const Pieces pieces(s);
  // In double: at a mean of 1000, float means of the pieces would differ by rounding as much as by their content.
  std::vector<double> piece_mean(size_t(pieces.count()) * s.C), piece_m2(piece_mean.size());
  parallel_for(pieces.count(), [&](int64_t p) {
    piece_moments(pieces.rows_of(p), s.C, x + pieces.offset_of(p), &piece_mean[p * s.C], &piece_m2[p * s.C]);
  });
  for (int64_t g = 0; g < s.groups; ++g) {
    const int64_t first = g * pieces.per_group() * s.C;
    combine_in_order(
        pieces.per_group(), s.C, [&](int64_t p) { return pieces.rows_of(p); }, &piece_mean[first], &piece_m2[first],
        mean + g * s.C, var + g * s.C);
  }
}

void combine(const BatchNormShape& s, const float* piece_mean, const float* piece_m2, int piece_rows, float* mean,
             float* var) {
  const int64_t of_record = (s.L + piece_rows - 1) / piece_rows, pieces = s.N / s.groups * of_record;
  const int64_t last_rows = s.L - (of_record - 1) * piece_rows;
  for (int64_t g = 0; g < s.groups; ++g) {
    const int64_t first = g * pieces * s.C;
    combine_in_order(
        pieces, s.C, [&](int64_t p) { return (p + 1) % of_record == 0 ? last_rows : piece_rows; }, piece_mean + first,
        piece_m2 + first, mean + g * s.C, var + g * s.C);
  }
}

void update_running(Queue&, const BatchNormShape& s, const float* mean, const float* var, float momentum,
                    float* running_mean, float* running_var) {
  check_has_variance(s);
  const int64_t rows = s.rows_per_group();
  const float unbiased = static_cast<float>(rows) / static_cast<float>(rows - 1);
  for (int g = 0; g < s.groups; ++g)
    for (int c = 0; c < s.C; ++c) {
      running_mean[c] = (1 - momentum) * running_mean[c] + momentum * mean[g * s.C + c];
      running_var[c] = (1 - momentum) * running_var[c] + momentum * unbiased * var[g * s.C + c];
    }
}

// ---- forward

void fold(Queue&, const BatchNormShape& s, const float* mean, const float* var, const float* gamma, const float* beta,
          float eps, float* scale, float* shift) {
  for (int g = 0; g < s.groups; ++g)
    for (int c = 0; c < s.C; ++c) {
      const int i = g * s.C + c;
      const double factor = gamma[c] / std::sqrt(static_cast<double>(var[i]) + eps);
      scale[i] = static_cast<float>(factor);
      shift[i] = static_cast<float>(beta[c] - mean[i] * factor);
    }
}

template <bool kRelu>
void apply_piece(int64_t count, int C, const float* x, const float* scale, const float* shift, float* y) {
  const int width = lanes_of(C);
  float* lanes = thread_scratch(kLanes, size_t(2) * width);
  scale = widen(scale, C, lanes);
  shift = widen(shift, C, lanes + width);
  for_runs(count, width, [&](int64_t offset, int n) {
    const float* from = x + offset;
    float* to = y + offset;
#pragma omp simd
    for (int i = 0; i < n; ++i) {
      const float value = from[i] * scale[i] + shift[i];
      to[i] = kRelu && value < 0 ? 0.0f : value;
    }
  });
}

void apply(Queue&, const BatchNormShape& s, ConstSeries x_series, const float* scale, const float* shift, bool relu,
           Series y_series) {
  const Widened x(x_series, s.size());
  const Narrowed y(y_series, s.size());
  const Pieces pieces(s);
  const auto piece = relu ? apply_piece<true> : apply_piece<false>;
  parallel_for(pieces.count(), [&](int64_t p) {
    const int64_t offset = pieces.offset_of(p), group = pieces.group_of(p) * s.C;
    piece(pieces.values_of(p), s.C, x + offset, scale + group, shift + group, y + offset);
  });
}

void finish_statistics(Queue& queue, const BatchNormShape& s, const float* piece_mean, const float* piece_m2,
                       int piece_rows, const LayerStatistics& layer) {
  combine(s, piece_mean, piece_m2, piece_rows, layer.mean, layer.var);
  if (layer.running_mean)
    update_running(queue, s, layer.mean, layer.var, layer.momentum, layer.running_mean, layer.running_var);
  fold(queue, s, layer.mean, layer.var, layer.gamma, layer.beta, layer.eps, layer.scale, layer.shift);
}

// ---- backward

/// Everything a backward call works on.
struct Backward {
  BatchNormShape s;
  const float *x, *dy;      // [N, L, C]
  const float *mean, *var;  // [G, C]
  float eps;
  const float *scale, *shift;  // [G, C]
  bool relu;

  cpu::NormChannels channels_of(int64_t group) const {
    return {mean + group * s.C, scale + group * s.C, shift + group * s.C};
  }
};

/// Σ g and Σ g · (x − mean) per group, [G, C] each.
struct GroupSums {
  std::vector<double> g, gd;
};

/// The sums of all pieces, added up in order. after(p) is called when piece p has been read and is still in the cache.
template <class After>
GroupSums sums_of(const Backward& b, const After& after) {
  const Pieces pieces(b.s);
  const int C = b.s.C;
  float* piece_g = thread_scratch(kPartials, size_t(2) * pieces.count() * C);
  float* piece_gd = piece_g + pieces.count() * C;
  const auto sums = b.relu ? cpu::gradient_sums<true> : cpu::gradient_sums<false>;
  parallel_for(pieces.count(), [&](int64_t p) {
    const int64_t offset = pieces.offset_of(p);
    sums(pieces.values_of(p), C, b.x + offset, b.dy + offset, b.channels_of(pieces.group_of(p)), piece_g + p * C,
         piece_gd + p * C);
    after(p);
  });
  GroupSums total{std::vector<double>(size_t(b.s.groups) * C), std::vector<double>(size_t(b.s.groups) * C)};
  for (int64_t p = 0; p < pieces.count(); ++p)
    for (int64_t c = 0, to = pieces.group_of(p) * C; c < C; ++c) {
      total.g[to + c] += piece_g[p * C + c];
      total.gd[to + c] += piece_gd[p * C + c];
    }
  return total;
}

void store_parameter_gradients(const BatchNormShape& s, const GroupSums& sums, const float* var, float eps,
                               float* dgamma, float* dbeta, GradientMode mode) {
  for (int c = 0; c < s.C; ++c) {
    double gamma = 0, beta = 0;
    for (int i = c; i < s.groups * s.C; i += s.C) {
      gamma += sums.gd[i] / std::sqrt(static_cast<double>(var[i]) + eps);
      beta += sums.g[i];
    }
    const bool add = mode == GradientMode::accumulate;
    dgamma[c] = static_cast<float>(add ? dgamma[c] + gamma : gamma);
    dbeta[c] = static_cast<float>(add ? dbeta[c] + beta : beta);
  }
}

/// offset and slope [G, C] of dx = scale · g − offset − slope · (x − mean), in training.
void store_offsets_and_slopes(const BatchNormShape& s, const GroupSums& sums, const float* var, float eps,
                              const float* scale, float* offset, float* slope) {
  const auto rows = static_cast<double>(s.rows_per_group());
  for (int i = 0; i < s.groups * s.C; ++i) {
    offset[i] = static_cast<float>(scale[i] * sums.g[i] / rows);
    slope[i] = static_cast<float>(scale[i] * sums.gd[i] / rows / (static_cast<double>(var[i]) + eps));
  }
}

/// dx of one piece; offsets and slopes [G, C].
void store_dx(const Backward& b, int64_t p, const std::vector<float>& offsets, const std::vector<float>& slopes,
              float* dx, GradientMode mode) {
  const Pieces pieces(b.s);
  const bool add = mode == GradientMode::accumulate;
  const auto piece = b.relu ? (add ? cpu::output_gradient<true, true> : cpu::output_gradient<true, false>)
                            : (add ? cpu::output_gradient<false, true> : cpu::output_gradient<false, false>);
  const int64_t offset = pieces.offset_of(p), group = pieces.group_of(p);
  piece(pieces.values_of(p), b.s.C, b.x + offset, b.dy + offset, b.channels_of(group), offsets.data() + group * b.s.C,
        slopes.data() + group * b.s.C, dx + offset);
}

void backward(Queue&, const BatchNormShape& s, ConstSeries x_series, ConstSeries dy_series, const float* mean,
              const float* var, float eps, const float* scale, const float* shift, bool relu, Series dx_series,
              GradientMode dx_mode, float* dgamma, float* dbeta, GradientMode parameters) {
  const Widened x(x_series, s.size()), dy(dy_series, s.size());
  const Narrowed dx(dx_series, s.size(), dx_mode == GradientMode::accumulate);
  const Backward b{s, x, dy, mean, var, eps, scale, shift, relu};
  const GroupSums sums = sums_of(b, [](int64_t) {});
  store_parameter_gradients(s, sums, var, eps, dgamma, dbeta, parameters);
  std::vector<float> offsets(sums.g.size()), slopes(sums.g.size());
  store_offsets_and_slopes(s, sums, var, eps, scale, offsets.data(), slopes.data());
  parallel_for(Pieces(s).count(), [&](int64_t p) { store_dx(b, p, offsets, slopes, dx, dx_mode); });
}

void backward_evaluation(Queue&, const BatchNormShape& s, ConstSeries x_series, ConstSeries dy_series,
                         const float* mean, const float* var, float eps, const float* scale, const float* shift,
                         bool relu, Series dx_series, GradientMode dx_mode, float* dgamma, float* dbeta,
                         GradientMode parameters) {
  const Widened x(x_series, s.size()), dy(dy_series, s.size());
  const Narrowed dx(dx_series, s.size(), dx_mode == GradientMode::accumulate);
  const Backward b{s, x, dy, mean, var, eps, scale, shift, relu};
  const std::vector<float> zero(size_t(s.groups) * s.C);
  const GroupSums sums = sums_of(b, [&](int64_t p) { store_dx(b, p, zero, zero, dx, dx_mode); });
  store_parameter_gradients(s, sums, var, eps, dgamma, dbeta, parameters);
}

void backward_sums(Queue&, const BatchNormShape& s, ConstSeries dz_series, const RecordGradientSums& wanted) {
  const Widened dz(dz_series, s.size()), y(wanted.output.y, s.size());
  RecordGradientSums sums = wanted;
  sums.output.y = static_cast<const float*>(y);
  parallel_for(s.N, [&](int64_t n) { cpu::record_gradient_sums(sums, n, s.N, s.L, s.C, dz); });
}

void backward_finish(Queue&, const BatchNormShape& s, const float* piece_g, const float* piece_gd, int pieces,
                     const float* var, float eps, const float* scale, bool training, float* offset, float* slope,
                     float* dgamma, float* dbeta, GradientMode parameters) {
  const size_t channels = size_t(s.groups) * s.C;
  GroupSums sums{std::vector<double>(channels), std::vector<double>(channels)};
  for (int64_t p = 0; p < int64_t{s.N} * pieces; ++p)
    for (int64_t c = 0, to = p / (int64_t{s.N} / s.groups * pieces) * s.C; c < s.C; ++c) {
      sums.g[to + c] += piece_g[p * s.C + c];
      sums.gd[to + c] += piece_gd[p * s.C + c];
    }
  store_parameter_gradients(s, sums, var, eps, dgamma, dbeta, parameters);
  if (training) return store_offsets_and_slopes(s, sums, var, eps, scale, offset, slope);
  std::fill_n(offset, channels, 0.0f);
  std::fill_n(slope, channels, 0.0f);
}

void backward_apply(Queue&, const BatchNormShape& s, ConstSeries dz_series, const PendingGradient& pending,
                    Series dy_series) {
  const NormalizedOutput& o = pending.output;
  const Widened y(o.y, s.size()), dz(dz_series, s.size());
  const Narrowed dy(dy_series, s.size(), false);
  const Backward b{s, y, dz, o.mean, nullptr, 0, o.scale, o.shift, o.relu};
  const int64_t channels = int64_t{s.groups} * s.C;
  const std::vector<float> offsets(pending.offset, pending.offset + channels),
      slopes(pending.slope, pending.slope + channels);
  parallel_for(Pieces(s).count(), [&](int64_t p) { store_dx(b, p, offsets, slopes, dy, GradientMode::overwrite); });
}

}  // namespace

namespace cpu {
const BatchNormKernels batch_norm{
    .statistics = statistics,
    .finish_statistics = finish_statistics,
    .update_running = update_running,
    .fold = fold,
    .apply = apply,
    .backward = backward,
    .backward_evaluation = backward_evaluation,
    .backward_sums = backward_sums,
    .backward_finish = backward_finish,
    .backward_apply = backward_apply,
};
}  // namespace cpu
}  // namespace systole::kernels
