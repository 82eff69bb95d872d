// Everything is computed at 500 Hz with a margin on both sides for the filter of the 100-Hz version. Noise belongs to
// the nine electrodes, not to the leads: what disturbs the left arm is seen in I, III, aVL and, through Wilson's
// terminal, in V1 to V6, as on a real patient.
#include "data/generator_recording.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "data/generator_pathology.h"
#include "kernels/common/error.h"

namespace systole::data::synthetic {
namespace {

constexpr float kTwoPi = 6.28318530717958648f;
constexpr int kRate = 500;
constexpr int kDecimation = 5;
constexpr int kInside = static_cast<int>(kSeconds) * kRate;
constexpr int kSamples = kInside + 2 * kFilterMargin;
constexpr float kStart = -static_cast<float>(kFilterMargin) / kRate;  // s

using Signal = std::vector<float>;  // [kSamples]

/// amplitude · sin(2π f t + phase), one sample after the other by turning a phasor.
class Oscillator {
 public:
  Oscillator(double hz, double amplitude, double phase)
      : sine_(amplitude * std::sin(phase)),
        cosine_(amplitude * std::cos(phase)),
        turn_sine_(std::sin(kTwoPi * hz / kRate)),
        turn_cosine_(std::cos(kTwoPi * hz / kRate)) {}
  float next() {
    const double value = sine_;
    sine_ = sine_ * turn_cosine_ + cosine_ * turn_sine_;
    cosine_ = cosine_ * turn_cosine_ - value * turn_sine_;
    return static_cast<float>(value);
  }

 private:
  double sine_, cosine_, turn_sine_, turn_cosine_;
};

// --- Rhythm ---------------------------------------------------------------------------------------------------------

struct Breathing {
  float hz, phase, tilt, volume;  // rad, relative

