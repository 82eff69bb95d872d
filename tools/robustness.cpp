#include "tools/robustness.h"

#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/classifier_training.h"
#include "tools/line_chart.h"
#include "tools/progress.h"

namespace systole::tools {
namespace {

augment::Range exactly(double value) {
  return {static_cast<float>(value), static_cast<float>(value)};
}

augment::Recipe white_noise(double snr_db) {
  augment::Recipe recipe;
  recipe.lead_noise = {.p = 1, .fraction = exactly(std::pow(10, -snr_db / 20))};
  return recipe;
}

augment::Recipe baseline_wander(double amplitude_mv) {
  constexpr double kFrequencyHz = 0.3;  // about that of breathing
  augment::Recipe recipe;
  recipe.motion_artifact = {.p = 1, .amplitude_mv = exactly(amplitude_mv), .frequency_hz = exactly(kFrequencyHz)};
  return recipe;
}

augment::Recipe lost_leads(double leads) {
  augment::Recipe recipe;
  recipe.lead_dropout = {.p = 1, .leads = exactly(leads)};
  return recipe;
}

augment::Recipe lost_time(double percent) {
  augment::Recipe recipe;
  recipe.time_mask = {.p = 1, .share = exactly(percent / 100)};
  return recipe;
}

nlohmann::ordered_json json_of(const models::Metric& metric) {
  const auto number = [](double x) { return std::isnan(x) ? nlohmann::ordered_json() : nlohmann::ordered_json(x); };
  return {{"value", number(metric.value)}, {"low", number(metric.low)}, {"high", number(metric.high)}};
}

/// "20 dB".
std::string level_text(const Corruption& corruption, double level) {
  return fmt::format("{:g}{}{}", level, corruption.unit.empty() ? "" : " ", corruption.unit);
}

std::string row(const std::string& corruption, const std::string& level, const models::Metric& auroc, double clean) {
  if (std::isnan(auroc.value)) return fmt::format("{:<22}{:>8}  -\n", corruption, level);
  const std::string change = level.empty() ? "" : fmt::format("{:+.3f}", auroc.value - clean);
  std::string text = fmt::format("{:<22}{:>8}  {:.3f} [{:.3f}, {:.3f}]  {}", corruption, level, auroc.value, auroc.low,
                                 auroc.high, change);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

/// A ratio in dB grows as the noise falls: its axis runs backwards, and has no place for a clean record.
bool is_ratio(const Corruption& corruption) {
  return corruption.unit == "dB";
}

ChartPanel panel_of(const Robustness& r, size_t which, double low, double high) {
  const Corruption& corruption = r.corruptions[which];
  const double sign = is_ratio(corruption) ? -1 : 1;
  ChartPanel panel{
      .title = corruption.meaning, .x = {.title = corruption.axis}, .y = {.low = low, .high = high}, .lines = {{}}};
  ChartLine& line = panel.lines.front();
  if (!is_ratio(corruption)) {
    line.points.push_back({0, r.clean.value, r.clean.low, r.clean.high});
    panel.x.ticks.push_back({0, "0"});
  }
  for (const CorruptedResult& result : r.results[which]) {
    const models::Metric& auroc = result.macro_auroc;
    line.points.push_back({sign * result.level, auroc.value, auroc.low, auroc.high});
    panel.x.ticks.push_back({sign * result.level, fmt::format("{:g}", result.level)});
  }
  constexpr double kFar = 1000;  // beyond every axis
  panel.guides.push_back({{-kFar, r.clean.value}, {kFar, r.clean.value}});
  return panel;
}

/// Bounds of the vertical axes: those of all panels, so that they can be compared.
std::pair<double, double> bounds_of(const Robustness& r) {
  double low = r.clean.low, high = r.clean.high;
  for (const auto& results : r.results)
    for (const CorruptedResult& result : results) {
      low = std::fmin(low, result.macro_auroc.low);
      high = std::fmax(high, result.macro_auroc.high);
    }
  low = std::floor(20 * low) / 20;
  high = std::ceil(20 * high) / 20;
  return {low, high > low ? high : low + 0.05};
}

}  // namespace

std::vector<Corruption> corruptions(int leads) {
  Corruption lost{"lost_leads", "leads lost", "", "leads", {}, lost_leads};
  for (const int count : {1, 3, 6, 9})
    if (count < leads) lost.levels.push_back(count);
  std::vector<Corruption> all{
      {"white_noise", "white noise", "dB", "signal-to-noise ratio, dB", {30, 20, 10, 5, 0}, white_noise},
      {"baseline_wander", "baseline wander", "mV", "amplitude, mV", {0.05, 0.1, 0.2, 0.5}, baseline_wander},
      {"lost_time", "time lost", "%", "share of the record, %", {10, 30, 50, 70}, lost_time}};
  if (!lost.levels.empty()) all.insert(all.begin() + 2, std::move(lost));
  return all;
}

Robustness measure_robustness(models::Classifier& classifier, const Batches& batches,
                              const std::vector<size_t>& records, const models::Predictions& clean,
                              const models::EvaluateOptions& options) {
  Robustness r{
      models::evaluate(clean, options).macro_auroc, corruptions(static_cast<int>(batches.dataset().lead_count())), {}};
  Progress progress("robustness", static_cast<int64_t>(r.corruptions.size()), "corruptions");
  for (const Corruption& corruption : r.corruptions) {
    r.results.emplace_back();
    for (const double level : corruption.levels) {
      const models::Predictions corrupted =
          predict(classifier, batches, records, {.recipe = corruption.recipe(level), .seed = options.seed});
      r.results.back().push_back({level, models::evaluate(corrupted, options).macro_auroc});
    }
    progress.update(static_cast<int64_t>(r.results.size()));
  }
  return r;
}

std::string to_table(const Robustness& r) {
  std::string table = fmt::format("{:<22}{:>8}  {:<20}  {}\n", "corruption", "level", "macro AUROC", "change");
  table += row("none", "", r.clean, r.clean.value);
  for (size_t c = 0; c < r.corruptions.size(); ++c)
    for (const CorruptedResult& result : r.results[c])
      table +=
          row(r.corruptions[c].meaning, level_text(r.corruptions[c], result.level), result.macro_auroc, r.clean.value);
  return table;
}

nlohmann::ordered_json to_json(const Robustness& r) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (size_t c = 0; c < r.corruptions.size(); ++c) {
    const Corruption& corruption = r.corruptions[c];
    nlohmann::ordered_json levels = nlohmann::ordered_json::array();
    for (const CorruptedResult& result : r.results[c])
      levels.push_back({{"level", result.level}, {"auroc", json_of(result.macro_auroc)}});
    all.push_back({{"name", corruption.name},
                   {"meaning", corruption.meaning},
                   {"axis", corruption.axis},
                   {"unit", corruption.unit},
                   {"levels", std::move(levels)}});
  }
  return {{"clean", json_of(r.clean)}, {"corruptions", std::move(all)}};
}

void plot_robustness(const std::filesystem::path& svg, const Robustness& r, const std::string& subtitle) {
  const auto [low, high] = bounds_of(r);
  LineChart chart{.title = "Macro AUROC under corruption",
                  .subtitle = subtitle,
                  .columns = 2,
                  .names = LineChart::Names::none,
                  .intervals = LineChart::Intervals::bands};
  for (size_t c = 0; c < r.corruptions.size(); ++c) chart.panels.push_back(panel_of(r, c, low, high));
  write_svg(svg, page_of(chart));
}

}  // namespace systole::tools
