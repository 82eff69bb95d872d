// Views on the cpu: one record and view at a time, all of it in the cache of its core. A group of up to sixteen leads
// is made together: a row of the working buffer holds all leads of one moment, so that each step is one vector
// operation a moment, and neither filter nor interpolation ever gathers.

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"  // false alarms in its AVX-512 intrinsics, GCC bug 105593
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <algorithm>
#include <cmath>
#include <cstring>

#include "augment/draws.h"
#include "augment/fourier_cpu.h"
#include "augment/views.h"
#include "kernels/common/parallel.h"
#include "kernels/common/philox_batch.h"
#include "kernels/common/series_cpu.h"

namespace systole::augment::cpu {
namespace {

/// Working memory of a thread, by what it is for (slots of thread_scratch).
enum Slot { kRows, kPositions };

/// A view, and what all its leads share.
struct View {
  const ViewShape& shape;
  const ViewSource& source;
  const Recipe& recipe;
  ViewName name;
  ViewPlan plan;
  uint32_t mix_partner = 0, cut_partner = 0;
};

void find_partners(View& view) {
  PartnerKeys best{kNoPartner, kNoPartner};
  for (int n = 0; n < view.shape.N; ++n) {
    const PartnerKeys keys = partner_keys(view.name, view.source.records[n]);
    best.mixup = std::min(best.mixup, keys.mixup);
    best.cutmix = std::min(best.cutmix, keys.cutmix);
  }
  if (best.mixup == kNoPartner) view.plan.mixed = view.plan.cut = false;
  view.mix_partner = static_cast<uint32_t>(best.mixup);
  view.cut_partner = static_cast<uint32_t>(best.cutmix);
}

/// Up to S leads of a view, from lead `first` on. Lanes beyond the last lead hold zeros.
template <int S>
struct Leads {
  const View& view;
  int first, count;
  float* x;  // [L or the filter's circle, S], millivolts
  LeadPlan plan[S];

  int L() const { return view.shape.L; }
  Row<S> row(int l) const { return Row<S>(x + l * S, stdx::element_aligned); }
  void set_row(int l, const Row<S>& value) const { value.copy_to(x + l * S, stdx::element_aligned); }
  /// One value per lead.
  template <class Value>
  Row<S> lanes(const Value& value) const {
    return Row<S>([&](auto s) { return static_cast<int>(s) < count ? value(static_cast<int>(s)) : 0.0f; });
  }
};

/// The samples of one record: rows of S leads, as floats.
template <int S>
class Samples {
 public:
  Samples(const Leads<S>& leads, uint32_t record)
      : C_(leads.view.shape.C),
        L_in_(leads.view.shape.L_in),
        count_(leads.count),
        begin_(leads.view.source.samples + size_t{record} * L_in_ * C_ + leads.first),
        // As many rows end, with S samples, within the record.
        whole_rows_((L_in_ * C_ - leads.first - S + C_) / C_) {
    const size_t i = size_t{record} * C_ + leads.first;
    factor = leads.lanes([&](int s) { return leads.view.source.scale[i + static_cast<size_t>(s)]; });
    offset = leads.lanes([&](int s) { return leads.view.source.offset[i + static_cast<size_t>(s)]; });
  }

  /// Lanes beyond the last lead hold whatever follows in memory; their factor is zero. Inlined, as what follows: a call
  /// would pass its vector through memory, every row.
  [[gnu::always_inline]] Row<S> raw(int l) const { return l < whole_rows_ ? whole_row(l) : last_row(l); }
  [[gnu::always_inline]] Row<S> millivolts(int l) const { return raw(l) * factor + offset; }
  /// Between positions i and i + 1.
  [[gnu::always_inline]] Row<S> interpolated(int i, const float* weight) const {
    if (i < 1 || i + 2 >= whole_rows_) return interpolated_at_an_end(i, weight);
    return weight[0] * whole_row(i - 1) + weight[1] * whole_row(i) + weight[2] * whole_row(i + 1) +
           weight[3] * whole_row(i + 2);
  }

  Row<S> factor, offset;

