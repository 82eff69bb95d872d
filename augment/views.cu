// Views on the cuda and simt devices. One block makes four neighbouring leads of one view: it reads the raw samples,
// keeps the four leads in shared memory, one quad of 16 bytes a moment, runs every transformation there and writes the
// result once. Why four: a Philox block has four normal numbers, 16 bytes are one access to shared and global memory,
// and four leads of 5,000 samples at 500 Hz with the room that the filter needs (8,192 quads) take 128 KB, which a
// block can have.
//
// What is drawn once per view or lead is drawn by a few threads into shared memory (draws.h); the rest is done by all
// threads, each for every 256th moment. Barriers stand only where a thread reads what another one wrote: around the
// filter, in the sums over time, and before dropouts are bridged.

#include <cmath>

#include "augment/draws.h"
#include "augment/fourier.cuh"
#include "augment/views.h"
#include "kernels/common/collectives.h"
#include "kernels/common/intrinsics.h"
#include "kernels/common/launch.h"

namespace systole::augment::SYSTOLE_TARGET {
namespace {

using namespace systole::kernels::SYSTOLE_TARGET;
using kernels::ceil_div;

struct alignas(16) Shared {
  ViewPlan plan;
  LeadPlan lead[kLeads];
  uint64_t mixup_key[kThreads / 32], cutmix_key[kThreads / 32];
  // vcg: samples of all leads → X, Y, Z in mV, and the rotated X, Y, Z → these four leads.
  float to_vector[3][VcgTransform::kMaxLeads], vector_offset[3], to_lead[kLeads][3];
  Quad of_warp[kThreads / 32];
  // Behind it: Quad x[L or the filter's circle].
};

/// body(s) for the four leads of a quad, as four pieces of code: an index that is only known when the kernel runs would
/// put the quad into slow local memory. What lies beyond the last lead is zero or never written.
template <class Body>
__device__ __forceinline__ void for_leads(const Body& body) {
#pragma unroll
  for (int s = 0; s < kLeads; ++s) body(s);
}

/// body(i) for the thread's share of 0 … count − 1. Not unrolled: the kernel is long, and what it executes must fit
/// into the instruction cache of a multiprocessor.
template <class Body>
__device__ __forceinline__ void for_own(int count, const Body& body) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) body(i);
}

/// What the threads of a block share by value.
struct Block {
  const ViewShape& shape;
  const ViewSource& source;
  ViewName name;
  int first, count;  // leads
  Shared& shared;
  Quad* x;  // [L or P], millivolts

  __device__ int L() const { return shape.L; }
  __device__ const int16_t* record(uint32_t r) const { return source.samples + size_t{r} * shape.L_in * shape.C; }
};

__device__ void draw(const Block& block, const Recipe& recipe) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto sampling_rate_hz = static_cast<float>(block.source.sampling_rate_hz);
  if (thread == 0) block.shared.plan = {};
  __syncthreads();
  // By one thread of each warp, so that all run side by side: a draw is a chain of some hundred cycles.
  static_assert(kPlanParts < kThreads / 32);
  const int warp = thread / 32, lead = thread - kPlanParts * 32;
  if (warp < kPlanParts && thread % 32 == 0)
    draw_part(warp, block.name, block.shape, recipe, sampling_rate_hz, block.shared.plan);
  if (lead >= 0 && lead < kLeads)
    block.shared.lead[lead] =
        lead < block.count ? draw_lead(block.name, block.shape, recipe, block.first + lead) : LeadPlan{};
  __syncthreads();
}

/// The smallest key over the batch; the largest complement, since collectives have a maximum.
__device__ void find_partners(const Block& block) {
  Shared& shared = block.shared;
  uint64_t mixup = 0, cutmix = 0;
  for_own(block.shape.N, [&](int n) {
    const PartnerKeys keys = partner_keys(block.name, block.source.records[n]);
    mixup = mixup > ~keys.mixup ? mixup : ~keys.mixup;
    cutmix = cutmix > ~keys.cutmix ? cutmix : ~keys.cutmix;
  });
  mixup = warp_max(mixup);
  cutmix = warp_max(cutmix);
  if (threadIdx.x % 32 == 0) {
    shared.mixup_key[threadIdx.x / 32] = mixup;
    shared.cutmix_key[threadIdx.x / 32] = cutmix;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kThreads / 32; ++w) {
      if (shared.mixup_key[w] > shared.mixup_key[0]) shared.mixup_key[0] = shared.mixup_key[w];
      if (shared.cutmix_key[w] > shared.cutmix_key[0]) shared.cutmix_key[0] = shared.cutmix_key[w];
    }
    if (shared.mixup_key[0] == ~kNoPartner) shared.plan.mixed = shared.plan.cut = false;
  }
  __syncthreads();
}

