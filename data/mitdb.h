// The MIT-BIH Arrhythmia Database: 48 half-hour recordings of two leads, 360 Hz, every beat annotated by two
// cardiologists (Moody and Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. in Med. and Biol. 20
// (2001) 45-50). Here each recording is cut into windows of 10 s, which are the records of the data set.
//
// Classes are those of ANSI/AAMI EC57 among the beats of a window:
//   N  no beat but normal ones, bundle branch blocks and escape beats included: N L R e j
//   S  a supraventricular ectopic beat: A a J S
//   V  a ventricular ectopic beat: V E
//   F  a fusion of a ventricular and a normal beat: F
// A window has S, V and F as they occur, and N when none does. Its label is not known when it holds a beat of class Q
// (paced, fusion with paced, unclassifiable: / f Q), ventricular flutter (!), or no beat at all.
//
// Split: between patients, that of de Chazal, O'Dwyer and Reilly, "Automatic classification of heartbeats using ECG
// morphology and heartbeat interval features", IEEE Trans. Biomed. Eng. 51 (2004) 1196-1206: DS1 to train, DS2 to test
// (fold 10); the recordings with paced beats, 102, 104, 107 and 217, belong to neither. Of DS1, 119, 205, 220 and 223
// are fold 9, to select by: they hold all four classes, and leave each to the others. Recording 201 of DS1 is left out:
// it is of the same patient as 202 of DS2.
#pragma once

#include <filesystem>

#include "data/record_loader.h"

namespace systole::data {

inline constexpr const char* kMitdbLabelSet = "aami";
inline constexpr int kMitdbWindowSeconds = 10;

/// Whether the folder holds the header and the annotations (.atr) of one of these recordings, by their numbers.
bool is_mitdb(const std::filesystem::path& root);

/// Loads the windows of the recordings of the folds, in mV, with the 12 standard leads: MLII is II, V1 … V6 are
/// themselves, and leads that a recording lacks are zero. Recordings are resampled, and the mean of each lead is taken
/// from each window. Recordings that are not there are counted. The record id is 1000 · recording + number of the
/// window, from 0. With `with_labels` false, windows without a known label are loaded too, without classes. Throws
/// Error for a broken recording unless those are skipped, for another lead, and when nothing can be loaded.
Dataset load_mitdb(const LoadOptions& options, bool with_labels, LoadReport& report);

}  // namespace systole::data
