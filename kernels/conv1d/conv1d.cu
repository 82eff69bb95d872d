// Conv1d on the cuda and simt devices: which kernels an entry launches, and with which tiles.
//
//   forward, input_gradient   pack_weights → window_product (→ combine_moments)      conv1d_window_product.cuh
//   weight_gradient           weight_gradient_splits → sum_splits                    conv1d_weight_gradient.cuh
//
// Both products are computed by tiles of registers (conv1d_tile.cuh) in the queue's precision: w is f32 in memory, x
// and dy are f32 or, in bf16, of that type, and all are rounded when a block brings them to shared memory. README.md
// tells why it is done like this.

#include <string>
#include <type_traits>

#include "kernels/common/memory.h"
#include "kernels/conv1d/conv1d.h"
#include "kernels/conv1d/conv1d_weight_gradient.cuh"
#include "kernels/conv1d/conv1d_window_product.cuh"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

/// Calls call.operator()<P, S>() for the precision of the queue and the storage of the series. Only bf16 products are
/// of series that may be stored as bf16: the others would lose what they are for.
template <class Call>
void in_precision_of(const Queue& queue, std::initializer_list<ConstSeries> series, const Call& call) {
  with_storage(series, [&]<class S>() {
    if (queue.precision() == Precision::bf16) return call.template operator()<Precision::bf16, S>();
    if constexpr (std::is_same_v<S, bf16>)
      throw LaunchError("series that are stored as bf16 need that precision, not " +
                        std::string(name(queue.precision())));
    else if (queue.precision() == Precision::tf32)
      call.template operator()<Precision::tf32, S>();
    else
      call.template operator()<Precision::f32, S>();
  });
}

/// Whether rows of `channels` values can be read four at a time.
bool rows_are_aligned(ConstSeries rows, int channels) {
  return channels % 4 == 0 && reinterpret_cast<uintptr_t>(rows.address()) % 16 == 0;
}

// ---- forward and input gradient

template <Precision P, class S, int kRows, int kColumns>
void launch_window_product(Queue& queue, WindowProduct p, const WindowTensors& t) {
  using Kernel = WindowKernel<P, S, kRows, kColumns>;
  using Value = typename Kernel::Value;
  constexpr int kChunk = Format<P>::kChunk;
  p.cut(kRows, kColumns, kChunk, t.groups());

  const size_t packed_bytes = sizeof(Value) * kChunk * kColumns * static_cast<size_t>(p.panels) *
                              static_cast<size_t>(p.chunks) * static_cast<size_t>(p.K);
  TileResults<kRows> results(p, t);
  auto* const memory = scratch<std::byte>(queue, packed_bytes + results.bytes());
  auto* const packed = reinterpret_cast<Value*>(memory);
  results.place(memory + packed_bytes);

  launch(queue, {.grid = {p.K, p.chunks, p.panels}, .block = {kPackThreads}}, pack_weights<P, kColumns>, p, t.w,
         packed);
  launch(queue,
         {.grid = {int64_t{p.N} * p.tiles() * p.panels},
          .block = {Kernel::kThreads},
          .shared_bytes = sizeof(typename Kernel::Shared)},
         window_product<P, S, kRows, kColumns>, p, t.in.as<S>(), t.pending, t.pending_gradient, packed, t.bias,
         t.out.as<S>(), t.mode == GradientMode::accumulate, results.moments.mean, results.moments.m2, results.sums,
         rows_are_aligned(t.in, p.in_channels), rows_are_aligned(t.pending_gradient.output.y, p.in_channels));
  results.join(queue);
}

/// Chooses the tiles: 128 outputs, unless 64 leave fewer rows empty or there would be too few blocks; 128 channels
/// where there are as many and blocks are plenty, since a slab then serves twice the multiplications.
template <Precision P, class S>
void choose_window_product(Queue& queue, const WindowProduct& p, const WindowTensors& t) {
  const int class_rows = ceil_div(p.out_rows, p.classes);
  const int64_t tall_tiles = int64_t{p.N} * p.classes * ceil_div(class_rows, 128);
  const bool tall_tiles_fit = ceil_div(class_rows, 128) * 2 == ceil_div(class_rows, 64);
  if (tall_tiles_fit && p.out_channels % 128 == 0 && tall_tiles * (p.out_channels / 128) >= 2 * kMultiprocessors)
    return launch_window_product<P, S, 128, 128>(queue, p, t);
  if (tall_tiles_fit && tall_tiles * ceil_div(p.out_channels, 64) >= kMultiprocessors)
    return launch_window_product<P, S, 128, 64>(queue, p, t);
  launch_window_product<P, S, 64, 64>(queue, p, t);
}

