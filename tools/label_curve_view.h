// What the report of a label curve looks up in label_curve.json, and how it writes numbers.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace systole::tools {

using CurveJson = nlohmann::ordered_json;

/// NaN for null and for what is not there.
double number(const CurveJson& object, const char* key);

/// A mean over seeds with its 95 % interval; NaN where it is undefined.
struct CurveValue {
  double mean, sd, low, high;

  bool is_defined() const;
  bool excludes_zero() const;
};
/// The member "auroc", "f1" or "gain" of a point, where `point` may be null.
CurveValue value_of(const CurveJson& point, const char* key);
CurveValue value_of(const CurveJson& object);

struct CurveArm {
  std::string name, label;
  size_t style;
  bool is_scratch() const { return name == "scratch"; }
  /// Pre-trained, so that its gain is that of pre-training.
  bool is_candidate() const { return !is_scratch() && name != "frozen-random"; }
};
std::vector<CurveArm> arms_of(const CurveJson& curve);
/// The point of an arm at a fraction; null where there is none.
const CurveJson& point_of(const CurveJson& curve, const CurveArm& arm, double fraction);

/// Fractions of at most 10 % of the labels, or the smallest of all.
std::vector<double> small_fractions(const CurveJson& curve);
/// Of those in the curve, the nearest to 10 % (on a logarithmic scale).
double fraction_near_a_tenth(const CurveJson& curve);

/// "0.5 %", with a space that does not break.
std::string percent(double fraction);
/// "0.861"; "–" for NaN.
std::string decimal(double value, int digits = 3);
/// "[0.82, 0.90]"; empty without an interval.
std::string interval(const CurveValue& value);
/// A difference of AUROC in points, hundredths: "+3.1", "−0.4".
std::string points(double difference);
/// "[0.4, 5.9]".
std::string points_interval(const CurveValue& gain);

}  // namespace systole::tools
