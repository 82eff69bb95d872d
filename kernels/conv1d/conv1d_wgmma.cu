// Conv1d by wgmma, for GPUs of compute capability 9.0: what bf16 series of whole octets of channels are convolved with
// there. Everything else is left to the kernels for all GPUs (conv1d.cu), which are the reference.
//
//   forward, input_gradient   (pack_octets →) window_product_wgmma (→ combine_moments)    conv1d_wgmma.cuh
//   weight_gradient           weight_gradient_wgmma → sum_splits                          conv1d_wgmma_gradient.cuh

#include <algorithm>

#include "kernels/common/memory.h"
#include "kernels/conv1d/conv1d_wgmma.cuh"
#include "kernels/conv1d/conv1d_wgmma_gradient.cuh"
#include "kernels/conv1d/implementation.h"

namespace systole::kernels::SYSTOLE_TARGET {
namespace {

/// Whether all rows of a series can be read so many bf16 values at a time.
bool read_by(int values, ConstSeries rows, int channels) {
  return channels % values == 0 && reinterpret_cast<uintptr_t>(rows.address()) % (sizeof(bf16) * values) == 0;
}
bool in_octets(ConstSeries rows, int channels) {
  return read_by(8, rows, channels);
}
/// The same of what belongs to a normalised output, null where there is none.
bool in_octets(const NormalizedOutput& output, int channels) {
  return in_octets(output.y, channels) && is_aligned({output.scale, output.shift, output.mean});
}

void pack_weights(Queue& queue, std::span<const PackOrder> orders) {
  for (size_t first = 0; first < orders.size(); first += PackOrders::kMost) {
    const auto some = orders.subspan(first, std::min(orders.size() - first, size_t{PackOrders::kMost}));
    PackOrders p{};
    for (const PackOrder& order : some) {
      p.order[p.count] = order;
      p.first_block[p.count + 1] = p.first_block[p.count] + kStepParts * order.layout.all_steps();
      ++p.count;
    }
    launch(queue, {.grid = {p.first_block[p.count]}, .block = {kOctetThreads}}, pack_octets, p);
  }
}

template <bool kGradient, int kRows, int kColumns, int kTaps>
void launch_window_product(Queue& queue, const WindowProduct& product, const WindowTensors& t) {
  using Window = WgmmaWindow<kGradient, kRows, kColumns, kTaps>;
  WgmmaProduct<kTaps> p(product);
  p.cut(kRows, kColumns, Window::kChunk, t.groups());

  const PackedLayout layout{p, p.in_channels, p.out_channels, kTaps, kColumns};
  const std::byte* packed = PackedWeights::find(queue, layout, t.w);
  const size_t packed_bytes = packed ? 0 : layout.bytes();
  TileResults<kRows> results(p, t);
  auto* const memory = scratch<std::byte>(queue, packed_bytes + results.bytes());
  results.place(memory + packed_bytes);
  if (!packed) {
    const PackOrder order{layout, t.w, memory};
    pack_weights(queue, {&order, 1});
    packed = memory;
  }
  launch(queue,
         {.grid = {int64_t{p.N} * p.tiles() * p.panels},
          .block = {Window::kThreads},
          .shared_bytes = sizeof(typename Window::Shared)},
         window_product_wgmma<kGradient, kRows, kColumns, kTaps>, p, t.in.as<bf16>(), t.pending,
         reinterpret_cast<const uint4*>(packed), t.bias, t.out.as<bf16>(), t.mode == GradientMode::accumulate,
         results.moments.mean, results.moments.m2, results.sums);
  results.join(queue);
}

/// 128 outputs a tile unless 64 leave fewer rows empty, 128 channels where there are as many, and several taps a step
/// where there are few channels to read.
template <bool kGradient, int kTaps>
void choose_tile(Queue& queue, const WindowProduct& p, const WindowTensors& t) {
  const int class_rows = ceil_div(p.out_rows, p.classes);
  const bool tall = ceil_div(class_rows, 128) * 2 == ceil_div(class_rows, 64), wide = p.out_channels % 128 == 0;
  const auto launch_it = tall && wide ? launch_window_product<kGradient, 128, 128, kTaps>
                         : tall       ? launch_window_product<kGradient, 128, 64, kTaps>
                         : wide       ? launch_window_product<kGradient, 64, 128, kTaps>
                                      : launch_window_product<kGradient, 64, 64, kTaps>;
  launch_it(queue, p, t);
}
template <bool kGradient>
void choose_window_product(Queue& queue, const WindowProduct& p, const WindowTensors& t) {
  constexpr int kMostTaps = kGradient ? 2 : 4;  // few outputs have 16 channels or less: one kernel less to compile
  const auto is_filled = [&p](int taps) { return p.in_channels <= kWgmmaChunk / taps && p.slab_taps >= taps; };
  const auto choose = is_filled(kMostTaps) ? choose_tile<kGradient, kMostTaps>
                      : is_filled(2)       ? choose_tile<kGradient, 2>
                                           : choose_tile<kGradient, 1>;
  choose(queue, p, t);
}

/// Whether these kernels compute with a series `in` of p's shape: of bf16, and, where it is a gradient, a finished one.
/// Values of a record and rows are counted in ints, padding included.
bool can_compute(const Queue& queue, const WindowProduct& p, ConstSeries in, const PendingGradient& pending) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const bool small = (p.in_rows + int64_t{2} * p.padding) * p.in_channels < kMost;
  return small && queue.precision() == Precision::bf16 && in.storage() == Storage::bf16 && !pending.offset &&
         read_by(p.in_channels % 8 == 0 ? 8 : 4, in, p.in_channels);
}

void forward(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, const float* w,
             const float* bias, Series y, const RecordMoments& moments) {
  const WindowProduct p = window_product_of(s, false);
  const WindowTensors t{x, pending, w, bias, y, GradientMode::overwrite, moments, {}, {}};
  if (can_compute(queue, p, x, {}) && in_octets(y, s.C_out)) return choose_window_product<false>(queue, p, t);
  conv1d.forward.function(queue, s, x, pending, w, bias, y, moments);
}

void input_gradient(Queue& queue, const Conv1dShape& s, ConstSeries dy, const PendingGradient& pending, const float* w,
                    Series dz, GradientMode mode, const RecordGradientSums& sums) {
  const WindowProduct p = window_product_of(s, true);
  const WindowTensors t{dy, {}, w, nullptr, dz, mode, {}, pending, sums};
  if (can_compute(queue, p, dy, pending) && in_octets(dz, s.C_in) && in_octets(sums.output, s.C_in))
    return choose_window_product<true>(queue, p, t);
  conv1d.input_gradient.function(queue, s, dy, pending, w, dz, mode, sums);
}

/// The weight gradient with so many taps in an instruction; all but its tiles.
WgmmaGradient gradient_of(const Conv1dShape& s, const WindowProduct& forward, int product_taps) {
  constexpr int kDepth = WgmmaGradientKernel<1, 1, 128>::kDepth;
  WgmmaGradient p{};
  p.shape = s, p.L_out = s.L_out();
  p.period = forward.period, p.tap_slots = forward.tap_slots;
  const auto products_of = [&](int phase) { return ceil_div(forward.taps_of(phase), product_taps); };
  const auto slots_of = [&](int phase) {  // more than a block has room for are all the same
    const int64_t slots = kDepth + (int64_t{products_of(phase)} * product_taps - 1) * p.tap_slots;
    return static_cast<int>(std::min<int64_t>(slots, 1 << 16));
  };
  p.phase_slots = p.slots = slots_of(0);
  p.products = products_of(0);
  if (forward.phases() > 1) {
    p.phase_slots = ceil_div(p.phase_slots, 8) * 8;
    p.slots = p.phase_slots + slots_of(1);
    p.products += products_of(1);
  }
  return p;
}

template <int kProducts, int kProductTaps, int kColumns>
void launch_weight_gradient(Queue& queue, WgmmaGradient p, ConstSeries x, const PendingAffine& pending, ConstSeries dy,
                            float* dw, float* dbias, GradientMode mode) {
  using Kernel = WgmmaGradientKernel<kProducts, kProductTaps, kColumns>;
  const Conv1dShape& s = p.shape;
  p.chunks = ceil_div(s.C_in, Kernel::kTapRows);
  p.panels = ceil_div(s.C_out, kColumns);
  p.units_per_record = ceil_div(p.L_out, Kernel::kDepth);
  p.piece = s.weight_size() + s.C_out;
  p.product_groups = ceil_div(p.products, Kernel::kWarpgroups * kProducts);
  const int64_t tiles = int64_t{p.chunks} * p.panels * p.product_groups;  // a multiprocessor holds one block
  p.splits = static_cast<int>(std::clamp<int64_t>(kMultiprocessors / tiles, 1, int64_t{s.N} * p.units_per_record));

  float* const pieces = scratch<float>(queue, static_cast<size_t>(p.splits * p.piece));
  launch(queue,
         {.grid = {tiles * p.splits}, .block = {Kernel::kThreads}, .shared_bytes = sizeof(typename Kernel::Shared)},
         weight_gradient_wgmma<kProducts, kProductTaps, kColumns>, p, x.as<bf16>(), pending, dy.as<bf16>(), pieces,
         dbias != nullptr);
  launch_sum_splits(queue, pieces, dw, dbias, p.splits, s.weight_size(), s.C_out, mode);
}

void weight_gradient(Queue& queue, const Conv1dShape& s, ConstSeries x, const PendingAffine& pending, ConstSeries dy,
                     const PendingGradient& pending_dy, float* dw, float* dbias, GradientMode mode) {
  using Kernel = WgmmaGradientKernel<1, 1, 128>;
  const WindowProduct forward = window_product_of(s, false);
  const auto fits = [&](const WgmmaGradient& p) { return forward.phases() <= 2 && p.slots <= Kernel::kMostSlots; };
  int product_taps = s.K == 1 || s.C_in > kWgmmaChunk / 2 ? 1 : s.C_in > kWgmmaChunk / 4 ? 2 : 4;
  if (!fits(gradient_of(s, forward, product_taps))) product_taps = 1;
  const WgmmaGradient p = gradient_of(s, forward, product_taps);
  if (!fits(p) || !can_compute(queue, forward, x, pending_dy) || !in_octets(dy, s.C_out))
    return conv1d.weight_gradient.function(queue, s, x, pending, dy, pending_dy, dw, dbias, mode);
  const auto launch_it = product_taps == 4                                  ? launch_weight_gradient<1, 4, 64>
                         : product_taps == 2                                ? launch_weight_gradient<1, 2, 64>
                         : s.K <= Kernel::kWarpgroups && s.C_out % 128 == 0 ? launch_weight_gradient<1, 1, 128>
                                                                            : launch_weight_gradient<2, 1, 64>;
  launch_it(queue, p, x, pending, dy, dw, dbias, mode);
}

}  // namespace

extern const WeightPacking weight_packing{.pack = pack_weights};

extern const Conv1dKernels conv1d_wgmma{
    .forward = forward, .input_gradient = input_gradient, .weight_gradient = weight_gradient};

}  // namespace systole::kernels::SYSTOLE_TARGET