void compute_window_product(Queue& queue, const WindowProduct& p, const WindowTensors& t) {
  in_precision_of(queue, {t.in, t.out, t.pending_gradient.output.y, t.sums.output.y},
                  [&]<Precision P, class S>() { choose_window_product<P, S>(queue, p, t); });
}

void forward(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, const float* w,
             const float* bias, Series y, const RecordMoments& moments) {
  compute_window_product(queue, window_product_of(s, false),
                         {x, pending, w, bias, y, GradientMode::overwrite, moments, {}, {}});
}

void input_gradient(Queue& queue, const Conv1dShape& s, ConstSeries dy, const PendingGradient& pending, const float* w,
                    Series dz, GradientMode mode, const RecordGradientSums& sums) {
  compute_window_product(queue, window_product_of(s, true), {dy, {}, w, nullptr, dz, mode, {}, pending, sums});
}

// ---- weight gradient

constexpr int64_t kMostPieceBytes = int64_t{64} << 20;  // memory for the splits' sums; one split may take more
constexpr int64_t kWarpsPerMultiprocessor = 16;         // wanted
constexpr int64_t kUnitsPerSplit = 4;                   // at least, so that a block has something to do

template <Precision P, class S, int kRows, int kColumns>
void launch_weight_gradient(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending,
                            ConstSeries dy, const PendingGradient& pending_dy, float* dw, float* dbias,
                            GradientMode mode) {
  using Kernel = GradientKernel<P, S, kRows, kColumns>;
  WeightGradient p{};
  p.shape = s;
  p.L_out = s.L_out();
  p.rows = s.K * s.C_in;
  p.row_tiles = ceil_div(p.rows, kRows);
  p.column_tiles = ceil_div(s.C_out, kColumns);
  p.units_per_record = ceil_div(p.L_out, Kernel::kDepth);
  p.piece = s.weight_size() + s.C_out;

  const int64_t tiles = int64_t{p.row_tiles} * p.column_tiles;
  const int64_t most = std::min(kMostPieceBytes / (p.piece * int64_t{sizeof(float)}),
                                int64_t{s.N} * p.units_per_record / kUnitsPerSplit);
  const int64_t wanted = kMultiprocessors * kWarpsPerMultiprocessor / (Kernel::kThreads / 32) / tiles;
  p.splits = static_cast<int>(std::max<int64_t>(std::min(wanted, most), 1));

  float* const pieces = scratch<float>(queue, static_cast<size_t>(p.splits * p.piece));
  launch(queue,
         {.grid = {tiles * p.splits}, .block = {Kernel::kThreads}, .shared_bytes = sizeof(typename Kernel::Shared)},
         weight_gradient_splits<P, S, kRows, kColumns>, p, x.as<S>(), pending, dy.as<S>(), pending_dy, pieces,
         rows_are_aligned(x, s.C_in), rows_are_aligned(dy, s.C_out), rows_are_aligned(pending_dy.output.y, s.C_out));
  launch_sum_splits(queue, pieces, dw, dbias, p.splits, s.weight_size(), s.C_out, mode);
}

void weight_gradient(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, ConstSeries dy,
                     const PendingGradient& pending_dy, float* dw, float* dbias, GradientMode mode) {
  in_precision_of(queue, {x, dy, pending_dy.output.y}, [&]<Precision P, class S>() {
    const auto launch_it = s.K * s.C_in <= 64 ? launch_weight_gradient<P, S, 64, 64>
                           : s.C_out % 128    ? launch_weight_gradient<P, S, 128, 64>
                                              : launch_weight_gradient<P, S, 128, 128>;
    launch_it(queue, s, x, pending, dy, pending_dy, dw, dbias, mode);
  });
}

}  // namespace

extern const Conv1dKernels conv1d{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET
