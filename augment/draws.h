// Every random decision about a view: which augmentations happen and with which parameters. One source for host and
// device, in arithmetic that rounds alike everywhere (kernels/common/elementary.h), so that cpu, simt and cuda make the
// same views.
//
// A draw is named, never counted: its stream is (seed, step, record, view, augmentation) and its index what it stands
// for. So an augmentation that joins a recipe changes no draw of another one.
#pragma once

#include "augment/views.h"
#include "kernels/common/philox.h"
#include "kernels/common/variates.h"

namespace systole::augment {

/// What a stream of a view is for. The numbers are part of every result: add at the end, never reorder.
enum class Draw : uint32_t {
  crop,
  frequency_warp,
  time_warp,
  crop_resize,
  time_shift,
  vcg,
  mixup,
  mixup_weight,
  cutmix,
  partner,
  band_pass,
  gain,
  amplitude_scale,
  lead_gain,
  lead_offset,
  baseline_shift,
  motion_artifact,
  mains,
  muscle_noise,
  muscle_values,
  additive_noise,
  lead_noise,
  noise_values,
  temporal_dropout,
  time_mask,
  cut_out,
  circular_mask,
  lead_mask,
  lead_dropout,
};

/// Who a view is: everything that its draws depend on.
struct ViewName {
  uint64_t seed;
  uint32_t step, record, view;

  SYSTOLE_HOST_DEVICE RandomStream stream(Draw what) const {
    return RandomStream(seed, Purpose::augmentation, step, record, view, static_cast<uint32_t>(what));
  }
};

/// A stretch of samples, begin to end − 1; empty where the two are equal.
struct Stretch {
  int begin = 0, end = 0;
  SYSTOLE_HOST_DEVICE bool contains(int l) const { return l >= begin && l < end; }
};

/// Where a view whose time is warped reads: position l at l + displacement(l).
struct Warp {
  float slope, intercept;                               // frequency_warp and crop_resize
  float wave_size, wave_cycles_per_sample, wave_phase;  // time_warp: samples, turns per sample, turns

  SYSTOLE_HOST_DEVICE_INLINE float displacement(int l) const {
    const auto t = static_cast<float>(l);
    if (wave_size == 0) return fmaf(slope, t, intercept);  // the same number without two cosines
    float sine, cosine_0, cosine_t;
    elementary::sin_cos_turns(wave_phase, sine, cosine_0);
    elementary::sin_cos_turns(fmaf(wave_cycles_per_sample, t, wave_phase), sine, cosine_t);
    return fmaf(wave_size, cosine_0 - cosine_t, fmaf(slope, t, intercept));
  }
};

/// What is drawn once per view.
struct ViewPlan {
  static constexpr int kMaxDropouts = 8;

  int start;     // first sample of the segment: what mixup and CutMix read of their partners
  int shift;     // the view itself reads this many samples earlier …
  Stretch kept;  // … and is zero outside of this

  bool warped;
  Warp warp;  // of the segment, shifted

  bool rotated;
  float rotation[3][3];  // of X, Y, Z, scaling included

  bool mixed, cut;
  float own_weight;  // λ of mixup
  Stretch cut_segment;

  bool filtered;
  float low_hz, high_hz;

  float gain;
  int step_at;  // from here on the baseline is shifted
  bool artifact, mains, muscle, noise;
  float artifact_turns_per_sample, mains_turns_per_sample;
  Stretch burst;  // of muscle noise
  float muscle_std_mv;