/// Samples of these four leads at position i of a record; zeros for leads beyond the last.
__device__ __forceinline__ Quad read_samples(const Block& block, const int16_t* record, int i) {
  const int C = block.shape.C;
  const int16_t* from = record + static_cast<size_t>(i) * C + block.first;
  Quad raw{};
  if (C % kLeads == 0) {  // then a quad is 8 aligned bytes
    const uint2 words = *reinterpret_cast<const uint2*>(from);
    raw.lead[0] = static_cast<float>(static_cast<int16_t>(words.x & 0xFFFF));
    raw.lead[1] = static_cast<float>(static_cast<int16_t>(words.x >> 16));
    raw.lead[2] = static_cast<float>(static_cast<int16_t>(words.y & 0xFFFF));
    raw.lead[3] = static_cast<float>(static_cast<int16_t>(words.y >> 16));
  } else {
    for_leads([&](int s) {
      if (s < block.count) raw.lead[s] = static_cast<float>(from[s]);
    });
  }
  return raw;
}

/// What makes millivolts of a record's samples, for these four leads; zeros beyond the last.
struct Calibration {
  Quad scale{}, offset{};

  __device__ __forceinline__ Calibration(const Block& block, uint32_t record) {
    const size_t first = size_t{record} * block.shape.C + block.first;
    for_leads([&](int s) {
      if (s < block.count)
        scale.lead[s] = block.source.scale[first + s], offset.lead[s] = block.source.offset[first + s];
    });
  }
  __device__ __forceinline__ Quad operator()(Quad value) const {
    for_leads([&](int s) { value.lead[s] = value.lead[s] * scale.lead[s] + offset.lead[s]; });
    return value;
  }
};
__device__ __forceinline__ Quad read_millivolts(const Block& block, uint32_t record, int i) {
  return Calibration(block, record)(read_samples(block, block.record(record), i));
}

/// The matrices of the VCG augmentation for this record and view.
__device__ void prepare_rotation(const Block& block) {
  Shared& shared = block.shared;
  const VcgTransform& vcg = block.source.vcg;
  const int C = block.shape.C, c = static_cast<int>(threadIdx.x);
  const size_t first = size_t{block.name.record} * C;
  if (c < C)
    for (int k = 0; k < 3; ++k) shared.to_vector[k][c] = vcg.inverse[k][c] * block.source.scale[first + c];
  if (c < 3) {
    shared.vector_offset[c] = 0;
    for (int lead = 0; lead < C; ++lead)
      shared.vector_offset[c] += vcg.inverse[c][lead] * block.source.offset[first + lead];
  }
  if (c < block.count)
    for (int k = 0; k < 3; ++k) {
      shared.to_lead[c][k] = 0;
      for (int i = 0; i < 3; ++i) shared.to_lead[c][k] += vcg.forward[block.first + c][i] * shared.plan.rotation[i][k];
    }
  __syncthreads();
}

/// X, Y, Z in mV at position i of the record.
__device__ Quad read_vector(const Block& block, int i) {
  const Shared& shared = block.shared;
  const int16_t* from = block.record(block.name.record) + static_cast<size_t>(i) * block.shape.C;
  Quad vector{{shared.vector_offset[0], shared.vector_offset[1], shared.vector_offset[2], 0}};
#pragma unroll 1  // the registers of more would keep a block from the multiprocessor
  for (int c = 0; c < block.shape.C; ++c) {
    const auto sample = static_cast<float>(from[c]);
    for (int k = 0; k < 3; ++k) vector.lead[k] += shared.to_vector[k][c] * sample;
  }
  return vector;
}

/// What `read` gives for the record's position, at position l of the view: between samples where time is warped.
template <class Read>
__device__ __forceinline__ Quad read_at(const Block& block, int l, const Read& read) {
  const ViewPlan& plan = block.shared.plan;
  const int at = plan.start - plan.shift + l;
  if (!plan.warped) return read(at);
  const float d = plan.warp.displacement(l), whole = floorf(d);
  float weight[4];
  cubic_weights(d - whole, weight);
  Quad value{};
  for (int k = 0; k < 4; ++k)
    value = value + read(mirrored(at + static_cast<int>(whole) - 1 + k, block.shape.L_in)) * weight[k];
  return value;
}

