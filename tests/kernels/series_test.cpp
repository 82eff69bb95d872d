// Kernels of series that are stored as bf16: they give what they give of the same numbers in f32, rounded once.

#include "kernels/common/series.h"

#include "augment/views.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv1d/implementation.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/pool/pool.h"
#include "kernels/reconstruction/reconstruction.h"
#include "tests/device.h"
#include "tests/kernels/bf16.h"
#include "tests/support.h"

using namespace systole;
using namespace systole::kernels;
using namespace systole::test;

namespace {

constexpr GradientMode kOverwrite = GradientMode::overwrite, kAccumulate = GradientMode::accumulate;

/// Numbers that bf16 holds.
std::vector<float> input(int64_t count, uint32_t which) {
  std::vector<float> values = random_normal(static_cast<size_t>(count), which);
  for (float& x : values) x = to_float(to_bf16(x));
  return values;
}

std::vector<uint16_t> bits(const std::vector<bf16>& values) {
  std::vector<uint16_t> result;
  for (bf16 x : values) result.push_back(x.bits);
  return result;
}

/// One call of a kernel with its series in f32 or in bf16; everything that it wrote.
class Storing {
 public:
  explicit Storing(bool narrow) : narrow_(narrow), device_(Precision::bf16) {}
  Queue& queue() { return device_.queue(); }
  ConstSeries in(const std::vector<float>& values) {
    if (!narrow_) return device_.in(keep(values));
    return device_.in(keep(rounded(values)));
  }
  const float* plain(const std::vector<float>& values) { return device_.in(keep(values)); }
  /// A series that holds `before`.
  Series out(const std::vector<float>& before) {
    if (!narrow_) return device_.out(keep(before, &series_));
    return device_.out(keep(rounded(before), &narrow_series_));
  }
  float* plain_out(size_t count) { return device_.out(keep(std::vector<float>(count, NAN), &plain_)); }
  int32_t* index_out(size_t count) {
    indices_.push_back(std::make_unique<std::vector<int32_t>>(count, -1));
    return device_.out(*indices_.back());
  }
  void finish() { device_.finish(); }

  std::vector<std::vector<float>*> plain_, series_;
  std::vector<std::vector<bf16>*> narrow_series_;

 private:
  template <class T>
  std::vector<T>& keep(std::vector<T> values, std::vector<std::vector<T>*>* list = nullptr) {
    auto& kept = [&]() -> auto& {
      if constexpr (std::is_same_v<T, float>)
        return floats_;
      else
        return narrows_;
    }
    ();
    kept.push_back(std::make_unique<std::vector<T>>(std::move(values)));
    if (list) list->push_back(kept.back().get());
    return *kept.back();
  }

  bool narrow_;
  std::vector<std::unique_ptr<std::vector<float>>> floats_;
  std::vector<std::unique_ptr<std::vector<bf16>>> narrows_;
  std::vector<std::unique_ptr<std::vector<int32_t>>> indices_;
  OnDevice device_;
};

/// Calls `call` in both storages: the series differ by one rounding, everything else not at all.
template <class Call>
void check_rounds_once(const std::string& what, const Call& call) {
  CAPTURE(what);
  Storing wide(false), narrow(true);
  call(wide);
  call(narrow);
  wide.finish();
  narrow.finish();
  REQUIRE(wide.series_.size() == narrow.narrow_series_.size());
  for (size_t i = 0; i < wide.series_.size(); ++i)
    CHECK(bits(*narrow.narrow_series_[i]) == bits(rounded(*wide.series_[i])));
  REQUIRE(wide.plain_.size() == narrow.plain_.size());
  for (size_t i = 0; i < wide.plain_.size(); ++i) CHECK(*narrow.plain_[i] == *wide.plain_[i]);
}

constexpr int kGroups = 2;

/// Scale and shift, mean, variance and slopes of two groups.
struct Channels {
  explicit Channels(int C)
      : scale(input(kGroups * C, 11)), shift(input(kGroups * C, 12)), mean(input(kGroups * C, 13)) {
    for (int i = 0; i < kGroups * C; ++i) var.push_back(0.5f + static_cast<float>(i % 3));
  }
  std::vector<float> scale, shift, mean, var;
};

}  // namespace