 private:
  [[gnu::always_inline]] Row<S> whole_row(int l) const {
    return Row<S>(begin_ + int64_t{l} * C_, stdx::element_aligned);
  }
  [[gnu::noinline]] Row<S> last_row(int l) const {
    const int16_t* from = begin_ + int64_t{l} * C_;
    return Row<S>([&](auto s) { return static_cast<int>(s) < count_ ? static_cast<float>(from[s]) : 0.0f; });
  }
  [[gnu::noinline]] Row<S> interpolated_at_an_end(int i, const float* weight) const {
    Row<S> value = 0;
    for (int k = 0; k < 4; ++k) value += weight[k] * raw(mirrored(i - 1 + k, L_in_));
    return value;
  }

  int C_, L_in_, count_;
  const int16_t* begin_;
  int whole_rows_;
};

/// The VCG augmentation as one matrix from samples to millivolts: forward · rotation · inverse · scale.
template <int S>
struct RotatedLeads {
  Row<S> column[VcgTransform::kMaxLeads], offset;
  int leads;

  RotatedLeads(const Leads<S>& leads_, const Samples<S>& samples) : leads(leads_.count) {
    const VcgTransform& vcg = leads_.view.source.vcg;
    offset = 0;
    for (int j = 0; j < leads; ++j) {
      float vector[3] = {};
      for (int i = 0; i < 3; ++i)
        for (int k = 0; k < 3; ++k) vector[i] += leads_.view.plan.rotation[i][k] * vcg.inverse[k][j];
      const Row<S> unit = leads_.lanes([&](int c) {
        return vcg.forward[c][0] * vector[0] + vcg.forward[c][1] * vector[1] + vcg.forward[c][2] * vector[2];
      });
      column[j] = unit * static_cast<float>(samples.factor[static_cast<size_t>(j)]);
      offset += unit * static_cast<float>(samples.offset[static_cast<size_t>(j)]);
    }
  }