/// The view of the record itself. Two loops, so that the registers of the one are not also the other's.
__device__ __forceinline__ void load(const Block& block) {
  const Shared& shared = block.shared;
  const ViewPlan& plan = shared.plan;
  if (plan.rotated) {
    for_own(block.L(), [&](int l) {
      Quad value{};
      if (plan.kept.contains(l)) {
        const Quad vector = read_at(block, l, [&](int i) { return read_vector(block, i); });
        for_leads([&](int s) {
          if (s < block.count)
            for (int k = 0; k < 3; ++k) value.lead[s] += shared.to_lead[s][k] * vector.lead[k];
        });
      }
      block.x[l] = value;
    });
    return;
  }
  const Calibration calibration(block, block.name.record);
  const int16_t* samples = block.record(block.name.record);
  for_own(block.L(), [&](int l) {
    Quad value{};
    if (plan.kept.contains(l))
      value = calibration(read_at(block, l, [&](int i) { return read_samples(block, samples, i); }));
    block.x[l] = value;
  });
}

/// What mixup and CutMix put in from other records.
__device__ __forceinline__ void mix(const Block& block) {
  const Shared& shared = block.shared;
  const ViewPlan& plan = shared.plan;
  for_own(block.L(), [&](int l) {
    Quad value = block.x[l];
    if (plan.mixed) {
      const auto partner = static_cast<uint32_t>(~shared.mixup_key[0]);
      value = value * plan.own_weight + read_millivolts(block, partner, plan.start + l) * (1 - plan.own_weight);
    }
    if (plan.cut && plan.cut_segment.contains(l))
      value = read_millivolts(block, static_cast<uint32_t>(~shared.cutmix_key[0]), plan.start + l);
    block.x[l] = value;
  });
}

/// Zero-phase band-pass: the transform of the circle, times a response that is real, transformed back.
__device__ void band_pass(const Block& block, int P) {
  Quad* const x = block.x;
  const ViewPlan& plan = block.shared.plan;
  const int L = block.L(), room = P - L;
  __syncthreads();
  // The circle is closed: the view's end mirrored, fading into its mirrored beginning.
  for_own(room, [&](int i) {
    const float turn = (static_cast<float>(i) + 0.5f) / static_cast<float>(room);
    const float beginning = turn * turn * (3 - 2 * turn);
    x[L + i] = x[circle_mirror(L - 1 - i, L)] * (1 - beginning) + x[circle_mirror(room - 1 - i, L)] * beginning;
  });
  __syncthreads();
  const bool of_3 = P % 3 == 0;
  if (of_3) forward_step_of_3(x, P);
  const int largest = of_3 ? P / 3 : P;  // blocks, from here on
  int n = largest;
  for (; n >= 4; n /= 4) forward_step(x, P, n);

  const float hz = static_cast<float>(block.source.sampling_rate_hz) / static_cast<float>(P);
  const auto scaled_response = [&](int p) {
    const auto f_hz = static_cast<float>(frequency_of_row(p, P)) * hz;
    return band_pass_response(f_hz, plan.low_hz, plan.high_hz) / static_cast<float>(P);
  };
  for_own(P / 2, [&](int pair) {
    const int p = 2 * pair;
    Quad a = x[p], b = x[p + 1];
    const float response_a = scaled_response(p), response_b = scaled_response(p + 1);
    if (n == 2) {  // a last step of radix 2, there and back
      const Quad sum = (a + b) * response_a, difference = (a - b) * response_b;
      a = sum + difference;
      b = sum - difference;
    } else {
      a = a * response_a;
      b = b * response_b;
    }
    x[p] = a;
    x[p + 1] = b;
  });
  __syncthreads();
  for (n = n == 2 ? 8 : 4; n <= largest; n *= 4) inverse_step(x, P, n);
  if (of_3) inverse_step_of_3(x, P);
}

/// The sums over all threads, in every one; two barriers.
__device__ __forceinline__ Quad sum_over_threads(Quad value, Quad (&of_warp)[kThreads / 32]) {
  for_leads([&](int s) { value.lead[s] = warp_sum(value.lead[s]); });
  __syncthreads();  // the last call's readers are done
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
  __syncthreads();
  Quad sum{};
  for (const Quad& one : of_warp) sum = sum + one;
  return sum;
}