TEST_CASE("series: convolutions of bf16 series round once, with everything that is pending") {
  // Leads of an ECG, one lead, an odd number of channels, and whole tiles; a stride, a dilation.
  const Conv1dShape shapes[] = {{4, 37, 12, 24, 5, 2, 2, 1},
                                {2, 70, 1, 8, 7, 1, 3, 1},
                                {2, 33, 5, 7, 3, 1, 2, 2},
                                {4, 66, 64, 64, 3, 1, 1, 1},
                                {2, 140, 32, 128, 3, 2, 1, 1}};
  // Those for all GPUs: wgmma, which f32 series do without, adds up in another order.
  set_convolution(Convolution::portable);
  const Conv1dKernels& conv = conv1d_kernels(device());
  set_convolution(Convolution::systole);
  for (const Conv1dShape& s : shapes) {
    const std::vector<float> x = input(s.input_size(), 1), w = random_normal(static_cast<size_t>(s.weight_size()), 2);
    const std::vector<float> dy = input(s.output_size(), 3), y = input(s.output_size(), 4);
    const std::vector<float> bias = input(s.C_out, 5), before = input(s.input_size(), 6);
    const Channels in(s.C_in), out(s.C_out);
    const auto records = static_cast<size_t>(s.N);
    for (bool pends : {false, true}) {
      const auto affine = [&](Storing& d) {
        return pends ? PendingAffine{d.plain(in.scale), d.plain(in.shift), kGroups, true} : PendingAffine{};
      };
      const auto gradient = [&](Storing& d) {
        if (!pends) return PendingGradient{};
        return PendingGradient{{d.in(y), d.plain(out.mean), d.plain(out.scale), d.plain(out.shift), kGroups, true},
                               d.plain(out.mean),
                               d.plain(out.shift)};
      };
      check_rounds_once(text(s) + " forward", [&](Storing& d) {
        const RecordMoments moments{d.plain_out(records * s.C_out), d.plain_out(records * s.C_out)};
        conv.forward(d.queue(), s, d.in(x), affine(d), d.plain(w), d.plain(bias), d.out(y), moments);
      });
      for (GradientMode mode : {kOverwrite, kAccumulate})
        check_rounds_once(text(s) + " input gradient", [&](Storing& d) {
          const RecordGradientSums sums{
              {d.in(x), d.plain(in.mean), d.plain(in.scale), d.plain(in.shift), kGroups, true},
              pends ? d.plain_out(records * s.C_in) : nullptr,
              pends ? d.plain_out(records * s.C_in) : nullptr};
          conv.input_gradient(d.queue(), s, d.in(dy), gradient(d), d.plain(w), d.out(before), mode, sums);
        });
      check_rounds_once(text(s) + " weight gradient", [&](Storing& d) {
        conv.weight_gradient(d.queue(), s, d.in(x), affine(d), d.in(dy), gradient(d),
                             d.plain_out(static_cast<size_t>(s.weight_size())), d.plain_out(s.C_out), kOverwrite);
      });
    }
  }
}

