// Views on the cuda and simt devices. One block makes one view of one record. Everything that is drawn once per view or
// per lead is drawn first, into shared memory; then every sample is read, normalised, augmented and written in one
// pass.
//
// Every draw is the cpu's (views_cpu.cpp): the same streams, the same numbers in them. Normal numbers 4q … 4q + 3 of
// the noise come from one Philox block, so a thread takes four neighbouring values; with a number of leads that is a
// multiple of four they belong to one moment, and its sine and cosine are computed once.

#include <cmath>

#include "augment/views.h"
#include "kernels/common/launch.h"
#include "kernels/common/philox.h"

namespace systole::augment::SYSTOLE_TARGET {
namespace {

using kernels::SYSTOLE_TARGET::dynamic_shared;
using kernels::SYSTOLE_TARGET::launch;

constexpr int kThreads = 256;
constexpr int kValues = 4;  // of one Philox block
constexpr float kTwoPi = 6.28318530717958648f;

/// What each stream of a view's random numbers is for; part of every result, so the numbers never change.
enum Detail : uint32_t { kSegment = 0, kGain = 1, kNoise = 2, kNoiseValues = 3, kWander = 4, kMask = 5 };

/// Names the view of this block.
struct View {
  uint64_t seed;
  uint32_t step, record, number;