  int dropouts;
  Stretch dropout[kMaxDropouts];
  Stretch time_mask;
};

/// A sin(ωt + φ) = A cos φ · sin ωt + A sin φ · cos ωt: one sine and one cosine of time serve all leads.
struct Sine {
  float sine_mv, cosine_mv;
};

/// What is drawn per lead.
struct LeadPlan {
  float gain, offset_mv, step_mv;
  Sine artifact, mains;
  float noise_sd;         // white noise in standard deviations of the lead over the training records …
  float noise_fraction;   // … and in those of the lead within this view
  Stretch cut_out;        // empty: none
  Stretch circular_mask;  // what lies beyond L is at the beginning
  bool masked;            // the whole lead
};

namespace draws {

SYSTOLE_HOST_DEVICE inline bool happens(const RandomStream& stream, float p) {
  return p > 0 && stream.uniform(0) < p;
}
SYSTOLE_HOST_DEVICE inline float from(const RandomStream& stream, uint32_t index, Range range) {
  return stream.uniform(index, range.low, range.high);
}
/// A whole number of a range, both ends included.
SYSTOLE_HOST_DEVICE inline int whole_from(const RandomStream& stream, uint32_t index, Range range) {
  const auto low = static_cast<int>(range.low);
  return low + static_cast<int>(stream.below(index, static_cast<uint32_t>(static_cast<int>(range.high) - low) + 1));
}
SYSTOLE_HOST_DEVICE inline int samples(float share, int L) {
  return static_cast<int>(share * static_cast<float>(L));
}
/// A share of the view from draw `index`, at a place from draw index + 1.
SYSTOLE_HOST_DEVICE inline Stretch stretch(const RandomStream& stream, uint32_t index, Range share, int L) {
  const int length = samples(from(stream, index, share), L);
  const auto begin = static_cast<int>(stream.below(index + 1, static_cast<uint32_t>(L - length) + 1));
  return {begin, begin + length};
}

/// Amplitude from draw `index`, phase from draw index + 1.
SYSTOLE_HOST_DEVICE inline Sine sine(const RandomStream& stream, uint32_t index, Range amplitude_mv) {
  const float amplitude = from(stream, index, amplitude_mv);
  float sine_of_phase, cosine_of_phase;
  elementary::sin_cos_turns(stream.uniform(index + 1), sine_of_phase, cosine_of_phase);
  return {amplitude * cosine_of_phase, amplitude * sine_of_phase};
}

/// Segments that must not overlap: each view draws an offset in the room that all segments together leave; in the order
/// of the offsets, the k-th segment is moved on by k lengths.
SYSTOLE_HOST_DEVICE inline int segment_start(const ViewName& name, const ViewShape& s) {
  if (s.segment == Segment::centre) return (s.L_in - s.L) / 2;
  const int segments = s.segment == Segment::disjoint ? s.V : 1;
  const uint32_t room = static_cast<uint32_t>(s.L_in - segments * s.L) + 1;
  const uint32_t own = name.stream(Draw::crop).below(0, room);
  int earlier = 0;
  for (uint32_t v = 0; segments > 1 && v < static_cast<uint32_t>(s.V); ++v) {
    const ViewName other{name.seed, name.step, name.record, v};
    const uint32_t offset = other.stream(Draw::crop).below(0, room);
    earlier += offset < own || (offset == own && v < name.view);
  }
  return static_cast<int>(own) + earlier * s.L;
}

SYSTOLE_HOST_DEVICE inline void time(const ViewName& name, const ViewShape& s, const Recipe& r, ViewPlan& plan) {
  const auto L = static_cast<float>(s.L);
  if (const RandomStream stream = name.stream(Draw::frequency_warp); happens(stream, r.frequency_warp.p)) {
    plan.warp.slope = from(stream, 1, r.frequency_warp.factor) - 1;
    plan.warp.intercept = plan.warp.slope * (-0.5f * (L - 1));  // the middle stays where it is
    plan.warped = true;
  }
  if (const RandomStream stream = name.stream(Draw::crop_resize); happens(stream, r.crop_resize.p)) {
    const float share = from(stream, 1, r.crop_resize.share);
    plan.warp.slope -= share;
    plan.warp.intercept = fmaf(share * (L - 1), stream.uniform(2), plan.warp.intercept);
    plan.warped = true;
  }
  if (const RandomStream stream = name.stream(Draw::time_warp); happens(stream, r.time_warp.p)) {
    const float speed = from(stream, 1, r.time_warp.speed), cycles = from(stream, 2, r.time_warp.cycles);
    plan.warp.wave_size = speed * L / (6.28318530717958648f * cycles);
    plan.warp.wave_cycles_per_sample = cycles / L;
    plan.warp.wave_phase = stream.uniform(3);
    plan.warped = true;
  }
  plan.start = segment_start(name, s);
  plan.kept = {0, s.L};
  if (const RandomStream stream = name.stream(Draw::time_shift); happens(stream, r.time_shift.p)) {
    plan.shift = samples(from(stream, 1, r.time_shift.share), s.L);
    plan.kept = {plan.shift > 0 ? plan.shift : 0, plan.shift < 0 ? s.L + plan.shift : s.L};
  }
}

/// R = Rz Ry Rx, each axis then scaled (methods of 3KG and of VCG-based contrastive pre-training).
SYSTOLE_HOST_DEVICE inline void rotation(const ViewName& name, const Recipe& r, ViewPlan& plan) {
  const RandomStream stream = name.stream(Draw::vcg);
  plan.rotated = happens(stream, r.vcg.p);
  if (!plan.rotated) return;
  float sine[3], cosine[3], scale[3];
  for (uint32_t axis = 0; axis < 3; ++axis) {
    elementary::sin_cos_turns(from(stream, 1 + axis, r.vcg.angle_deg) * (1.0f / 360), sine[axis], cosine[axis]);
    const float factor = from(stream, 4 + axis, r.vcg.scale);
    scale[axis] = stream.uniform(7 + axis) < r.vcg.enlarge_p ? factor : 1 / factor;
  }
  const float sx = sine[0], sy = sine[1], sz = sine[2], cx = cosine[0], cy = cosine[1], cz = cosine[2];
  const float matrix[3][3] = {{cz * cy, fmaf(cz * sy, sx, -(sz * cx)), fmaf(cz * sy, cx, sz * sx)},
                              {sz * cy, fmaf(sz * sy, sx, cz * cx), fmaf(sz * sy, cx, -(cz * sx))},
                              {-sy, cy * sx, cy * cx}};
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) plan.rotation[i][j] = scale[i] * matrix[i][j];
}

/// The share of the view is divided among stretches of one length; between two of them lies at least one sample.
SYSTOLE_HOST_DEVICE inline void dropouts(const ViewName& name, int L, const Recipe& r, ViewPlan& plan) {
  const RandomStream stream = name.stream(Draw::temporal_dropout);
  if (!happens(stream, r.temporal_dropout.p)) return;
  const int total = samples(from(stream, 1, r.temporal_dropout.share), L);
  const int count = whole_from(stream, 2, r.temporal_dropout.segments), length = total / count;
  const int room = L - count * (length + 1);
  if (length == 0 || room < 0) return;
  plan.dropouts = count;
  for (int i = 0; i < count; ++i) {  // offsets in rising order, by insertion
    auto offset = static_cast<int>(stream.below(4 + static_cast<uint32_t>(i), static_cast<uint32_t>(room) + 1));
    for (int j = 0; j < i; ++j)
      if (offset < plan.dropout[j].begin) {
        const int later = plan.dropout[j].begin;
        plan.dropout[j].begin = offset;
        offset = later;
      }
    plan.dropout[i].begin = offset;
  }
  for (int i = 0; i < count; ++i) {
    plan.dropout[i].begin += i * (length + 1);
    plan.dropout[i].end = plan.dropout[i].begin + length;
  }
}

/// A lead is masked with lead_mask's probability or, in views without that, because it is among the few that
/// lead_dropout takes; never all leads.
SYSTOLE_HOST_DEVICE inline bool lead_masked(const ViewName& name, int C, const Recipe& r, int c) {
  const auto leads = static_cast<uint32_t>(C), lead = static_cast<uint32_t>(c);
  if (const RandomStream stream = name.stream(Draw::lead_mask); happens(stream, r.lead_mask.p)) {
    bool all = true;  // then one of them is kept
    for (uint32_t other = 0; all && other < leads; ++other) all = stream.uniform(2 + other) < r.lead_mask.lead_p;
    return stream.uniform(2 + lead) < r.lead_mask.lead_p && !(all && stream.below(1, leads) == lead);
  }
  if (const RandomStream stream = name.stream(Draw::lead_dropout); happens(stream, r.lead_dropout.p)) {
    const int taken = whole_from(stream, 1, r.lead_dropout.leads);
    int before = 0;  // leads with a smaller number: the first few in a random order are taken
    for (uint32_t other = 0; other < leads; ++other) {
      const uint32_t own = stream.bits(2 + lead), its = stream.bits(2 + other);
      before += its < own || (its == own && other < lead);
    }
    return before < taken && before < C - 1;
  }
  return false;
}

SYSTOLE_HOST_DEVICE inline void partners(const ViewName& name, const ViewShape& s, const Recipe& r, ViewPlan& plan) {
  if (const RandomStream stream = name.stream(Draw::mixup); happens(stream, r.mixup.p)) {
    const float lambda = beta_variate(name.stream(Draw::mixup_weight), r.mixup.alpha);
    plan.own_weight = fmaxf(lambda, 1 - lambda);
    plan.mixed = true;
  }
  if (const RandomStream stream = name.stream(Draw::cutmix); happens(stream, r.cutmix.p)) {
    plan.cut_segment = stretch(stream, 1, r.cutmix.share, s.L);
    plan.cut = true;
  }
}

SYSTOLE_HOST_DEVICE inline void filter_and_gain(const ViewName& name, const Recipe& r, float sampling_rate_hz,
                                                ViewPlan& plan) {
  if (const RandomStream stream = name.stream(Draw::band_pass); happens(stream, r.band_pass.p)) {
    const float limit = 0.49f * sampling_rate_hz;
    plan.low_hz = from(stream, 1, r.band_pass.low_hz);
    plan.high_hz = fminf(from(stream, 2, r.band_pass.high_hz), limit);
    plan.filtered = true;
  }
  plan.gain = 1;
  if (const RandomStream stream = name.stream(Draw::gain); happens(stream, r.gain.p))
    plan.gain = from(stream, 1, r.gain.factor);
  if (const RandomStream stream = name.stream(Draw::amplitude_scale); happens(stream, r.amplitude_scale.p)) {
    // Uniform in the logarithm: doubling and halving are equally likely, and no factor is zero or negative.
    const double low = elementary::log(double{r.amplitude_scale.factor.low});
    const double width = elementary::log(double{r.amplitude_scale.factor.high}) - low;
    plan.gain *= static_cast<float>(elementary::exp(::fma(width, double{stream.uniform(1)}, low)));
  }
}

SYSTOLE_HOST_DEVICE inline void additions(const ViewName& name, const ViewShape& s, const Recipe& r,
                                          float sampling_rate_hz, ViewPlan& plan) {
  plan.step_at = s.L;
  if (const RandomStream stream = name.stream(Draw::baseline_shift); happens(stream, r.baseline_shift.p))
    plan.step_at = static_cast<int>(stream.below(1, static_cast<uint32_t>(s.L)));
  if (const RandomStream stream = name.stream(Draw::motion_artifact); happens(stream, r.motion_artifact.p)) {
    plan.artifact = true;
    plan.artifact_turns_per_sample = from(stream, 1, r.motion_artifact.frequency_hz) / sampling_rate_hz;
  }
  plan.mains = happens(name.stream(Draw::mains), r.mains.p);
  plan.mains_turns_per_sample = r.mains.frequency_hz / sampling_rate_hz;
  if (const RandomStream stream = name.stream(Draw::muscle_noise); happens(stream, r.muscle_noise.p)) {
    plan.muscle = true;
    plan.muscle_std_mv = from(stream, 1, r.muscle_noise.std_mv);
    plan.burst = stretch(stream, 2, r.muscle_noise.share, s.L);
  }
  plan.noise = happens(name.stream(Draw::additive_noise), r.additive_noise.p) ||
               happens(name.stream(Draw::lead_noise), r.lead_noise.p);
  if (const RandomStream stream = name.stream(Draw::time_mask); happens(stream, r.time_mask.p))
    plan.time_mask = stretch(stream, 1, r.time_mask.share, s.L);
}

}  // namespace draws