  Row<S> operator()(const Row<S>& raw) const {
    float sample[S];
    raw.copy_to(sample, stdx::element_aligned);
    Row<S> y = offset;
    for (int j = 0; j < leads; ++j) y += column[j] * sample[j];
    return y;
  }
};

/// Reads every row, by way of `to_millivolts`.
template <int S, class ToMillivolts>
void load(const Leads<S>& leads, const Samples<S>& samples, const ToMillivolts& to_millivolts) {
  const ViewPlan& plan = leads.view.plan;
  const int L = leads.L(), start = plan.start - plan.shift;
  for (int l = 0; l < L; ++l)
    if (!plan.kept.contains(l)) leads.set_row(l, 0);
  if (!plan.warped) {
    for (int l = plan.kept.begin; l < plan.kept.end; ++l) leads.set_row(l, to_millivolts(samples.raw(start + l)));
    return;
  }
  // Positions and weights first, as vector code over time.
  float* position = thread_scratch(kPositions, 5 * static_cast<size_t>(L));
  float* weights = position + L;
  const Warp warp = plan.warp;
  for (int l = 0; l < L; ++l) {
    const float d = warp.displacement(l), whole = std::floor(d);
    float weight[4];
    cubic_weights(d - whole, weight);
    position[l] = whole;
    for (int k = 0; k < 4; ++k) weights[4 * l + k] = weight[k];
  }
  for (int l = plan.kept.begin; l < plan.kept.end; ++l)
    leads.set_row(l, to_millivolts(samples.interpolated(start + l + static_cast<int>(position[l]), weights + 4 * l)));
}

template <int S>
void load(const Leads<S>& leads) {
  const Samples<S> samples(leads, leads.view.name.record);
  if (leads.view.plan.rotated)
    load(leads, samples, RotatedLeads<S>(leads, samples));
  else
    load(leads, samples, [&](const Row<S>& raw) { return raw * samples.factor + samples.offset; });
}

/// Partners are taken as they are, from the same times of their records.
template <int S>
void mix(const Leads<S>& leads) {
  const ViewPlan& plan = leads.view.plan;
  if (plan.mixed) {
    const Samples<S> partner(leads, leads.view.mix_partner);
    const float own = plan.own_weight;
    for (int l = 0; l < leads.L(); ++l)
      leads.set_row(l, own * leads.row(l) + (1 - own) * partner.millivolts(plan.start + l));
  }
  if (plan.cut) {
    const Samples<S> partner(leads, leads.view.cut_partner);
    for (int l = plan.cut_segment.begin; l < plan.cut_segment.end; ++l)
      leads.set_row(l, partner.millivolts(plan.start + l));
  }
}

/// Fills the circle behind the view: its end mirrored, then its beginning mirrored, one fading into the other, so that
/// the circle has no jump.
template <int S>
void close_circle(const Leads<S>& leads, int P) {
  const int L = leads.L(), room = P - L;
  for (int i = 0; i < room; ++i) {
    const float turn = (static_cast<float>(i) + 0.5f) / static_cast<float>(room);
    const float beginning = turn * turn * (3 - 2 * turn);
    leads.set_row(L + i, (1 - beginning) * leads.row(circle_mirror(L - 1 - i, L)) +
                             beginning * leads.row(circle_mirror(room - 1 - i, L)));
  }
}

template <int S>
void band_pass(const Leads<S>& leads) {
  const ViewPlan& plan = leads.view.plan;
  const int P = filter_circle(leads.L(), leads.view.source.sampling_rate_hz);
  const Circle& circle = circle_of(P);
  float* of_frequency = thread_scratch(kPositions, 2 * static_cast<size_t>(P));
  float* response = of_frequency + P;
  const float hz = static_cast<float>(leads.view.source.sampling_rate_hz) / static_cast<float>(P);
  for (int k = 0; k <= P / 2; ++k)
    of_frequency[k] = band_pass_response(static_cast<float>(k) * hz, plan.low_hz, plan.high_hz) / static_cast<float>(P);
  for (int p = 0; p < P; ++p) response[p] = of_frequency[circle.frequency[static_cast<size_t>(p)]];
  close_circle(leads, P);
  filter_circle_of_rows<S>(leads.x, response, circle);
}

template <int S>
void scale(const Leads<S>& leads) {
  const Row<S> gain = leads.lanes([&](int s) { return leads.view.plan.gain * leads.plan[s].gain; });
  const Row<S> offset = leads.lanes([&](int s) { return leads.plan[s].offset_mv; });
  if (all_of(gain == 1) && all_of(offset == 0)) return;
  for (int l = 0; l < leads.L(); ++l) leads.set_row(l, leads.row(l) * gain + offset);
}

/// Standard deviation of each lead over the view.
template <int S>
Row<S> deviation(const Leads<S>& leads) {
  const auto L = static_cast<float>(leads.L());
  Row<S> sum = 0, squares = 0;
  for (int l = 0; l < leads.L(); ++l) sum += leads.row(l);
  const Row<S> mean = sum / L;
  for (int l = 0; l < leads.L(); ++l) {
    const Row<S> difference = leads.row(l) - mean;
    squares += difference * difference;
  }
  return sqrt(squares / L);
}

/// Rows that are given noise at a time: one batch of Philox blocks for every four leads.
constexpr int kNoiseRows = kernels::cpu::kPhiloxBatch;

/// Standard normal values of four leads, from lead 4 · quad of the group on, in the rows from `begin` on. One Philox
/// block is for four neighbouring leads of one moment: number l · ⌈C/4⌉ + c/4.
template <int S>
void draw_normals(const Leads<S>& leads, Draw what, int quad, int begin, float (&values)[kNoiseRows * 4]) {
  const auto quads = static_cast<uint32_t>(leads.view.shape.C + 3) / 4;
  float normal[4][kNoiseRows];
  kernels::cpu::normal_batch(leads.view.name.stream(what),
                             static_cast<uint32_t>(begin) * quads + static_cast<uint32_t>(leads.first / 4 + quad),
                             quads, normal);
  for (int l = 0; l < kNoiseRows; ++l)
    for (int k = 0; k < 4; ++k) values[4 * l + k] = normal[k][l];
}

template <int S>
void add_white_noise(const Leads<S>& leads) {
  const View& view = leads.view;
  Row<S> std = leads.lanes([&](int s) { return leads.plan[s].noise_fraction; });
  if (any_of(std != 0)) std *= deviation(leads);
  const Row<S> constant = leads.lanes([&](int s) { return leads.plan[s].noise_sd * view.source.std[leads.first + s]; });
  std = sqrt(std * std + constant * constant);  // the sum of two independent normal values is one
  using Quad = stdx::fixed_size_simd<float, 4>;
  float std_of[S];
  std.copy_to(std_of, stdx::element_aligned);
  float normal[kNoiseRows * 4];
  for (int quad = 0; 4 * quad < leads.count; ++quad) {
    const Quad std_of_quad(std_of + 4 * quad, stdx::element_aligned);
    for (int begin = 0; begin < leads.L(); begin += kNoiseRows) {
      draw_normals(leads, Draw::noise_values, quad, begin, normal);
      float* x = leads.x + begin * S + 4 * quad;
      const int rows = std::min(kNoiseRows, leads.L() - begin);
      for (int l = 0; l < rows; ++l) {
        const Quad value =
            Quad(x + l * S, stdx::element_aligned) + std_of_quad * Quad(normal + 4 * l, stdx::element_aligned);
        value.copy_to(x + l * S, stdx::element_aligned);
      }
    }
  }
}

/// Differences of white noise: power rises with frequency, as a surface electromyogram's does in the band of an ECG.
template <int S>
void add_muscle_noise(const Leads<S>& leads) {
  const ViewPlan& plan = leads.view.plan;
  float normal[kNoiseRows * 4];
  for (int quad = 0; 4 * quad < leads.count; ++quad) {
    const int own = std::min(4, leads.count - 4 * quad);
    // Of each batch the last row only serves as the neighbour of the one before.
    for (int begin = plan.burst.begin; begin < plan.burst.end; begin += kNoiseRows - 1) {
      draw_normals(leads, Draw::muscle_values, quad, begin, normal);
      float* x = leads.x + begin * S + 4 * quad;
      const int rows = std::min(kNoiseRows - 1, plan.burst.end - begin);
      for (int l = 0; l < rows; ++l) {
        const float size = plan.muscle_std_mv * burst_envelope(plan, begin + l) * 0.70710678f;
        for (int k = 0; k < own; ++k) x[l * S + k] += size * (normal[4 * l + 4 + k] - normal[4 * l + k]);
      }
    }
  }
}

template <int S>
void add_sine(const Leads<S>& leads, float turns_per_sample, Sine LeadPlan::*of_lead) {
  const Row<S> sine_mv = leads.lanes([&](int s) { return (leads.plan[s].*of_lead).sine_mv; });
  const Row<S> cosine_mv = leads.lanes([&](int s) { return (leads.plan[s].*of_lead).cosine_mv; });
  for (int l = 0; l < leads.L(); ++l) {
    float sine, cosine;
    elementary::sin_cos_turns(turns_per_sample * static_cast<float>(l), sine, cosine);
    leads.set_row(l, leads.row(l) + sine_mv * sine + cosine_mv * cosine);
  }
}

template <int S>
void add(const Leads<S>& leads) {
  const ViewPlan& plan = leads.view.plan;
  if (plan.noise) add_white_noise(leads);  // first: its size is that of the lead without what follows
  if (plan.muscle) add_muscle_noise(leads);
  if (plan.artifact) add_sine(leads, plan.artifact_turns_per_sample, &LeadPlan::artifact);
  if (plan.mains) add_sine(leads, plan.mains_turns_per_sample, &LeadPlan::mains);
  const Row<S> step = leads.lanes([&](int s) { return leads.plan[s].step_mv; });
  for (int l = plan.step_at; l < leads.L(); ++l) leads.set_row(l, leads.row(l) + step);
}

/// A straight line between the neighbours of each stretch; at an end of the view, where one is missing, the other's
/// value.
template <int S>
void drop_out(const Leads<S>& leads) {
  const ViewPlan& plan = leads.view.plan;
  for (int i = 0; i < plan.dropouts; ++i) {
    const auto [begin, end] = plan.dropout[i];
    const Row<S> left = leads.row(begin > 0 ? begin - 1 : end), right = leads.row(end < leads.L() ? end : begin - 1);
    for (int l = begin; l < end; ++l)
      leads.set_row(l,
                    left + (right - left) * (static_cast<float>(l - begin + 1) / static_cast<float>(end - begin + 1)));
  }
}

/// The first `count` lanes. The usual numbers of leads get code of their own: a loop over them took as long as the rest
/// of a view.
template <int S>
[[gnu::always_inline]] inline void store(const Row<S>& row, float* to, int count) {
  alignas(64) float lane[S];
  row.copy_to(lane, stdx::vector_aligned);
  if (count == S)
    std::memcpy(to, lane, sizeof lane);
  else if (S == 16 && count == 12)
    std::memcpy(to, lane, 12 * sizeof(float));
  else
    for (int s = 0; s < count; ++s) to[s] = lane[s];
}

/// Normalises and writes; what is masked becomes zero, the lead's mean.
template <int S>
void write(const Leads<S>& leads, float* out) {  // [L, C], from the first lead on
  const View& view = leads.view;
  const ViewPlan& plan = view.plan;
  const int L = leads.L(), C = view.shape.C;
  const Row<S> factor = leads.lanes([&](int s) { return 1 / view.source.std[leads.first + s]; });
  const Row<S> shift =
      leads.lanes([&](int s) { return -view.source.mean[leads.first + s] / view.source.std[leads.first + s]; });
  for (int l = 0; l < L; ++l) {
    const bool nothing = !plan.kept.contains(l) || plan.time_mask.contains(l);
    store(nothing ? Row<S>(0) : leads.row(l) * factor + shift, out + int64_t{l} * C, leads.count);
  }
  for (int s = 0; s < leads.count; ++s) {
    const LeadPlan& lead = leads.plan[s];
    const auto clear = [&](int begin, int end) {
      for (int l = begin; l < end; ++l) out[int64_t{l} * C + s] = 0;
    };
    clear(lead.cut_out.begin, lead.cut_out.end);
    clear(lead.circular_mask.begin, std::min(lead.circular_mask.end, L));
    clear(0, lead.circular_mask.end - L);
    if (lead.masked) clear(0, L);
  }
}

template <int S>
void make_leads(const View& view, int first, float* out) {
  const ViewShape& shape = view.shape;
  const int rows = view.plan.filtered ? filter_circle(shape.L, view.source.sampling_rate_hz) : shape.L;
  Leads<S> leads{view, first, std::min(S, shape.C - first), thread_scratch(kRows, static_cast<size_t>(rows) * S), {}};
  for (int s = 0; s < leads.count; ++s) leads.plan[s] = draw_lead(view.name, shape, view.recipe, first + s);
  load(leads);
  mix(leads);
  if (view.plan.filtered) band_pass(leads);
  scale(leads);
  add(leads);
  drop_out(leads);
  write(leads, out + first);
}

void views(Queue&, const ViewShape& shape, const ViewSource& source, const Recipe& recipe, uint64_t seed,
           StepNumber step, kernels::Series views_series) {
  const kernels::cpu::Narrowed output(views_series, int64_t{shape.V} * shape.N * shape.L * shape.C);
  parallel_for(int64_t{shape.V} * shape.N, [&](int64_t row) {
    View view{
        shape, source, recipe, {seed, step, source.records[row % shape.N], static_cast<uint32_t>(row / shape.N)}, {}};
    view.plan = draw_view(view.name, shape, recipe, static_cast<float>(source.sampling_rate_hz));
    if (view.plan.mixed || view.plan.cut) find_partners(view);
    float* out = output + row * shape.L * shape.C;
    if (shape.C <= 8) return make_leads<8>(view, 0, out);
    for (int first = 0; first < shape.C; first += 16) make_leads<16>(view, first, out);
  });
}

}  // namespace

const AugmentKernels augment{.views = views};

}  // namespace systole::augment::cpu