  float at(float time_s) const { return std::sin(kTwoPi * hz * time_s + phase); }
};

// RR intervals with the two peaks of the heart-rate spectrum, Mayer waves at 0.1 Hz and breathing (Task Force of the
// ESC and NASPE, Circulation 93 (1996) 1043); in fibrillation they are independent and widely spread.
std::vector<Beat> make_rhythm(const Patient& patient, const Visit& visit, const Breathing& breathing, Draws& draw) {
  const float mean = 60 / visit.heart_rate_bpm;
  const float mayer_phase = draw.uniform(0, kTwoPi);
  std::vector<Beat> beats;
  float time = -1.5f + draw.uniform(0, mean);
  float owed = 0;  // the rest after a premature beat
  while (time < kSeconds + 1) {
    float rr = mean;
    if (visit.fibrillation) {
      rr *= std::max(0.5f, draw.factor(0.2f));
    } else {
      const float slow = std::sin(kTwoPi * 0.1f * time + mayer_phase);
      rr *= 1 + patient.variability * (0.6f * slow + 0.8f * breathing.at(time) + draw.normal(0, 0.25f));
    }
    BeatKind kind = BeatKind::sinus;
    if (owed == 0 && draw.chance(visit.ventricular_premature)) kind = BeatKind::ventricular_premature;
    if (owed == 0 && draw.chance(visit.atrial_premature)) kind = BeatKind::atrial_premature;
    const float early = kind == BeatKind::sinus ? 0 : draw.uniform(0.25f, 0.4f) * rr;
    rr = std::max(0.33f, rr - early + owed);
    owed = kind == BeatKind::ventricular_premature ? early : 0;  // the sinus node keeps its pace
    time += rr;
    beats.push_back({time, rr, kind});
  }
  return beats;
}

// Fibrillating atria: an irregular wave of 4.5 to 8 Hz, largest in V1, instead of P.
void add_fibrillation(std::vector<Vector3>& moment, Draws& draw) {
  const Vector3 direction = draw.factor(0.5f) * Vector3{-0.015f, 0.025f, -0.045f};
  const float hz = draw.uniform(4.5f, 8), phase = draw.uniform(0, kTwoPi);
  const float wobble_hz = draw.uniform(0.3f, 0.9f), wobble = draw.uniform(0.5f, 2), second = draw.uniform(0.1f, 0.5f);
  for (int i = 0; i < kSamples; ++i) {
    const float t = static_cast<float>(i) / kRate;
    const float angle = kTwoPi * hz * t + phase + wobble * std::sin(kTwoPi * wobble_hz * t);
    const float size = std::sin(angle) + second * std::sin(2 * angle + 1) + 0.3f * std::sin(0.37f * angle);
    moment[i] = moment[i] + size * direction;
  }
}

std::vector<Vector3> make_moment(const Patient& patient, const Visit& visit, const std::vector<Beat>& beats,
                                 const Breathing& breathing, Draws& draw) {
  std::vector<Wave> sinus = diseased_beat(patient, visit.condition);
  if (visit.fibrillation) std::erase_if(sinus, [](const Wave& wave) { return is_p(wave.kind); });
  std::vector<Wave> premature = sinus;
  for (Wave& wave : premature)
    if (is_p(wave.kind)) wave.mv.y *= -0.4f;  // from low in the atrium
  const Vector3 focus = draw.normal3(0.55f) + Vector3{-0.6f, 0.3f, -0.2f};
  const std::vector<Wave> ventricular = ventricular_beat(focus);

  std::vector<Vector3> moment(kSamples);
  const Vector3 posture = patient.orientation + draw.normal3(0.05f);
  for (const Beat& beat : beats) {
    const std::vector<Wave>& waves = beat.kind == BeatKind::sinus              ? sinus
                                     : beat.kind == BeatKind::atrial_premature ? premature
                                                                               : ventricular;
    const float breath = breathing.at(beat.time_s);
    const Rotation rotation(posture + breathing.tilt * breath * Vector3{0.7f, 0.2f, 1.0f});
    const float scale = visit.gain * (1 + breathing.volume * breath) * (1 + draw.normal(0, 0.015f));
    add_beat(waves, beat, rotation, scale, kStart, kRate, moment);
  }
  if (visit.fibrillation) add_fibrillation(moment, draw);
  return moment;
}

// --- Electrodes -----------------------------------------------------------------------------------------------------

enum Electrode { kRightArm, kLeftArm, kLeftLeg, kFirstChest, kElectrodes = kFirstChest + 6 };

void add_wander(Signal& signal, float level, const Breathing& breathing, Draws& draw) {
  std::vector<Oscillator> parts;
  const float own = level * draw.factor(0.4f);
  for (const float hz : {0.05f, 0.13f, 0.27f, 0.45f})
    parts.emplace_back(hz * draw.factor(0.3f), own * draw.normal(0, 0.8f), draw.uniform(0, kTwoPi));
  parts.emplace_back(breathing.hz, own * draw.normal(0, 1.0f), breathing.phase + draw.normal(0, 0.3f));
  for (float& value : signal)
    for (Oscillator& part : parts) value += part.next();
}

void add_mains(Signal& signal, float level, Draws& draw) {
  const float own = level * 1.4f * draw.factor(0.5f);
  Oscillator first(50, own, draw.uniform(0, kTwoPi)), third(150, 0.2f * own, draw.uniform(0, kTwoPi));
  for (float& value : signal) value += first.next() + third.next();
}

// White up to 250 Hz, as surface electromyograms nearly are, with a strength that changes in the course of seconds.
void add_muscle(Signal& signal, float level, RandomStream stream, Draws& draw) {
  const float own = level * draw.factor(0.5f);
  Oscillator strength(draw.uniform(0.05f, 0.4f), draw.uniform(0, 0.6f), draw.uniform(0, kTwoPi));
  for (int i = 0; i < kSamples; i += 4) {
    const Philox4 words = stream.block(static_cast<uint32_t>(i / 4));
    for (int pair = 0; pair < 2; ++pair) {  // Box and Muller, as RandomStream::normal, at half the price
      const float radius = std::sqrt(-2 * std::log(1 - RandomStream::to_uniform(words.word[2 * pair])));
      const float angle = kTwoPi * RandomStream::to_uniform(words.word[2 * pair + 1]);
      signal[i + 2 * pair] += own * (1 + strength.next()) * radius * std::cos(angle);
      signal[i + 2 * pair + 1] += own * (1 + strength.next()) * radius * std::sin(angle);
    }
  }
}
static_assert(kSamples % 4 == 0);

// An electrode that slips: jumps that decay.
void add_motion(Signal& signal, Draws& draw) {
  const int jumps = 1 + static_cast<int>(draw.below(3));
  for (int j = 0; j < jumps; ++j) {
    const int first = static_cast<int>(draw.below(kSamples));
    const float keep = std::exp(-1 / (kRate * draw.uniform(0.1f, 1.0f)));
    float height = draw.normal(0, 0.5f);
    for (int i = first; i < kSamples; ++i, height *= keep) signal[i] += height;
  }
}

std::array<Signal, kElectrodes> electrode_noise(const Patient& patient, uint32_t visit, const Breathing& breathing) {
  const NoiseLevels& levels = patient.visits[visit].noise;
  Draws placement = draws(patient.seed, Stream::electrodes, patient.index, visit);
  const int moving = levels.motion ? static_cast<int>(placement.below(kElectrodes)) : -1;
  std::array<Signal, kElectrodes> noise;
  for (int e = 0; e < kElectrodes; ++e) {
    Draws draw = draws(patient.seed, Stream::electrodes, patient.index, visit, static_cast<uint32_t>(2 * e + 1));
    const RandomStream white(patient.seed, Purpose::generator, static_cast<uint32_t>(Stream::electrodes), patient.index,
                             visit, static_cast<uint32_t>(2 * e + 2));
    noise[e].assign(kSamples, 0.0f);
    add_wander(noise[e], levels.wander_mv, breathing, draw);
    add_mains(noise[e], levels.mains_mv, draw);
    add_muscle(noise[e], levels.muscle_mv, white, draw);
    if (e == moving) add_motion(noise[e], draw);
  }
  return noise;
}

// I, II, V1 … V6 in mV: the moment seen through this chest with electrodes a little off, plus the electrodes' noise.
std::array<Signal, kFreeLeads> make_leads(const Patient& patient, const std::vector<Vector3>& moment,
                                          const std::array<Signal, kElectrodes>& noise, Draws& draw) {
  std::array<Signal, kFreeLeads> leads;
  for (int lead = 0; lead < kFreeLeads; ++lead) {
    const float off = lead < 2 ? 0.02f : 0.06f;
    const float* torso = patient.torso[lead];
    const Vector3 row = Vector3{torso[0], torso[1], torso[2]} + draw.normal3(off);
    leads[lead].resize(kSamples);
    for (int i = 0; i < kSamples; ++i) {
      const float right = noise[kRightArm][i], left = noise[kLeftArm][i], leg = noise[kLeftLeg][i];
      const float disturbance = lead == 0   ? left - right
                                : lead == 1 ? leg - right
                                            : noise[kFirstChest + lead - 2][i] - (right + left + leg) / 3;
      leads[lead][i] = dot(row, moment[i]) + disturbance;
    }
  }
  return leads;
}

// --- Twelve leads ---------------------------------------------------------------------------------------------------

int16_t quantised(float mv) {
  constexpr float kLimit = 16000;  // so that III = II − I fits, too
  return static_cast<int16_t>(std::lrint(std::clamp(mv * kUnitsPerMv, -kLimit, kLimit)));
}

int16_t half_of(int twice) {
  return static_cast<int16_t>(std::lrint(0.5 * twice));
}

SyntheticEcg to_ecg(const std::array<Signal, kFreeLeads>& leads, int first, int length, int rate) {
  SyntheticEcg ecg;
  ecg.sampling_rate_hz = rate;
  ecg.length = length;
  ecg.samples.resize(static_cast<size_t>(length) * kLeads);
  for (int l = 0; l < length; ++l) {
    int16_t* sample = ecg.samples.data() + static_cast<size_t>(l) * kLeads;
    const int one = quantised(leads[0][first + l]), two = quantised(leads[1][first + l]);
    sample[0] = static_cast<int16_t>(one);
    sample[1] = static_cast<int16_t>(two);
    sample[2] = static_cast<int16_t>(two - one);
    sample[3] = half_of(-(one + two));
    sample[4] = half_of(2 * one - two);
    sample[5] = half_of(2 * two - one);
    for (int lead = 2; lead < kFreeLeads; ++lead) sample[4 + lead] = quantised(leads[lead][first + l]);
  }
  return ecg;
}

SyntheticEcg thinned(const std::array<Signal, kFreeLeads>& leads) {
  constexpr int kLength = kInside / kDecimation;
  std::array<Signal, kFreeLeads> slow;
  for (int lead = 0; lead < kFreeLeads; ++lead) slow[lead] = decimate(leads[lead], kDecimation, kLength);
  return to_ecg(slow, 0, kLength, kRate / kDecimation);
}

struct FreeLeads {
  std::array<Signal, kFreeLeads> leads;
  std::vector<Beat> beats;  // inside the recording
};

FreeLeads make_free_leads(const Patient& patient, uint32_t visit_number) {
  if (visit_number >= patient.visits.size())
    throw Error(fmt::format("Synthetic patient {} has {} recordings, so there is no recording {} (counted from 0).",
                            patient.index, patient.visits.size(), visit_number));
  const Visit& visit = patient.visits[visit_number];
  Draws draw = draws(patient.seed, Stream::rhythm, patient.index, visit_number);
  const Breathing breathing = {draw.uniform(0.18f, 0.35f), draw.uniform(0, kTwoPi), 0.05f * draw.factor(0.5f),
                               0.03f * draw.factor(0.5f)};
  FreeLeads result;
  result.beats = make_rhythm(patient, visit, breathing, draw);
  const std::vector<Vector3> moment = make_moment(patient, visit, result.beats, breathing, draw);
  result.leads = make_leads(patient, moment, electrode_noise(patient, visit_number, breathing), draw);
  std::erase_if(result.beats, [](const Beat& beat) { return beat.time_s < 0 || beat.time_s >= kSeconds; });
  return result;
}

}  // namespace

SyntheticEcg generate_ecg(const Patient& patient, uint32_t visit, int sampling_rate_hz) {
  if (sampling_rate_hz != kRate && sampling_rate_hz != kRate / kDecimation)
    throw Error(fmt::format("Synthetic ECGs have a sampling rate of 100 or 500 Hz, not {} Hz.", sampling_rate_hz));
  const FreeLeads free = make_free_leads(patient, visit);
  SyntheticEcg ecg =
      sampling_rate_hz == kRate ? to_ecg(free.leads, kFilterMargin, kInside, kRate) : thinned(free.leads);
  ecg.beats = free.beats;
  return ecg;
}

EcgPair generate_ecg_pair(const Patient& patient, uint32_t visit) {
  const FreeLeads free = make_free_leads(patient, visit);
  EcgPair pair = {to_ecg(free.leads, kFilterMargin, kInside, kRate), thinned(free.leads)};
  pair.at_500_hz.beats = pair.at_100_hz.beats = free.beats;
  return pair;
}

}  // namespace systole::data::synthetic
