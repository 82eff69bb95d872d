// How a disease changes the waves of a beat.
#pragma once

#include <vector>

#include "data/generator_patient.h"

namespace systole::data::synthetic {

/// The waves of this patient's sinus beat in the given condition, before the heart is turned.
std::vector<Wave> diseased_beat(const Patient& patient, const Condition& condition);

/// The waves of a beat that starts in the ventricle `from` points to: slow, wide, repolarised the opposite way.
std::vector<Wave> ventricular_beat(Vector3 from);

}  // namespace systole::data::synthetic