  __device__ RandomStream stream(Detail detail) const {
    return RandomStream(seed, Purpose::augmentation, step, record, number, detail);
  }
};

/// What is drawn once per view.
struct Plan {
  int start;                 // first sample of the segment
  int mask_begin, mask_end;  // positions that are set to zero
  bool noise, wander;
  float radians_per_sample;  // of the wander
};

/// What is fixed or drawn per lead: x · factor + shift normalises, gain included.
struct Lead {
  float factor, shift, gain, noise_std, sine_weight, cosine_weight;
};

__device__ Plan plan_of(const View& view, const ViewShape& shape, const SimpleRecipe& recipe, float sampling_rate_hz) {
  Plan plan{};
  const int room = shape.L_in - shape.L;
  plan.start = room / 2;
  if (shape.segment == Segment::random)
    plan.start = static_cast<int>(view.stream(kSegment).below(0, static_cast<uint32_t>(room) + 1));
  plan.noise = view.stream(kNoise).uniform(0) < recipe.noise_p;
  const RandomStream wander = view.stream(kWander);
  plan.wander = wander.uniform(0) < recipe.wander_p;
  plan.radians_per_sample = kTwoPi * wander.uniform(1, 0.1f, 0.6f) / sampling_rate_hz;
  const RandomStream mask = view.stream(kMask);
  if (mask.uniform(0) < recipe.mask_p) {
    const int length =
        static_cast<int>(mask.uniform(1, recipe.mask_share_low, recipe.mask_share_high) * static_cast<float>(shape.L));
    plan.mask_begin = static_cast<int>(mask.below(2, static_cast<uint32_t>(shape.L - length) + 1));
    plan.mask_end = plan.mask_begin + length;
  }
  return plan;
}

__device__ Lead lead_of(const View& view, const ViewSource& source, const SimpleRecipe& recipe, int C, int c) {
  const auto draw = static_cast<uint32_t>(c), leads = static_cast<uint32_t>(C);
  const size_t i = size_t{view.record} * C + c;
  const RandomStream gain = view.stream(kGain), noise = view.stream(kNoise), wander = view.stream(kWander);
  const float amplitude = wander.uniform(2 + draw, recipe.wander_low, recipe.wander_high);
  const float phase = wander.uniform(2 + leads + draw, 0, kTwoPi);
  return {.factor = source.scale[i] / source.std[c],
          .shift = (source.offset[i] - source.mean[c]) / source.std[c],
          .gain = gain.uniform(0) < recipe.gain_p ? gain.uniform(1 + draw, recipe.gain_low, recipe.gain_high) : 1.0f,
          .noise_std = noise.uniform(1 + draw, recipe.noise_std_low, recipe.noise_std_high),
          .sine_weight = amplitude * std::cos(phase),
          .cosine_weight = amplitude * std::sin(phase)};
}

/// Normal numbers 4q … 4q + 3 of a stream, as RandomStream::normal gives them one by one.
__device__ __forceinline__ void draw_normals(const RandomStream& stream, uint32_t q, float (&normal)[kValues]) {
  const Philox4 words = stream.block(q);
#pragma unroll
  for (int pair = 0; pair < kValues / 2; ++pair) {
    const float radius = std::sqrt(-2.0f * std::log(1.0f - RandomStream::to_uniform(words.word[2 * pair])));
    const float angle = kTwoPi * RandomStream::to_uniform(words.word[2 * pair + 1]);
    normal[2 * pair] = radius * std::cos(angle);
    normal[2 * pair + 1] = radius * std::sin(angle);
  }
}

/// Four neighbouring values of a view, the first of them number `first` of its L·C.
__device__ __forceinline__ void make_values(const View& view, const Plan& plan, const Lead* leads,  // [C]
                                            const int16_t* samples,  // [L, C], from the segment's start
                                            int L, int C, int first, float (&value)[kValues]) {
  float normal[kValues] = {};
  if (plan.noise) draw_normals(view.stream(kNoiseValues), static_cast<uint32_t>(first / kValues), normal);
  int l = first / C, c = first % C;
  float sine = 0, cosine = 0;
#pragma unroll
  for (int k = 0; k < kValues; ++k) {
    value[k] = 0;
    if (l >= L) break;  // the end of the view
    if (plan.wander && (k == 0 || c == 0)) {
      const float angle = plan.radians_per_sample * static_cast<float>(l);
      sine = std::sin(angle);
      cosine = std::cos(angle);
    }
    if (l < plan.mask_begin || l >= plan.mask_end) {
      const Lead lead = leads[c];
      value[k] = (static_cast<float>(samples[first + k]) * lead.factor + lead.shift) * lead.gain;
      if (plan.noise) value[k] += lead.noise_std * normal[k];
      if (plan.wander) value[k] += lead.sine_weight * sine + lead.cosine_weight * cosine;
    }
    if (++c == C) {
      c = 0;
      ++l;
    }
  }
}

/// Block v·N + n: view v of record n.
__global__ __launch_bounds__(kThreads, 4) void make_views(ViewShape shape, ViewSource source, SimpleRecipe recipe,
                                                          uint64_t seed, uint32_t step,
                                                          float* __restrict__ views) {  // [V·N, L, C]
  auto* const leads = dynamic_shared<Lead>();                                           // [C]
  const int thread = static_cast<int>(threadIdx.x), L = shape.L, C = shape.C;
  const unsigned N = static_cast<unsigned>(shape.N);
  const View view{seed, step, source.records[blockIdx.x % N], blockIdx.x / N};
  // Drawn by every thread for itself: a few Philox blocks, and no barrier to wait at.
  const Plan plan = plan_of(view, shape, recipe, static_cast<float>(source.sampling_rate_hz));
  for (int c = thread; c < C; c += kThreads) leads[c] = lead_of(view, source, recipe, C, c);
  __syncthreads();

  const int16_t* samples = source.samples + (size_t{view.record} * shape.L_in + plan.start) * C;
  const int count = L * C;
  float* out = views + size_t{blockIdx.x} * count;
  const bool aligned = count % kValues == 0;  // then every view starts at a multiple of 16 bytes
  for (int first = thread * kValues; first < count; first += kThreads * kValues) {
    float value[kValues] = {};
    make_values(view, plan, leads, samples, L, C, first, value);
    if (aligned) {
      *reinterpret_cast<float4*>(out + first) = make_float4(value[0], value[1], value[2], value[3]);
    } else {
#pragma unroll
      for (int k = 0; k < kValues; ++k)
        if (first + k < count) out[first + k] = value[k];
    }
  }
}

void views(Queue& queue, const ViewShape& shape, const ViewSource& source, const SimpleRecipe& recipe, uint64_t seed,
           uint32_t step, float* output) {
  launch(queue,
         {.grid = {int64_t{shape.V} * shape.N},
          .block = {kThreads},
          .shared_bytes = sizeof(Lead) * static_cast<size_t>(shape.C)},
         make_views, shape, source, recipe, seed, step, output);
}

}  // namespace

extern const AugmentKernels augment{.views = views};

}  // namespace systole::augment::SYSTOLE_TARGET