/// The parts of a plan, which may be drawn at the same time: each into fields of its own, which must be zero before.
inline constexpr int kPlanParts = 6;
SYSTOLE_HOST_DEVICE inline void draw_part(int part, const ViewName& name, const ViewShape& s, const Recipe& r,
                                          float sampling_rate_hz, ViewPlan& plan) {
  switch (part) {
    case 0:
      return draws::time(name, s, r, plan);
    case 1:
      return draws::rotation(name, r, plan);
    case 2:
      return draws::partners(name, s, r, plan);
    case 3:
      return draws::filter_and_gain(name, r, sampling_rate_hz, plan);
    case 4:
      return draws::additions(name, s, r, sampling_rate_hz, plan);
    default:
      return draws::dropouts(name, s.L, r, plan);
  }
}
SYSTOLE_HOST_DEVICE inline ViewPlan draw_view(const ViewName& name, const ViewShape& s, const Recipe& r,
                                              float sampling_rate_hz) {
  ViewPlan plan{};
  for (int part = 0; part < kPlanParts; ++part) draw_part(part, name, s, r, sampling_rate_hz, plan);
  return plan;
}

/// Lead c of C. The draws that belong to lead c of a stream are numbers 4 + 4c … 7 + 4c; those before are the view's.
SYSTOLE_HOST_DEVICE inline LeadPlan draw_lead(const ViewName& name, const ViewShape& s, const Recipe& r, int c) {
  using draws::from;
  using draws::happens;
  const uint32_t own = 4 + 4 * static_cast<uint32_t>(c);
  LeadPlan lead{};
  lead.gain = 1;
  if (const RandomStream stream = name.stream(Draw::lead_gain); happens(stream, r.lead_gain.p))
    lead.gain = from(stream, own, r.lead_gain.factor);
  if (const RandomStream stream = name.stream(Draw::lead_offset); happens(stream, r.lead_offset.p))
    lead.offset_mv = from(stream, own, r.lead_offset.offset_mv);
  if (const RandomStream stream = name.stream(Draw::baseline_shift); happens(stream, r.baseline_shift.p))
    lead.step_mv = from(stream, own, r.baseline_shift.step_mv);
  if (const RandomStream stream = name.stream(Draw::motion_artifact); happens(stream, r.motion_artifact.p))
    lead.artifact = draws::sine(stream, own, r.motion_artifact.amplitude_mv);
  if (const RandomStream stream = name.stream(Draw::mains); happens(stream, r.mains.p))
    lead.mains = draws::sine(stream, own, r.mains.amplitude_mv);

  if (const RandomStream stream = name.stream(Draw::additive_noise); happens(stream, r.additive_noise.p))
    lead.noise_sd = from(stream, own, r.additive_noise.sd);
  if (const RandomStream stream = name.stream(Draw::lead_noise); happens(stream, r.lead_noise.p))
    lead.noise_fraction = from(stream, own, r.lead_noise.fraction);
  if (const RandomStream stream = name.stream(Draw::cut_out); happens(stream, r.cut_out.p))
    lead.cut_out = draws::stretch(stream, own, r.cut_out.share, s.L);
  if (const RandomStream stream = name.stream(Draw::circular_mask); happens(stream, r.circular_mask.p)) {
    lead.circular_mask.begin = static_cast<int>(stream.below(own, static_cast<uint32_t>(s.L)));
    lead.circular_mask.end =
        lead.circular_mask.begin + draws::samples(from(stream, own + 1, r.circular_mask.share), s.L);
  }
  lead.masked = draws::lead_masked(name, s.C, r, c);
  return lead;
}