/// Standard deviation of each lead over the view.
__device__ Quad deviation(const Block& block) {
  const int L = block.L();
  const float share = 1 / static_cast<float>(L);
  Quad sum{}, squares{};
  for_own(L, [&](int l) { sum = sum + block.x[l]; });
  const Quad mean = sum_over_threads(sum, block.shared.of_warp) * share;
  for_own(L, [&](int l) {
    const Quad difference = block.x[l] - mean;
    for_leads([&](int s) { squares.lead[s] += difference.lead[s] * difference.lead[s]; });
  });
  Quad result = sum_over_threads(squares, block.shared.of_warp) * share;
  for_leads([&](int s) { result.lead[s] = std::sqrt(result.lead[s]); });
  return result;
}

/// Gain and offset, then all that is added. What would change nothing is left out, here and in write().
__device__ void scale_and_add(const Block& block) {
  const Shared& shared = block.shared;
  const ViewPlan& plan = shared.plan;
  Quad gain, offset;
  bool scales = false;
  for_leads([&](int s) {
    gain.lead[s] = plan.gain * shared.lead[s].gain;
    offset.lead[s] = shared.lead[s].offset_mv;
    scales |= gain.lead[s] != 1 || offset.lead[s] != 0;
  });
  if (scales)
    for_own(block.L(), [&](int l) {
      Quad value = block.x[l];
      for_leads([&](int s) { value.lead[s] = value.lead[s] * gain.lead[s] + offset.lead[s]; });
      block.x[l] = value;
    });
  if (!plan.noise && !plan.muscle && !plan.artifact && !plan.mains && plan.step_at >= block.L()) return;

  Quad noise{};  // the standard deviation of white noise: the sum of two independent normal values is one
  if (plan.noise) {
    bool relative = false;
    for (int s = 0; s < kLeads; ++s) relative |= shared.lead[s].noise_fraction != 0;
    if (relative) noise = deviation(block);
    for_leads([&](int s) {
      if (s >= block.count) return;
      const float own = noise.lead[s] * shared.lead[s].noise_fraction;
      const float constant = shared.lead[s].noise_sd * block.source.std[block.first + s];
      noise.lead[s] = std::sqrt(own * own + constant * constant);
    });
  }

  const auto quads = static_cast<uint32_t>((block.shape.C + kLeads - 1) / kLeads),
             quad = static_cast<uint32_t>(block.first / kLeads);
  const auto normals = [&](Draw what, int l, float(&normal)[4]) {
    RandomStream::to_normals(block.name.stream(what).block(static_cast<uint32_t>(l) * quads + quad), normal);
  };
  for_own(block.L(), [&](int l) {
    Quad value = block.x[l];
    if (plan.noise) {
      float normal[4];
      normals(Draw::noise_values, l, normal);
      for_leads([&](int s) { value.lead[s] += noise.lead[s] * normal[s]; });
    }
    if (plan.muscle && plan.burst.contains(l)) {
      float now[4], next[4];
      normals(Draw::muscle_values, l, now);
      normals(Draw::muscle_values, l + 1, next);
      const float size = plan.muscle_std_mv * burst_envelope(plan, l) * 0.70710678f;
      for_leads([&](int s) { value.lead[s] += size * (next[s] - now[s]); });
    }
    const auto add_sine = [&](float turns_per_sample, Sine LeadPlan::*of_lead) {
      float sine, cosine;
      elementary::sin_cos_turns(turns_per_sample * static_cast<float>(l), sine, cosine);
      for_leads([&](int s) {
        const Sine& own = shared.lead[s].*of_lead;
        value.lead[s] += own.sine_mv * sine + own.cosine_mv * cosine;
      });
    };
    if (plan.artifact) add_sine(plan.artifact_turns_per_sample, &LeadPlan::artifact);
    if (plan.mains) add_sine(plan.mains_turns_per_sample, &LeadPlan::mains);
    if (l >= plan.step_at) for_leads([&](int s) { value.lead[s] += shared.lead[s].step_mv; });
    block.x[l] = value;
  });
}

/// Within a dropout, a point of the straight line between its neighbours; at an end of the view, where one is missing,
/// the other's value.
__device__ __forceinline__ Quad bridged(const Block& block, int l) {
  const ViewPlan& plan = block.shared.plan;
  for (int i = 0; i < plan.dropouts; ++i) {
    const Stretch& gap = plan.dropout[i];
    if (!gap.contains(l)) continue;
    const Quad left = block.x[gap.begin > 0 ? gap.begin - 1 : gap.end];
    const Quad right = block.x[gap.end < block.L() ? gap.end : gap.begin - 1];
    return left +
           (right - left) * (static_cast<float>(l - gap.begin + 1) / static_cast<float>(gap.end - gap.begin + 1));
  }
  return block.x[l];
}

