// The synthetic patients: body, heart, diseases, and what a reader of each recording notes.
//
// Every disease has a continuous severity. A liability l (normal; shared burden, age) gives
//   severity = clamp(0.3 + 0.65 (l − τ), 0, 1.4),   τ from the class's prevalence,
// and the reader notes the disease where severity + noise > 0.3: mild cases look like health, and some healthy hearts
// are a little ill. Ejection fraction and potassium are measured in numbers of their own.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/generator_dipole.h"

namespace systole::data::synthetic {

enum class Pathology {
  inferior_infarction,
  inferolateral_infarction,
  anteroseptal_infarction,
  anterior_infarction,
  anterolateral_infarction,
  lateral_infarction,
  low_t,
  st_depression,
  ischaemia,
  anterolateral_ischaemia,
  long_qt,
  right_bundle_block,
  incomplete_right_bundle_block,
  left_bundle_block,
  left_anterior_block,
  intraventricular_delay,
  first_degree_block,
  left_hypertrophy,
  right_hypertrophy,
  left_atrial_enlargement,
};
inline constexpr int kPathologies = 20;

enum class Superclass { NORM, MI, STTC, CD, HYP };
inline constexpr int kSuperclasses = 5;
extern const std::array<const char*, kSuperclasses> kSuperclassNames;

/// A diagnostic statement of SCP-ECG with what PTB-XL's scp_statements.csv says of it.
struct Statement {
  const char* code;
  const char* description;
  Superclass superclass;
  const char* subclass;
  bool form;  // describes the form of the curve, too
  const char* category;
  float share;  // of its superclass's cases
};
/// Row p describes Pathology(p).
extern const std::array<Statement, kPathologies> kPathologyStatements;

/// The state of a heart on one day.
struct Condition {
  std::array<float, kPathologies> severity{};  // 0 healthy … 0.3 just noted … 1.4
  float acuteness = 0;                         // of an infarction: 1 today … 0 a scar
  float lvef_percent = 60;
  float potassium_mmol_l = 4.2f;

  float& operator[](Pathology p) { return severity[static_cast<size_t>(p)]; }
  float operator[](Pathology p) const { return severity[static_cast<size_t>(p)]; }
};

struct NoiseLevels {
  float wander_mv = 0, muscle_mv = 0, mains_mv = 0;  // root mean square at one electrode
  bool motion = false;                               // one electrode moves
};

struct Note {
  std::string code;
  int likelihood;  // percent, 0 for rhythm and form
};

/// One recording of 10 s.
struct Visit {
  float age_years = 60;
  int day = 0;  // since the first of all recordings
  Condition condition;
  bool fibrillation = false;
  float heart_rate_bpm = 70;
  float atrial_premature = 0, ventricular_premature = 0;  // probability per beat
  float gain = 1;                                         // skin contact and amplifier
  NoiseLevels noise;
  std::vector<Note> notes;

  bool has(Superclass superclass) const;
};

struct Patient {
  uint64_t seed = 0;
  uint32_t index = 0;
  bool female = false;
  int height_cm = 170, weight_kg = 70;
  std::vector<Wave> beat;                      // this heart when healthy, before it is turned
  Vector3 orientation;                         // radians, see Rotation
  LeadMatrix torso;                            // Dower's matrix for this chest
  float variability = 0.02f;                   // of RR, relative
  std::array<float, kPathologies> response{};  // how much a disease shows in this patient's ECG, median 1
  float lvef_response = 1, potassium_response = 1;
  std::vector<Visit> visits;  // 1 to 4
};

/// Patient number `index` of the data set with this seed.
Patient make_patient(uint64_t seed, uint32_t index);

/// What the streams of one patient are for: RandomStream's step.
enum class Stream : uint32_t { body, history, reader, rhythm, electrodes, folds };
inline Draws draws(uint64_t seed, Stream stream, uint32_t patient, uint32_t visit = 0, uint32_t detail = 0) {
  return Draws(RandomStream(seed, Purpose::generator, static_cast<uint32_t>(stream), patient, visit, detail));
}

}  // namespace systole::data::synthetic