/// Interpolation between four neighbours, by Catmull and Rom: Σ weight[k] · x[i − 1 + k] at i + fraction.
SYSTOLE_HOST_DEVICE_INLINE void cubic_weights(float f, float (&weight)[4]) {
  weight[0] = 0.5f * f * (f * (2 - f) - 1);
  weight[1] = 0.5f * (f * f * (3 * f - 5) + 2);
  weight[2] = 0.5f * f * (f * (4 - 3 * f) + 1);
  weight[3] = 0.5f * f * f * (f - 1);
}

/// Beyond its ends a record is mirrored.
SYSTOLE_HOST_DEVICE inline int mirrored(int i, int length) {
  if (i < 0) i = -i;
  if (i >= length) i = 2 * (length - 1) - i;
  return i < 0 ? 0 : i;
}

/// Behind a view of L samples the filter's circle continues with its mirror image, then with the image of that …
SYSTOLE_HOST_DEVICE inline int circle_mirror(int i, int L) {
  if (i < 0) i = -1 - i;
  while (i >= 2 * L) i -= 2 * L;  // only where the view is shorter than the rest of its circle
  return i < L ? i : 2 * L - 1 - i;
}

/// Which frequency stands in row p of a circle of P after the steps of the Fourier transform, in turns of the circle
/// and not above P / 2. A step of radix 2 sorts by the lowest bit of the frequency first, so the bits end in reverse;
/// of a circle of 3 · 2^k the first step sorts by the remainder of three.
SYSTOLE_HOST_DEVICE inline int frequency_of_row(int p, int P) {
  const int blocks = P % 3 == 0 ? 3 : 1, rows = P / blocks;
  int reversed = 0;
  for (int bit = 1, rest = p % rows; bit < rows; bit *= 2, rest /= 2) reversed = 2 * reversed + rest % 2;
  const int k = blocks * reversed + p / rows;
  return k <= P - k ? k : P - k;
}
inline constexpr float kHalfRootOf3 = 0.86602540378f;

