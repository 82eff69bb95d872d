// The weights of convolutions by wgmma as their kernels read them (conv1d_wgmma.cuh): rounded to bf16, in the order of
// steps. A convolution packs its weights itself, with a launch before its own. Where weights stay as they are for a
// while, as the parameters do while a step of training computes their gradient, they can be packed together: a launch
// for all convolutions of the step and both directions, instead of eleven of 3 to 4 µs each (docs/gpu_speed.md).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernels/common/device.h"
#include "kernels/common/elementary.h"
#include "kernels/common/table.h"

namespace systole::kernels {

/// In which order a window product (conv1d_window_product.cuh) goes through the taps of its weights.
struct TapOrder {
  int K;
  int period;                     // taps k, k + period, … form a phase
  int phase_taps, longer_phases;  // K / period, and K % period: how many phases have a tap more
  bool gradient;                  // of the input, instead of forward

  SYSTOLE_HOST_DEVICE int phases() const { return period < K ? period : K; }
  SYSTOLE_HOST_DEVICE int taps_of(int phase) const { return phase_taps + (phase < longer_phases ? 1 : 0); }
  /// Taps of all phases before.
  SYSTOLE_HOST_DEVICE int taps_before(int phase) const {
    return phase * phase_taps + (phase < longer_phases ? phase : longer_phases);
  }
  /// Tap i of a phase in the order of its slots: ascending, or in the input gradient descending.
  SYSTOLE_HOST_DEVICE int tap(int phase, int i) const {
    return phase + period * (gradient ? taps_of(phase) - 1 - i : i);
  }
  /// Steps of up to step_taps taps of all phases before.
  SYSTOLE_HOST_DEVICE int steps_before(int phase, int step_taps) const {
    const int longer = phase < longer_phases ? phase : longer_phases;
    return longer * ((phase_taps + step_taps) / step_taps) +
           (phase - longer) * ((phase_taps + step_taps - 1) / step_taps);
  }

  bool operator==(const TapOrder&) const = default;
};

/// What w [K, C_in, C_out] becomes: octets of eight channels to multiply with, [panels, chunks, steps, 8, columns].
struct PackedLayout {
  static constexpr int kOctets = 8;  // of a step

  TapOrder taps;
  int in_channels, out_channels;  // of the window product
  int step_taps;                  // 1, 2 or 4: a step has 64 channels of one tap, or as many fewer of several
  int columns;                    // output channels of a block: 64 or 128

  SYSTOLE_HOST_DEVICE int chunk() const { return 8 * kOctets / step_taps; }  // channels
  SYSTOLE_HOST_DEVICE int chunks() const { return (in_channels + chunk() - 1) / chunk(); }
  SYSTOLE_HOST_DEVICE int panels() const { return (out_channels + columns - 1) / columns; }
  SYSTOLE_HOST_DEVICE int steps() const { return taps.steps_before(taps.phases(), step_taps); }  // of a chunk
  int all_steps() const { return panels() * chunks() * steps(); }
  size_t bytes() const {
    return size_t{16} * kOctets * static_cast<size_t>(columns) * static_cast<size_t>(all_steps());
  }

  bool operator==(const PackedLayout&) const = default;
};

/// One weight to be packed.
struct PackOrder {
  PackedLayout layout;
  const float* w;     // [K, C_in, C_out]
  std::byte* packed;  // layout.bytes(), 16-byte aligned
};

struct WeightPacking {
  Entry<"conv1d.pack_weights", void(std::span<const PackOrder> orders)> pack;
};

namespace simt {
extern const WeightPacking weight_packing;
}
namespace cuda {
extern const WeightPacking weight_packing;
}

/// Of cuda or simt.
const WeightPacking& weight_packing_of(Device device);

/// Packed weights that are kept, among those in a range of memory: a model's parameters. Weights elsewhere are packed
/// by whoever needs them.
class PackedWeights {
 public:
  PackedWeights(Device device, const float* begin, int64_t count) : device_(device), begin_(begin), count_(count) {}
  PackedWeights(const PackedWeights&) = delete;
  PackedWeights& operator=(const PackedWeights&) = delete;

  /// While it lives, the weights must not change, and convolutions of this thread that need one again have it. All
  /// that was needed in earlier scopes is packed at its beginning, in one launch.
  class Scope {
   public:
    explicit Scope(PackedWeights& weights);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    PackedWeights* outer_;
  };

  /// For the convolutions: w packed, where the thread is in a scope that keeps it, or null. What is asked for the first
  /// time is packed at once.
  static const std::byte* find(Queue& queue, const PackedLayout& layout, const float* w);

 private:
  Device device_;
  const float* begin_;
  int64_t count_;
  std::vector<PackOrder> orders_;
  std::vector<std::shared_ptr<std::byte>> memory_;
};

}  // namespace systole::kernels
