// One recording of a synthetic patient: rhythm, breathing, electrodes, noise, and the twelve leads as int16.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "data/generator_patient.h"

namespace systole::data::synthetic {

inline constexpr int kLeads = 12;
inline constexpr std::array<const char*, kLeads> kLeadNames = {"I",  "II", "III", "AVR", "AVL", "AVF",
                                                               "V1", "V2", "V3",  "V4",  "V5",  "V6"};
inline constexpr float kSeconds = 10;
inline constexpr float kUnitsPerMv = 1000;

struct SyntheticEcg {
  int sampling_rate_hz = 0;
  int length = 0;                // L
  std::vector<int16_t> samples;  // [L, 12], 1000 per mV
  std::vector<Beat> beats;       // whose R peak lies inside the recording
};

/// The recording of visit number `visit` of the patient, at 100 or 500 Hz; throws Error for another rate or a visit
/// that there is not. The recording at 100 Hz is the one at 500 Hz, low-passed below 50 Hz and thinned.
SyntheticEcg generate_ecg(const Patient& patient, uint32_t visit, int sampling_rate_hz);

/// Both at the cost of one: the recording at 500 Hz and at 100 Hz.
struct EcgPair {
  SyntheticEcg at_500_hz, at_100_hz;
};
EcgPair generate_ecg_pair(const Patient& patient, uint32_t visit);

}  // namespace systole::data::synthetic