/// Mixup and CutMix take as partner the record of the batch, other than the own one, with the smallest key: a fair
/// choice that depends on which records are in the batch, not on their order.
struct PartnerKeys {
  uint64_t mixup, cutmix;  // the record is in the low 32 bits
};
inline constexpr uint64_t kNoPartner = ~uint64_t{0};  // a batch of one record: nothing to mix with
SYSTOLE_HOST_DEVICE inline PartnerKeys partner_keys(const ViewName& name, uint32_t other) {
  if (other == name.record) return {kNoPartner, kNoPartner};
  const Philox4 words = name.stream(Draw::partner).block(other);
  return {uint64_t{words.word[0]} << 32 | other, uint64_t{words.word[1]} << 32 | other};
}

/// How strong the burst of muscle noise is at l: it swells and fades, as Hann's window.
SYSTOLE_HOST_DEVICE inline float burst_envelope(const ViewPlan& plan, int l) {
  float sine, cosine;
  const float length = static_cast<float>(plan.burst.end - plan.burst.begin);
  elementary::sin_cos_turns((static_cast<float>(l - plan.burst.begin) + 0.5f) / length, sine, cosine);
  return 0.5f - 0.5f * cosine;
}

/// The response of the band-pass filter at f: −3 dB at both corners, 29 dB an octave beyond. It is what a Butterworth
/// filter of third order has that runs forward and then backward, its corners moved so that the two runs together lose
/// 3 dB.
SYSTOLE_HOST_DEVICE inline float band_pass_response(float f_hz, float low_hz, float high_hz) {
  constexpr float kRoot2Minus1 = 0.41421356237f;
  const float below = f_hz / low_hz, above = f_hz / high_hz;
  const float b2 = below * below, a2 = above * above;
  const float b6 = b2 * b2 * b2, a6 = a2 * a2 * a2;
  return b6 / (b6 + kRoot2Minus1) / (1 + kRoot2Minus1 * a6);
}

}  // namespace systole::augment
