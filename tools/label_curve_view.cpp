#include "tools/label_curve_view.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace systole::tools {
namespace {

/// With the typographic minus, and never −0.
std::string signed_decimal(double value, int digits) {
  std::string text = fmt::format("{:.{}f}", std::abs(value), digits);
  const bool is_zero = text.find_first_not_of("0.") == std::string::npos;
  return value < 0 && !is_zero ? "−" + text : text;
}

}  // namespace

double number(const CurveJson& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_number() ? found->get<double>() : std::nan("");
}

bool CurveValue::is_defined() const {
  return std::isfinite(mean);
}

bool CurveValue::excludes_zero() const {
  return low > 0 || high < 0;
}

CurveValue value_of(const CurveJson& object) {
  return {number(object, "mean"), number(object, "sd"), number(object, "low"), number(object, "high")};
}

CurveValue value_of(const CurveJson& point, const char* key) {
  return value_of(point.is_object() && point.contains(key) ? point.at(key) : CurveJson());
}

std::vector<CurveArm> arms_of(const CurveJson& curve) {
  std::vector<CurveArm> arms;
  for (const CurveJson& arm : curve.at("arms"))
    arms.push_back({arm.at("name").get<std::string>(), arm.at("label").get<std::string>(), arms.size()});
  return arms;
}

const CurveJson& point_of(const CurveJson& curve, const CurveArm& arm, double fraction) {
  static const CurveJson kNone;
  for (const CurveJson& point : curve.at("points"))
    if (point.at("arm") == arm.name && point.at("fraction") == fraction) return point;
  return kNone;
}

std::vector<double> small_fractions(const CurveJson& curve) {
  std::vector<double> fractions = curve.at("fractions").get<std::vector<double>>();
  std::sort(fractions.begin(), fractions.end());
  const auto end = std::find_if(fractions.begin() + 1, fractions.end(), [](double f) { return f > 0.1 + 1e-9; });
  fractions.erase(end, fractions.end());
  return fractions;
}

double fraction_near_a_tenth(const CurveJson& curve) {
  const auto fractions = curve.at("fractions").get<std::vector<double>>();
  return *std::min_element(fractions.begin(), fractions.end(), [](double a, double b) {
    return std::abs(std::log(a / 0.1)) < std::abs(std::log(b / 0.1));
  });
}

std::string percent(double fraction) {
  return fmt::format("{:g}\u00a0%", std::round(1e8 * fraction) / 1e6);
}

std::string decimal(double value, int digits) {
  return std::isfinite(value) ? signed_decimal(value, digits) : "–";
}

std::string interval(const CurveValue& value) {
  if (!std::isfinite(value.low) || !std::isfinite(value.high)) return "";
  return fmt::format("[{:.3f}, {:.3f}]", value.low, value.high);
}

std::string points(double difference) {
  if (!std::isfinite(difference)) return "–";
  const std::string text = signed_decimal(100 * difference, 1);
  return text.starts_with("−") || text == "0.0" ? text : "+" + text;
}

std::string points_interval(const CurveValue& gain) {
  if (!std::isfinite(gain.low) || !std::isfinite(gain.high)) return "";
  return fmt::format("[{}, {}]", signed_decimal(100 * gain.low, 1), signed_decimal(100 * gain.high, 1));
}

}  // namespace systole::tools
