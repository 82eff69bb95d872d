// Directions and signs follow the criteria of the AHA/ACCF/HRS recommendations for the standardization and
// interpretation of the electrocardiogram, parts III to VI (Circulation 119 (2009) e235–e270); sizes are chosen, see
// docs/generator.md.
#include "data/generator_pathology.h"

#include <algorithm>
#include <cmath>

namespace systole::data::synthetic {
namespace {

constexpr float kQrsOnset = -0.042f;  // s

void scale(std::vector<Wave>& beat, WaveKind kind, float factor) {
  for (Wave& wave : beat)
    if (wave.kind == kind) wave.mv = factor * wave.mv;
}

// Activation takes `factor` times as long from its onset; repolarisation follows later.
void slow_conduction(std::vector<Wave>& beat, float factor) {
  const float delay = 0.085f * (factor - 1);
  for (Wave& wave : beat) {
    if (wave.kind == WaveKind::qrs) {
      wave.centre_s = kQrsOnset + factor * (wave.centre_s - kQrsOnset);
      wave.rise_s *= factor;
      wave.fall_s *= factor;
    } else if (is_repolarisation(wave.kind)) {
      wave.centre_s += delay;
    }
  }
}

void shift_t(std::vector<Wave>& beat, Vector3 by) {
  for (Wave& wave : beat)
    if (wave.kind == WaveKind::t) wave.mv = wave.mv + by;
}

void shift_st(std::vector<Wave>& beat, Vector3 by) {
  for (Wave& wave : beat)
    if (wave.kind == WaveKind::st) wave.mv = wave.mv + by;
}

// Dead muscle no longer pulls the moment to its side: a Q wave and less R there; fresh, ST points to it; later T away.
void infarct(std::vector<Wave>& beat, Vector3 side, float s, float acuteness) {
  for (Wave& wave : beat) {
    if (wave.kind != WaveKind::qrs) continue;
    const float early = std::exp(-0.5f * std::pow((wave.centre_s + 0.015f) / 0.018f, 2.0f));
    const float towards = std::max(0.0f, dot(wave.mv, side));
    wave.mv = wave.mv - s * early * (0.55f * towards) * side;
  }
  beat.push_back({WaveKind::qrs, -0.020f, 0.010f, 0.011f, -0.34f * s * side});
  shift_st(beat, s * (0.03f + 0.18f * acuteness) * side);
  shift_t(beat, -s * (0.26f * (1 - 0.7f * acuteness)) * side);
}

void infarctions(std::vector<Wave>& beat, const Patient& patient, const Condition& now) {
  constexpr struct {
    Pathology pathology;
    Vector3 side;
  } kTerritories[] = {
      {Pathology::inferior_infarction, {-0.05f, 0.97f, 0.23f}},
      {Pathology::inferolateral_infarction, {0.62f, 0.74f, 0.26f}},
      {Pathology::anteroseptal_infarction, {-0.10f, 0.0f, -0.99f}},
      {Pathology::anterior_infarction, {0.35f, 0.05f, -0.93f}},
      {Pathology::anterolateral_infarction, {0.76f, -0.10f, -0.64f}},
      {Pathology::lateral_infarction, {0.93f, -0.30f, 0.20f}},
  };
  for (const auto& [pathology, side] : kTerritories) {
    const float s = now[pathology] * patient.response[static_cast<size_t>(pathology)];
    if (s > 0) infarct(beat, side, s, now.acuteness);
  }
}

void repolarisation(std::vector<Wave>& beat, const Patient& patient, const Condition& now) {
  const auto s = [&](Pathology p) { return now[p] * patient.response[static_cast<size_t>(p)]; };
  scale(beat, WaveKind::t, 1 / (1 + 1.6f * s(Pathology::low_t)));
  shift_t(beat, s(Pathology::low_t) * Vector3{-0.09f, -0.05f, 0.04f});
  shift_st(beat, s(Pathology::st_depression) * Vector3{-0.13f, -0.11f, 0.06f});
  scale(beat, WaveKind::t, 1 / (1 + 0.5f * s(Pathology::st_depression)));
  shift_st(beat, s(Pathology::ischaemia) * Vector3{-0.07f, -0.06f, 0.02f});
  shift_t(beat, s(Pathology::ischaemia) * Vector3{-0.24f, -0.20f, 0.07f});
  shift_st(beat, s(Pathology::anterolateral_ischaemia) * Vector3{-0.06f, 0.0f, 0.05f});
  shift_t(beat, s(Pathology::anterolateral_ischaemia) * Vector3{-0.24f, 0.0f, 0.24f});
  for (Wave& wave : beat) {
    if (wave.kind != WaveKind::t) continue;
    wave.centre_s *= 1 + 0.20f * s(Pathology::long_qt);
    wave.rise_s *= 1 + 0.25f * s(Pathology::long_qt);
  }
}

void left_bundle_block(std::vector<Wave>& beat, float s) {
  if (s == 0) return;
  slow_conduction(beat, 1 + 0.45f * s);
  for (Wave& wave : beat)  // the septum is activated from the right: its forces turn to the left and back
    if (wave.kind == WaveKind::qrs && wave.centre_s < -0.015f) wave.mv = wave.mv + s * Vector3{0.22f, 0.05f, 0.22f};
  beat.push_back({WaveKind::qrs, 0.055f, 0.020f, 0.018f, s * Vector3{0.60f, 0.10f, 0.62f}});
  shift_st(beat, s * Vector3{-0.10f, -0.03f, -0.13f});
  shift_t(beat, s * Vector3{-0.38f, -0.14f, -0.24f});
}

void conduction(std::vector<Wave>& beat, const Patient& patient, const Condition& now) {
  const auto s = [&](Pathology p) { return now[p] * patient.response[static_cast<size_t>(p)]; };
  const float right = s(Pathology::right_bundle_block), incomplete = s(Pathology::incomplete_right_bundle_block);
  beat.push_back({WaveKind::qrs, 0.062f, 0.016f, 0.018f, right * Vector3{-0.62f, 0.0f, -0.62f}});
  shift_t(beat, right * Vector3{0.10f, 0.0f, 0.20f});
  beat.push_back({WaveKind::qrs, 0.050f, 0.011f, 0.012f, incomplete * Vector3{-0.42f, 0.0f, -0.40f}});
  left_bundle_block(beat, s(Pathology::left_bundle_block));
  const float anterior = s(Pathology::left_anterior_block);
  beat.push_back({WaveKind::qrs, -0.018f, 0.009f, 0.009f, anterior * Vector3{-0.10f, 0.25f, 0.0f}});
  beat.push_back({WaveKind::qrs, 0.018f, 0.014f, 0.014f, anterior * Vector3{0.20f, -1.00f, 0.10f}});
  slow_conduction(beat, 1 + 0.42f * s(Pathology::intraventricular_delay));
  for (Wave& wave : beat)
    if (is_p(wave.kind)) wave.centre_s -= 0.095f * s(Pathology::first_degree_block);
}

void hypertrophy(std::vector<Wave>& beat, const Patient& patient, const Condition& now) {
  const auto s = [&](Pathology p) { return now[p] * patient.response[static_cast<size_t>(p)]; };
  const float left = s(Pathology::left_hypertrophy), right = s(Pathology::right_hypertrophy);
  const float atrium = s(Pathology::left_atrial_enlargement);
  slow_conduction(beat, 1 + 0.10f * left);
  scale(beat, WaveKind::qrs, 1 + 0.50f * left);
  beat.push_back({WaveKind::qrs, 0.010f, 0.012f, 0.012f, left * Vector3{0.45f, -0.10f, 0.45f}});
  shift_st(beat, left * Vector3{-0.06f, -0.02f, -0.04f});
  shift_t(beat, left * Vector3{-0.20f, -0.08f, -0.05f});
  beat.push_back({WaveKind::qrs, 0.012f, 0.014f, 0.016f, right * Vector3{-0.75f, 0.25f, -0.75f}});
  shift_t(beat, right * Vector3{0.05f, -0.12f, 0.20f});
  for (Wave& wave : beat) {  // the left atrium: later, larger, to the back
    if (wave.kind != WaveKind::left_atrium) continue;
    wave.mv = wave.mv + atrium * Vector3{0.04f, 0.02f, 0.08f};
    wave.centre_s += 0.018f * atrium;
    wave.fall_s *= 1 + 0.15f * atrium;
  }
}

// A weak ventricle: less R, slower activation, little progression of R from V1 to V4, flat lateral T, a loaded atrium.
void weaken(std::vector<Wave>& beat, float lvef_percent, float response) {
  const float loss = std::clamp((58 - lvef_percent) / 33, 0.0f, 1.4f) * response;
  slow_conduction(beat, 1 + 0.16f * loss);
  scale(beat, WaveKind::qrs, 1 / (1 + 0.22f * loss));
  for (Wave& wave : beat)
    if (wave.kind == WaveKind::qrs && wave.centre_s < 0.012f) wave.mv.z += 0.10f * loss;
  scale(beat, WaveKind::t, 1 / (1 + 0.35f * loss));
  shift_t(beat, loss * Vector3{-0.09f, -0.03f, 0.0f});
  for (Wave& wave : beat)
    if (wave.kind == WaveKind::left_atrium) wave.mv.z += 0.03f * loss;
}

// Potassium: narrow peaked T from about 5 mmol/l, then a flat P and a long PR, above 6 a wide QRS.
void add_potassium(std::vector<Wave>& beat, float potassium_mmol_l, float response) {
  const float excess = (potassium_mmol_l - 4.4f) * response;  // negative: hypokalaemia flattens T
  const float high = std::max(0.0f, excess);
  for (Wave& wave : beat) {
    if (is_p(wave.kind)) {
      wave.mv = (1 / (1 + 0.40f * high)) * wave.mv;
      wave.centre_s -= 0.010f * high;
    }
    if (wave.kind != WaveKind::t) continue;
    wave.mv = std::exp(1.1f * std::tanh(0.48f * excess)) * wave.mv;
    wave.rise_s /= 1 + 0.35f * high;
    wave.fall_s /= 1 + 0.15f * high;
  }
  slow_conduction(beat, 1 + 0.14f * std::max(0.0f, potassium_mmol_l - 5.7f) * response);
}

}  // namespace

std::vector<Wave> diseased_beat(const Patient& patient, const Condition& condition) {
  std::vector<Wave> beat = patient.beat;
  repolarisation(beat, patient, condition);
  infarctions(beat, patient, condition);
  hypertrophy(beat, patient, condition);
  conduction(beat, patient, condition);
  weaken(beat, condition.lvef_percent, patient.lvef_response);
  add_potassium(beat, condition.potassium_mmol_l, patient.potassium_response);
  return beat;
}

std::vector<Wave> ventricular_beat(Vector3 from) {
  return {
      {WaveKind::qrs, 0.000f, 0.026f, 0.028f, -1.5f * from},
      {WaveKind::qrs, 0.055f, 0.024f, 0.030f, -0.6f * from + Vector3{0.1f, -0.3f, 0.2f}},
      {WaveKind::st, 0.140f, 0.040f, 0.060f, 0.15f * from},
      {WaveKind::t, 0.310f, 0.070f, 0.055f, 0.55f * from},
  };
}

}  // namespace systole::data::synthetic