__device__ __forceinline__ void store(float* to, float value) {
  *to = value;
}
__device__ __forceinline__ void store(bf16* to, float value) {
  *to = round_to_bf16(value);
}
/// Four leads of a sample.
__device__ __forceinline__ void store(float* to, const Quad& value) {
  *reinterpret_cast<Quad*>(to) = value;
}
__device__ __forceinline__ void store(bf16* to, const Quad& value) {
  *reinterpret_cast<uint2*>(to) =
      make_uint2(pack_bf16(value.lead[0], value.lead[1]), pack_bf16(value.lead[2], value.lead[3]));
}

/// Normalises and writes; what is masked becomes zero, the lead's mean.
template <class S>
__device__ void write(const Block& block, S* out) {  // [L, C], from the first lead on
  const Shared& shared = block.shared;
  const ViewPlan& plan = shared.plan;
  const int L = block.L(), C = block.shape.C;
  Quad factor{}, shift{};
  bool masks = plan.kept.begin > 0 || plan.kept.end < L || plan.time_mask.begin < plan.time_mask.end;
  for_leads([&](int s) {
    if (s >= block.count) return;
    const LeadPlan& lead = shared.lead[s];
    masks |= lead.masked || lead.cut_out.begin < lead.cut_out.end || lead.circular_mask.begin < lead.circular_mask.end;
    factor.lead[s] = 1 / block.source.std[block.first + s];
    shift.lead[s] = -block.source.mean[block.first + s] / block.source.std[block.first + s];
  });
  for_own(L, [&](int l) {
    Quad value = bridged(block, l);
    for_leads([&](int s) { value.lead[s] = value.lead[s] * factor.lead[s] + shift.lead[s]; });
    if (masks) {
      const bool nothing = !plan.kept.contains(l) || plan.time_mask.contains(l);
      for_leads([&](int s) {
        const LeadPlan& lead = shared.lead[s];
        if (nothing || lead.masked || lead.cut_out.contains(l) || lead.circular_mask.contains(l) ||
            lead.circular_mask.contains(l + L))
          value.lead[s] = 0;
      });
    }
    S* to = out + static_cast<size_t>(l) * C;
    if (C % kLeads == 0)
      store(to, value);
    else
      for_leads([&](int s) {
        if (s < block.count) store(to + s, value.lead[s]);
      });
  });
}

/// Block (v·N + n, q): leads 4q … 4q + 3 of view v of record n. P: the filter's circle.
template <class S>
__global__ __launch_bounds__(kThreads, 4) void make_views(ViewShape shape, ViewSource source, Recipe recipe,
                                                          uint64_t seed, StepNumber step, int P,
                                                          S* __restrict__ views) {  // [V·N, L, C]
  Shared& shared = *dynamic_shared<Shared>();
  const unsigned N = static_cast<unsigned>(shape.N);
  const int first = static_cast<int>(blockIdx.y) * kLeads;
  const Block block{shape,
                    source,
                    {seed, step, source.records[blockIdx.x % N], blockIdx.x / N},
                    first,
                    shape.C - first < kLeads ? shape.C - first : kLeads,
                    shared,
                    reinterpret_cast<Quad*>(&shared + 1)};
  draw(block, recipe);
  const ViewPlan& plan = shared.plan;
  if (plan.mixed || plan.cut) find_partners(block);
  if (plan.rotated) prepare_rotation(block);
  load(block);
  if (plan.mixed || plan.cut) mix(block);
  if (plan.filtered) band_pass(block, P);
  scale_and_add(block);
  __syncthreads();
  write(block, views + static_cast<size_t>(blockIdx.x) * shape.L * shape.C + first);
}

void views(Queue& queue, const ViewShape& shape, const ViewSource& source, const Recipe& recipe, uint64_t seed,
           StepNumber step, kernels::Series output) {
  static_assert(sizeof(Shared) % alignof(Quad) == 0);
  const int P = recipe.band_pass.p > 0 ? filter_circle(shape.L, source.sampling_rate_hz) : 0;
  kernels::with_storage({output}, [&]<class S>() {
    launch(queue,
           {.grid = {int64_t{shape.V} * shape.N, ceil_div(shape.C, kLeads)},
            .block = {kThreads},
            .shared_bytes = sizeof(Shared) + sizeof(Quad) * static_cast<size_t>(P > shape.L ? P : shape.L)},
           make_views<S>, shape, source, recipe, seed, step, P, output.as<S>());
  });
}

}  // namespace

extern const AugmentKernels augment{.views = views};

}  // namespace systole::augment::SYSTOLE_TARGET