TEST_CASE("series: BatchNorm, pooling and element-wise kernels of bf16 series round once") {
  for (int C : {1, 5, 12, 64}) {
    const int N = 4, L = 29;
    const int64_t count = int64_t{N} * L * C;
    const std::vector<float> x = input(count, 1), dy = input(count, 2), before = input(count, 3);
    const Channels of(C);
    const BatchNormShape norm{kGroups, N, L, C};
    const BatchNormKernels& bn = batch_norm_kernels(device());
    const auto groups = static_cast<size_t>(kGroups * C), records = static_cast<size_t>(N * C);
    check_rounds_once("statistics", [&](Storing& d) {
      bn.statistics(d.queue(), norm, d.in(x), d.plain_out(groups), d.plain_out(groups));
    });
    check_rounds_once("apply", [&](Storing& d) {
      bn.apply(d.queue(), norm, d.in(x), d.plain(of.scale), d.plain(of.shift), true, d.out(before));
    });
    check_rounds_once("dy", [&](Storing& d) {
      const NormalizedOutput output{d.in(x), d.plain(of.mean), d.plain(of.scale), d.plain(of.shift), kGroups, true};
      bn.backward_apply(d.queue(), norm, d.in(dy), {output, d.plain(of.mean), d.plain(of.shift)}, d.out(before));
    });
    check_rounds_once("sums", [&](Storing& d) {
      bn.backward_sums(d.queue(), norm, d.in(dy),
                       {{d.in(x), d.plain(of.mean), d.plain(of.scale), d.plain(of.shift), kGroups, true},
                        d.plain_out(records),
                        d.plain_out(records)});
    });

    const MeanShape mean{N, L, C};
    const MaxPoolShape window{N, L, C, 3, 2, 1}, whole{N, L, C, L, 1};
    const std::vector<float> of_records = input(N * C, 4);
    const PoolKernels& pool = pool_kernels(device());
    check_rounds_once("mean", [&](Storing& d) {
      pool.mean_forward(d.queue(), mean, d.in(x), {d.plain(of.scale), d.plain(of.shift), kGroups, true},
                        d.plain_out(records));
    });
    const auto windows = static_cast<size_t>(N * window.L_out() * C);
    std::vector<int32_t> where(windows);
    for (size_t i = 0; i < windows; ++i) where[i] = 2 * static_cast<int32_t>(i / C % window.L_out());
    check_rounds_once("maximum", [&](Storing& d) {
      pool.max_forward(d.queue(), window, d.in(x), d.out(input(static_cast<int64_t>(windows), 5)),
                       d.index_out(windows));
    });
    check_rounds_once("maximum of all", [&](Storing& d) {
      pool.max_forward(d.queue(), whole, d.in(x), d.plain_out(records), d.index_out(records));
    });

    const ElementwiseKernels& map = elementwise_kernels(device());
    check_rounds_once("relu", [&](Storing& d) { map.relu(d.queue(), count, d.in(x), d.out(before)); });
    check_rounds_once("add", [&](Storing& d) { map.add(d.queue(), count, d.in(x), d.in(dy), d.out(before)); });
    check_rounds_once("split_leads", [&](Storing& d) {
      map.split_leads(d.queue(), {2, N / 2, L, C}, d.in(x), d.out(before));
    });
    const std::vector<float> other = input(int64_t{N} * L * 4, 6), joined = input(int64_t{N} * L * (C + 4), 7);
    check_rounds_once("concatenate", [&](Storing& d) {
      map.concatenate(d.queue(), {int64_t{N} * L, C, 4}, d.in(x), d.in(other), d.out(joined));
    });
    check_rounds_once("concatenate_backward", [&](Storing& d) {
      map.concatenate_backward(d.queue(), {int64_t{N} * L, C, 4}, d.in(joined), d.out(before), kAccumulate,
                               d.out(other), kOverwrite);
    });
    const ReconstructionKernels& masked = reconstruction_kernels(device());
    const BlockMaskShape mask{N, L, C, 4, 0.5f, 3, {}};
    check_rounds_once("mask_blocks", [&](Storing& d) { masked.mask_blocks(d.queue(), mask, d.in(x), d.out(before)); });
    check_rounds_once("squared error", [&](Storing& d) {
      masked.squared_error_forward(d.queue(), count, d.in(x), d.in(dy), d.plain_out(1));
    });
    const std::vector<float> upstream{3.0f};
    for (GradientMode mode : {kOverwrite, kAccumulate}) {
      for (bool training : {true, false})
        check_rounds_once("backward", [&](Storing& d) {
          const auto call = [&](const auto& kernel) {
            kernel(d.queue(), norm, d.in(x), d.in(dy), d.plain(of.mean), d.plain(of.var), 1e-5f, d.plain(of.scale),
                   d.plain(of.shift), true, d.out(before), mode, d.plain_out(C), d.plain_out(C), kOverwrite);
          };
          training ? call(bn.backward) : call(bn.backward_evaluation);
        });
      for (bool sums : {false, true})
        check_rounds_once("gradient of the mean", [&](Storing& d) {
          RecordGradientSums wanted;
          if (sums)
            wanted = {{d.in(x), d.plain(of.mean), d.plain(of.scale), d.plain(of.shift), kGroups, true},
                      d.plain_out(records),
                      d.plain_out(records)};
          pool.mean_backward(d.queue(), mean, d.plain(of_records), d.out(before), mode, wanted);
        });
      check_rounds_once("gradient of the maximum", [&](Storing& d) {
        OnDevice indices;
        pool.max_backward(d.queue(), window, d.in(input(static_cast<int64_t>(windows), 8)), indices.in(where),
                          d.out(before), mode);
        d.queue().synchronize();
      });
      check_rounds_once("relu_backward", [&](Storing& d) {
        map.relu_backward(d.queue(), count, d.in(x), d.in(dy), d.out(before), mode);
      });
      check_rounds_once("scale", [&](Storing& d) { map.scale(d.queue(), count, 0.3f, d.in(x), d.out(before), mode); });
      check_rounds_once("dropout", [&](Storing& d) {
        map.dropout(d.queue(), {N, int64_t{L} * C, 0.4f, 5, {}, 1}, d.in(x), d.out(before), mode);
      });
      const PendingAffine none;
      for (float p : {0.0f, 0.4f}) {
        const DropoutShape drop{N, int64_t{L} * C, p, 5, {}, 1};
        check_rounds_once("residual", [&](Storing& d) {
          map.residual(d.queue(), {N, L, C}, d.in(x), {d.plain(of.scale), d.plain(of.shift), kGroups, true}, d.in(dy),
                       none, drop, d.out(before));
        });
        check_rounds_once("gradients of the residual", [&](Storing& d) {
          map.residual_backward(d.queue(), {N, L, C}, d.in(x), d.in(dy), drop, d.out(before), mode, d.out(x),
                                kOverwrite);
        });
      }
      check_rounds_once("gradient of the squared error", [&](Storing& d) {
        masked.squared_error_backward(d.queue(), count, d.in(x), d.in(dy), d.plain(upstream), d.out(before), mode);
      });
    }
  }
}

TEST_CASE("series: two that are stored differently, and a kernel of f32 alone, are refused with the kernel's name") {
  const std::vector<float> x = input(8, 1);
  std::vector<bf16> y = rounded(x), out(8);
  OnDevice d;
  if (device() != Device::cpu) {
    try {
      elementwise_kernels(device()).relu(d.queue(), 8, d.in(x), d.out(y));
      FAIL("two storages were not refused");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).starts_with("elementwise.relu 8 values: some of its series are stored as f32"));
    }
    const Conv1dShape shape{1, 8, 1, 1, 1};
    const std::vector<float> w{1};
    CHECK_THROWS_WITH_AS(
        conv1d_kernels(device()).forward(d.queue(), shape, d.in(y), {}, d.in(w), nullptr, d.out(out), {}),
        doctest::Contains("need that precision, not f32"), Error);
  }
  const Series narrow(d.out(y));
  CHECK_THROWS_WITH_AS(static_cast<void>(static_cast<float*>(narrow)),
                       doctest::Contains("a series is stored as bf16; this kernel reads and writes f32"), LaunchError);
}
