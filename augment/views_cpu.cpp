// Views on the cpu: one record and view at a time, in the cache of its core.

#include <algorithm>
#include <cmath>

#include "augment/views.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox.h"

namespace systole::augment::cpu {
namespace {

/// What each stream of a view's random numbers is for; part of every result, so the numbers never change.
enum Detail : uint32_t { kSegment = 0, kGain = 1, kNoise = 2, kNoiseValues = 3, kWander = 4, kMask = 5 };

/// One view: who it is, and where it is written.
struct View {
  const ViewShape& shape;
  uint64_t seed;
  uint32_t step, record, number;
  float* x;  // [L, C]

  RandomStream stream(Detail detail) const {
    return RandomStream(seed, Purpose::augmentation, step, record, number, detail);
  }
};

int segment_start(const View& view) {
  const int room = view.shape.L_in - view.shape.L;
  if (view.shape.segment == Segment::centre) return room / 2;
  return static_cast<int>(view.stream(kSegment).below(0, static_cast<uint32_t>(room) + 1));
}

void load_normalized(const View& view, const ViewSource& source) {
  const int C = view.shape.C;
  const int16_t* samples =
      source.samples + (size_t{view.record} * view.shape.L_in + static_cast<size_t>(segment_start(view))) * C;
  float* factor = thread_scratch(0, 2 * static_cast<size_t>(C));
  float* shift = factor + C;
  for (int c = 0; c < C; ++c) {
    const size_t i = size_t{view.record} * C + static_cast<size_t>(c);
    factor[c] = source.scale[i] / source.std[c];
    shift[c] = (source.offset[i] - source.mean[c]) / source.std[c];
  }
  for (int l = 0; l < view.shape.L; ++l)
    for (int c = 0; c < C; ++c) view.x[l * C + c] = static_cast<float>(samples[l * C + c]) * factor[c] + shift[c];
}

/// One draw per lead, uniform in [low, high), from draw `first` of the stream on; in the calling thread's scratch
/// memory.
const float* draw_per_lead(const RandomStream& stream, uint32_t first, int C, float low, float high, int slot) {
  float* values = thread_scratch(slot, static_cast<size_t>(C));
  for (int c = 0; c < C; ++c) values[c] = stream.uniform(first + static_cast<uint32_t>(c), low, high);
  return values;
}

void apply_gain(const View& view, const SimpleRecipe& recipe) {
  const RandomStream stream = view.stream(kGain);
  if (stream.uniform(0) >= recipe.gain_p) return;
  const int C = view.shape.C;
  const float* gain = draw_per_lead(stream, 1, C, recipe.gain_low, recipe.gain_high, 0);
  for (int l = 0; l < view.shape.L; ++l)
    for (int c = 0; c < C; ++c) view.x[l * C + c] *= gain[c];
}

void add_noise(const View& view, const SimpleRecipe& recipe) {
  const RandomStream stream = view.stream(kNoise);
  if (stream.uniform(0) >= recipe.noise_p) return;
  const int C = view.shape.C;
  const float* std = draw_per_lead(stream, 1, C, recipe.noise_std_low, recipe.noise_std_high, 0);
  const RandomStream values = view.stream(kNoiseValues);
  for (int l = 0; l < view.shape.L; ++l)
    for (int c = 0; c < C; ++c) view.x[l * C + c] += std[c] * values.normal(static_cast<uint32_t>(l * C + c));
}

/// A sin(ωt + φ) = A cos φ · sin ωt + A sin φ · cos ωt: two functions of time serve all leads.
void add_wander(const View& view, const SimpleRecipe& recipe, double sampling_rate_hz) {
  const RandomStream stream = view.stream(kWander);
  if (stream.uniform(0) >= recipe.wander_p) return;
  constexpr float kTwoPi = 6.28318530717958648f;
  const int C = view.shape.C;
  const auto leads = static_cast<uint32_t>(C);
  const float radians_per_sample = kTwoPi * stream.uniform(1, 0.1f, 0.6f) / static_cast<float>(sampling_rate_hz);
  const float* amplitude = draw_per_lead(stream, 2, C, recipe.wander_low, recipe.wander_high, 0);
  const float* phase = draw_per_lead(stream, 2 + leads, C, 0, kTwoPi, 1);
  float* sine_weight = thread_scratch(2, 2 * static_cast<size_t>(C));
  float* cosine_weight = sine_weight + C;
  for (int c = 0; c < C; ++c) {
    sine_weight[c] = amplitude[c] * std::cos(phase[c]);
    cosine_weight[c] = amplitude[c] * std::sin(phase[c]);
  }
  for (int l = 0; l < view.shape.L; ++l) {
    const float angle = radians_per_sample * static_cast<float>(l);
    const float sine = std::sin(angle), cosine = std::cos(angle);
    for (int c = 0; c < C; ++c) view.x[l * C + c] += sine_weight[c] * sine + cosine_weight[c] * cosine;
  }
}

void mask_time(const View& view, const SimpleRecipe& recipe) {
  const RandomStream stream = view.stream(kMask);
  if (stream.uniform(0) >= recipe.mask_p) return;
  const int length = static_cast<int>(stream.uniform(1, recipe.mask_share_low, recipe.mask_share_high) *
                                      static_cast<float>(view.shape.L));
  const int start = static_cast<int>(stream.below(2, static_cast<uint32_t>(view.shape.L - length) + 1));
  std::fill_n(view.x + start * view.shape.C, length * view.shape.C, 0.0f);
}

void views(Queue&, const ViewShape& shape, const ViewSource& source, const SimpleRecipe& recipe, uint64_t seed,
           uint32_t step, float* output) {
  parallel_for(int64_t{shape.V} * shape.N, [&](int64_t row) {
    const View view{shape,
                    seed,
                    step,
                    source.records[row % shape.N],
                    static_cast<uint32_t>(row / shape.N),
                    output + row * shape.L * shape.C};
    load_normalized(view, source);
    apply_gain(view, recipe);
    add_noise(view, recipe);
    add_wander(view, recipe, source.sampling_rate_hz);
    mask_time(view, recipe);
  });
}

}  // namespace

const AugmentKernels augment{.views = views};

}  // namespace systole::augment::cpu
