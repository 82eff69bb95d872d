// The electric heart as one dipole whose moment is a sum of Gaussians in the phase of the beat:
//
//   d(t) = Σ_beats Σ_i a_i · exp(−(t − t_R − s c_i)² / 2 (s w_i)²),   a_i = (x, y, z) in mV
//
// This is the closed form of the dynamical models of McSharry et al., IEEE Trans. Biomed. Eng. 50 (2003) 289, and
// Sameni et al., EURASIP J. Adv. Signal Process. (2007) 043407, with two changes: a wave has one centre for all three
// axes, and its two flanks may differ. s is 1 for atrial and ventricular activation and √RR for repolarisation
// (Bazett), so a faster heart beats more often but does not conduct faster. Axes as Frank's: x to the left arm, y to
// the feet, z to the back.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/common/philox.h"

namespace systole::data::synthetic {

struct Vector3 {
  float x = 0, y = 0, z = 0;
};
inline Vector3 operator+(Vector3 a, Vector3 b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}
inline Vector3 operator-(Vector3 a, Vector3 b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}
inline Vector3 operator*(float s, Vector3 v) {
  return {s * v.x, s * v.y, s * v.z};
}
inline float dot(Vector3 a, Vector3 b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

/// Rz · Ry · Rx of the three angles in radians.
struct Rotation {
  explicit Rotation(Vector3 angles);
  Vector3 operator()(Vector3 v) const { return {dot(row[0], v), dot(row[1], v), dot(row[2], v)}; }
  Vector3 row[3];
};

/// One draw after another from a stream. A normal draw takes two words of its own: RandomStream::normal(2i) is made of
/// the words that uniform(2i) and uniform(2i + 1) return, so they must not be drawn as well.
class Draws {
 public:
  explicit Draws(RandomStream stream) : stream_(stream) {}
  float uniform(float low, float high) { return stream_.uniform(next_++, low, high); }
  float normal(float mean, float deviation) {
    const uint32_t pair = (next_ + 1) / 2;
    next_ = 2 * pair + 2;
    return mean + deviation * stream_.normal(2 * pair);
  }
  /// exp of a normal number: a factor whose median is 1.
  float factor(float deviation) { return std::exp(normal(0, deviation)); }
  bool chance(float probability) { return uniform(0, 1) < probability; }
  uint32_t below(uint32_t count) { return stream_.below(next_++, count); }
  Vector3 normal3(float deviation) {
    const float x = normal(0, deviation), y = normal(0, deviation);
    return {x, y, normal(0, deviation)};
  }

 private:
  RandomStream stream_;
  uint32_t next_ = 0;
};

enum class WaveKind { right_atrium, left_atrium, qrs, st, t, u };
inline bool is_p(WaveKind kind) {
  return kind == WaveKind::right_atrium || kind == WaveKind::left_atrium;
}
inline bool is_repolarisation(WaveKind kind) {
  return !is_p(kind) && kind != WaveKind::qrs;
}

struct Wave {
  WaveKind kind;
  float centre_s;        // after the R peak; of repolarisation: at RR = 1 s
  float rise_s, fall_s;  // standard deviations before and after the centre
  Vector3 mv;
};

/// The waves of an average adult's beat.
std::vector<Wave> average_beat();

enum class BeatKind { sinus, atrial_premature, ventricular_premature };

struct Beat {
  float time_s;  // of the R peak
  float rr_s;    // since the R peak before
  BeatKind kind;
};

/// Adds the waves of one beat, turned and scaled, to the moment. Sample i lies at time start_s + i / rate_hz.
void add_beat(const std::vector<Wave>& waves, const Beat& beat, const Rotation& rotation, float scale, float start_s,
              float rate_hz, std::vector<Vector3>& moment);

/// From the moment to the eight independent leads I, II, V1 … V6: Dower's matrix (Edenbrandt and Pahlm, J.
/// Electrocardiol. 21 (1988) 361, give its inverse).
inline constexpr int kFreeLeads = 8;
using LeadMatrix = float[kFreeLeads][3];
extern const LeadMatrix kDower;

/// Every `factor`-th sample of a low-passed signal. The filter is a sinc of (2 · kFilterMargin + 1) taps under a
/// Hamming window; output m needs input m · factor … m · factor + 2 kFilterMargin.
inline constexpr int kFilterMargin = 50;
std::vector<float> decimate(const std::vector<float>& signal, int factor, int outputs);

}  // namespace systole::data::synthetic
