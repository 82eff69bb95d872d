#include "data/generator_patient.h"

#include <algorithm>
#include <cstring>

namespace systole::data::synthetic {

const std::array<const char*, kSuperclasses> kSuperclassNames = {"NORM", "MI", "STTC", "CD", "HYP"};

namespace {
constexpr const char* kInfarction = "Myocardial Infarction";
constexpr const char* kIntraventricular = "Intraventricular and intra-atrial Conduction disturbances";
constexpr const char* kStT = "other ST-T descriptive statements";
}  // namespace

const std::array<Statement, kPathologies> kPathologyStatements = {{
    {"IMI", "inferior myocardial infarction", Superclass::MI, "IMI", false, kInfarction, 0.38f},
    {"ILMI", "inferolateral myocardial infarction", Superclass::MI, "IMI", false, kInfarction, 0.10f},
    {"ASMI", "anteroseptal myocardial infarction", Superclass::MI, "AMI", false, kInfarction, 0.32f},
    {"AMI", "anterior myocardial infarction", Superclass::MI, "AMI", false, kInfarction, 0.08f},
    {"ALMI", "anterolateral myocardial infarction", Superclass::MI, "AMI", false, kInfarction, 0.07f},
    {"LMI", "lateral myocardial infarction", Superclass::MI, "LMI", false, kInfarction, 0.05f},
    {"NDT", "non-diagnostic T abnormalities", Superclass::STTC, "STTC", true, kStT, 0.38f},
    {"NST_", "non-specific ST changes", Superclass::STTC, "NST_", true,
     "Basic roots for coding ST-T changes and abnormalities", 0.18f},
    {"ISC_", "non-specific ischemic", Superclass::STTC, "ISC_", false,
     "Basic roots for coding ST-T changes and abnormalities", 0.24f},
    {"ISCAL", "ischemic in anterolateral leads", Superclass::STTC, "ISCA", false, "ischemic ST-T changes", 0.14f},
    {"LNGQT", "long QT-interval", Superclass::STTC, "STTC", true, kStT, 0.06f},
    {"CRBBB", "complete right bundle branch block", Superclass::CD, "CRBBB", false, kIntraventricular, 0.14f},
    {"IRBBB", "incomplete right bundle branch block", Superclass::CD, "IRBBB", false, kIntraventricular, 0.20f},
    {"CLBBB", "complete left bundle branch block", Superclass::CD, "CLBBB", false, kIntraventricular, 0.12f},
    {"LAFB", "left anterior fascicular block", Superclass::CD, "LAFB/LPFB", false, kIntraventricular, 0.26f},
    {"IVCD", "non-specific intraventricular conduction disturbance (block)", Superclass::CD, "IVCD", false,
     kIntraventricular, 0.14f},
    {"1AVB", "first degree AV block", Superclass::CD, "_AVB", false,
     "Sinus node dysfunction, atrial and AV-conduction defects", 0.14f},
    {"LVH", "left ventricular hypertrophy", Superclass::HYP, "LVH", false, "Ventricular Hypertrophy", 0.74f},
    {"RVH", "right ventricular hypertrophy", Superclass::HYP, "RVH", false, "Ventricular Hypertrophy", 0.08f},
    {"LAO/LAE", "left atrial overload/enlargement", Superclass::HYP, "LAO/LAE", false, "Atrial statements", 0.18f},
}};

bool Visit::has(Superclass superclass) const {
  return std::any_of(notes.begin(), notes.end(), [&](const Note& note) {
    if (note.code == "NORM") return superclass == Superclass::NORM;
    return std::any_of(kPathologyStatements.begin(), kPathologyStatements.end(),
                       [&](const Statement& s) { return s.superclass == superclass && note.code == s.code; });
  });
}

namespace {

constexpr float kNoted = 0.3f;  // the severity that a reader notes half of the time

// --- Body and heart -------------------------------------------------------------------------------------------------

float clamp_normal(Draws& draw, float mean, float deviation, float low, float high) {
  return std::clamp(draw.normal(mean, deviation), low, high);
}

void make_heart(Patient& patient, float age, Draws& draw) {
  const float qrs = (patient.female ? 0.92f : 1.05f) * (1 - 0.004f * (age - 50)) * draw.factor(0.20f);
  const float t = (patient.female ? 0.85f : 1.1f) * (1 - 0.004f * (age - 50)) * draw.factor(0.26f);
  const float p = draw.factor(0.25f);
  const float qrs_width = (patient.female ? 0.96f : 1.02f) * draw.factor(0.07f);
  const float qt = (patient.female ? 1.03f : 1.0f) * draw.factor(0.04f);
  const float pr = draw.normal(0, 0.015f);
  const Rotation t_axis(draw.normal3(0.22f));
  for (Wave& wave : patient.beat) {
    const bool qrs_wave = wave.kind == WaveKind::qrs, p_wave = is_p(wave.kind);
    const float size = std::sqrt(dot(wave.mv, wave.mv));
    wave.mv = draw.factor(0.15f) * (wave.mv + draw.normal3(0.15f * size));
    wave.mv = (qrs_wave ? qrs : p_wave ? p : t) * (qrs_wave || p_wave ? wave.mv : t_axis(wave.mv));
    wave.centre_s = wave.centre_s * (qrs_wave ? qrs_width : p_wave ? 1.0f : qt) + (p_wave ? pr : 0.0f);
    wave.rise_s *= (qrs_wave ? qrs_width : 1.0f) * draw.factor(0.08f);
    wave.fall_s *= (qrs_wave ? qrs_width : 1.0f) * draw.factor(0.08f);
  }
}

void make_body(Patient& patient, float age) {
  Draws draw = draws(patient.seed, Stream::body, patient.index);
  patient.female = draw.chance(0.48f);
  patient.height_cm = static_cast<int>(clamp_normal(draw, patient.female ? 163.f : 176.f, 7, 140, 205));
  const float metres = 0.01f * static_cast<float>(patient.height_cm);
  const float bmi = clamp_normal(draw, 26, 4.2f, 17, 45);
  patient.weight_kg = static_cast<int>(bmi * metres * metres);
  patient.beat = average_beat();
  make_heart(patient, age, draw);

  patient.orientation = {draw.normal(0, 0.16f), draw.normal(0, 0.20f),
                         draw.normal(-0.005f * (age - 55) - 0.015f * (bmi - 26), 0.28f)};
  for (int lead = 0; lead < kFreeLeads; ++lead) {
    const float near = draw.factor(0.14f) * (lead < 2 ? 1.0f : std::exp(-0.015f * (bmi - 26)));
    for (int axis = 0; axis < 3; ++axis) patient.torso[lead][axis] = near * kDower[lead][axis] + draw.normal(0, 0.06f);
  }
  patient.variability = 0.035f * draw.factor(0.5f) * std::max(0.2f, 1.5f - age / 75);
  for (float& response : patient.response) response = draw.factor(0.28f);
  patient.lvef_response = draw.factor(0.35f);
  patient.potassium_response = draw.factor(0.30f);
}

// --- Diseases -------------------------------------------------------------------------------------------------------

struct Liability {
  Superclass superclass;
  float threshold;  // in standard deviations of a liability at 60 years
  float age_slope;  // per 17 years
};
// Thresholds are set so that the recordings have PTB-XL's prevalences; docs/generator.md has both.
constexpr Liability kLiabilities[] = {
    {Superclass::MI, 0.74f, 0.45f},
    {Superclass::STTC, 0.74f, 0.30f},
    {Superclass::CD, 0.88f, 0.40f},
    {Superclass::HYP, 1.25f, 0.35f},
};

float severity_of(float liability, float threshold) {
  return std::clamp(kNoted + 0.65f * (liability - threshold), 0.0f, 1.4f);
}

Pathology choose(Superclass superclass, Draws& draw) {
  float rest = draw.uniform(0, 1);
  int chosen = 0;
  for (int p = 0; p < kPathologies; ++p) {
    if (kPathologyStatements[p].superclass != superclass) continue;
    chosen = p;
    rest -= kPathologyStatements[p].share;
    if (rest < 0) break;
  }
  return static_cast<Pathology>(chosen);
}

// What a patient carries from visit to visit.
struct History {
  Condition chronic;
  float cardiomyopathy = 0;  // percent of ejection fraction lost
  float renal = 0;           // mmol/l of potassium that a bad day adds
  bool fibrillation = false;
  int infarction_visit = -1;  // the visit that follows the infarction; before it there was none
  float atrial_premature = 0, ventricular_premature = 0;
};

History make_history(float age, int visits, Draws& draw) {
  History history;
  const float decades = (age - 60) / 17;
  const float burden = draw.normal(0, 1);
  for (const Liability& l : kLiabilities) {
    const float liability = 0.40f * burden + draw.normal(0, 0.917f) + l.age_slope * decades;
    const float severity = severity_of(liability, l.threshold);
    history.chronic[choose(l.superclass, draw)] = severity;
    const Pathology second = choose(l.superclass, draw);
    if (draw.chance(0.12f)) history.chronic[second] = std::max(history.chronic[second], 0.8f * severity);
  }
  history.cardiomyopathy = 30 * std::max(0.0f, 0.4f * burden + draw.normal(0, 0.917f) - 0.75f);
  history.renal =
      draw.chance(std::clamp(0.14f + 0.03f * burden, 0.02f, 0.4f)) ? 1.0f + std::abs(draw.normal(0, 1)) : 0.0f;
  history.fibrillation = draw.chance(std::clamp(0.06f + 0.05f * decades + 0.02f * burden, 0.0f, 0.4f));
  if (visits > 1 && draw.chance(0.2f)) history.infarction_visit = 1 + static_cast<int>(draw.below(visits - 1));
  if (draw.chance(0.08f)) history.ventricular_premature = draw.uniform(0.03f, 0.2f);
  if (draw.chance(0.06f)) history.atrial_premature = draw.uniform(0.03f, 0.2f);
  return history;
}

float worst(const Condition& condition, Superclass superclass) {
  float result = 0;
  for (int p = 0; p < kPathologies; ++p)
    if (kPathologyStatements[p].superclass == superclass) result = std::max(result, condition.severity[p]);
  return result;
}

Condition condition_on(const History& history, int visit, Draws& draw) {
  Condition now = history.chronic;
  for (int p = 0; p < kPathologies; ++p) {
    const bool changing = kPathologyStatements[p].superclass == Superclass::STTC;
    now.severity[p] *= changing ? draw.uniform(0.65f, 1.35f) : draw.uniform(0.88f, 1.12f);
    if (kPathologyStatements[p].superclass == Superclass::MI && visit < history.infarction_visit) now.severity[p] = 0;
  }
  now.acuteness = visit == history.infarction_visit ? draw.uniform(0.5f, 1.0f) : std::max(0.0f, draw.normal(0, 0.3f));
  now[Pathology::low_t] += 0.25f * std::max(0.0f, now[Pathology::left_hypertrophy] - 0.5f);  // strain
  now.lvef_percent = 62 - 16 * worst(now, Superclass::MI) - 14 * now[Pathology::left_bundle_block] -
                     6 * now[Pathology::left_hypertrophy] - (history.fibrillation ? 4.0f : 0.0f) -
                     history.cardiomyopathy + draw.normal(0, 4);
  now.lvef_percent = std::clamp(now.lvef_percent, 12.0f, 75.0f);
  now.potassium_mmol_l = std::clamp(draw.normal(4.25f, 0.33f) + draw.uniform(0.5f, 1) * history.renal, 2.9f, 7.9f);
  return now;
}

NoiseLevels make_noise(Draws& draw) {
  NoiseLevels noise;
  noise.wander_mv = 0.05f * draw.factor(0.8f);
  noise.muscle_mv = 0.016f * draw.factor(0.7f);
  noise.mains_mv = 0.004f * draw.factor(1.0f);
  noise.motion = draw.chance(0.06f);
  return noise;
}

// --- The reader -----------------------------------------------------------------------------------------------------

void note_diagnoses(Visit& visit, Draws& draw) {
  for (int p = 0; p < kPathologies; ++p) {
    const float seen = visit.condition.severity[p] + draw.normal(0, 0.06f);
    const bool slip = draw.chance(seen > kNoted ? 0.03f : 0.0015f);  // overlooked, or noted without a reason
    const bool certain = seen > kNoted + 0.1f;
    if ((seen > kNoted) != slip)
      visit.notes.push_back({kPathologyStatements[p].code, slip ? 50 : certain ? 100 : draw.chance(0.5f) ? 80 : 50});
  }
  const bool healthy = visit.notes.empty();
  if (healthy ? draw.chance(visit.fibrillation ? 0.3f : 0.98f) : visit.notes.size() == 1 && draw.chance(0.02f))
    visit.notes.push_back({"NORM", healthy ? 100 : 80});
}

void note_rhythm(Visit& visit) {
  const float rate = visit.heart_rate_bpm;
  visit.notes.push_back({visit.fibrillation ? "AFIB" : rate > 100 ? "STACH" : rate < 55 ? "SBRAD" : "SR", 0});
  if (visit.ventricular_premature > 0) visit.notes.push_back({"PVC", 0});
  if (visit.atrial_premature > 0) visit.notes.push_back({"PAC", 0});
}

}  // namespace

Patient make_patient(uint64_t seed, uint32_t index) {
  Patient patient;
  patient.seed = seed;
  patient.index = index;
  Draws draw = draws(seed, Stream::history, index);
  float age = clamp_normal(draw, 61, 17, 18, 89);
  make_body(patient, age);

  const float several = draw.uniform(0, 1);  // 35 % come again
  const int visits = several < 0.65f ? 1 : several < 0.86f ? 2 : several < 0.95f ? 3 : 4;
  const History history = make_history(age, visits, draw);
  const float resting_rate = draw.normal(70, 11);
  int day = static_cast<int>(draw.below(4000));
  for (int v = 0; v < visits; ++v) {
    Visit visit;
    visit.age_years = std::min(age, 89.0f);
    visit.day = day;
    visit.condition = condition_on(history, v, draw);
    visit.fibrillation = history.fibrillation && draw.chance(0.8f);
    visit.heart_rate_bpm = std::clamp(resting_rate + draw.normal(0, 7) + (visit.fibrillation ? 12.0f : 0.0f) +
                                          0.3f * std::max(0.0f, 50 - visit.condition.lvef_percent),
                                      42.0f, 140.0f);
    visit.atrial_premature = visit.fibrillation ? 0 : history.atrial_premature;
    visit.ventricular_premature = history.ventricular_premature;
    visit.gain = draw.factor(0.15f);
    visit.noise = make_noise(draw);
    Draws reader = draws(seed, Stream::reader, index, static_cast<uint32_t>(v));
    note_diagnoses(visit, reader);
    note_rhythm(visit);
    patient.visits.push_back(std::move(visit));
    const int later = 1 + static_cast<int>(draw.below(700));
    day += later;
    age += static_cast<float>(later) / 365.25f;
  }
  return patient;
}

}  // namespace systole::data::synthetic
