#include "data/normalization.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "data/joined.h"
#include "kernels/common/error.h"
#include "kernels/common/parallel.h"
#include "kernels/common/strict_json.h"

namespace systole::data {
namespace {

// Mean and sum of squared deviations of one lead of one record. The sums of int16 are exact, so nothing cancels.
struct Moments {
  double mean = 0, squares = 0;
};

Moments moments(const Dataset& dataset, size_t record, size_t lead) {
  const size_t leads = dataset.lead_count();
  const int16_t* samples = dataset.record(record) + lead;
  int64_t sum = 0, squares = 0;
  for (size_t l = 0; l < static_cast<size_t>(dataset.length); ++l) {
    const int64_t sample = samples[l * leads];
    sum += sample;
    squares += sample * sample;
  }
  const double mean = static_cast<double>(sum) / dataset.length;
  const double scale = dataset.scale[record * leads + lead], offset = dataset.offset[record * leads + lead];
  return {mean * scale + offset, (static_cast<double>(squares) - mean * static_cast<double>(sum)) * scale * scale};
}

// Joins the moments of the records that have the lead: Σ (x − m)² = Σ_r [squares_r + L (mean_r − m)²].
void join_lead(const Dataset& dataset, const std::vector<size_t>& records, size_t lead, const std::vector<Moments>& all,
               Normalization& out) {
  const size_t leads = dataset.lead_count();
  double sum = 0, squares = 0, count = 0;
  for (size_t i = 0; i < records.size(); ++i)
    if (dataset.has_lead(records[i], lead)) sum += all[i * leads + lead].mean, ++count;
  if (count == 0) return;
  const double mean = sum / count;
  for (size_t i = 0; i < records.size(); ++i) {
    if (!dataset.has_lead(records[i], lead)) continue;
    const Moments& record = all[i * leads + lead];
    squares += record.squares + dataset.length * (record.mean - mean) * (record.mean - mean);
  }
  const double deviation = std::sqrt(squares / (count * dataset.length));
  out.mean[lead] = static_cast<float>(mean);
  const bool constant = deviation <= 1e-7 * std::abs(mean);  // below the resolution of the float values
  if (!constant) out.std[lead] = static_cast<float>(deviation);
}

bool lacks_leads(const Dataset& dataset) {
  return std::find(dataset.scale.begin(), dataset.scale.end(), 0.0f) != dataset.scale.end();
}

// Whether it was measured on records that lacked leads itself: measured leads have no mean of exactly 0.
bool lacks_leads(const Normalization& n) {
  for (size_t lead = 0; lead < n.leads.size(); ++lead)
    if (n.mean[lead] == 0 && n.std[lead] == 1) return true;
  return false;
}

void check_complete(const Normalization& n, const std::string& source) {
  if (n.leads.empty() || n.mean.size() != n.leads.size() || n.std.size() != n.leads.size())
    throw Error(
        fmt::format("The normalisation in {} has {} leads, {} means and {} standard deviations; one of each per "
                    "lead was expected.",
                    source, n.leads.size(), n.mean.size(), n.std.size()));
  for (size_t lead = 0; lead < n.leads.size(); ++lead)
    if (!std::isfinite(n.mean[lead]) || !(std::isfinite(n.std[lead]) && n.std[lead] > 0))
      throw Error(
          fmt::format("The normalisation in {} has mean {} and standard deviation {} for lead {}; a finite mean and "
                      "a standard deviation above 0 were expected.",
                      source, n.mean[lead], n.std[lead], n.leads[lead]));
}

}  // namespace

Normalization measure_normalization(const Dataset& dataset, const std::vector<size_t>& records) {
  if (records.empty()) throw Error("There are no records to measure the normalisation of the leads on.");
  const size_t leads = dataset.lead_count();
  std::vector<Moments> all(records.size() * leads);
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t i) {
    const auto r = static_cast<size_t>(i);
    for (size_t lead = 0; lead < leads; ++lead) all[r * leads + lead] = moments(dataset, records[r], lead);
  });

  Normalization normalization{dataset.leads, std::vector<float>(leads), std::vector<float>(leads, 1.0f),
                              dataset.unit,  dataset.sampling_rate_hz,  dataset.length};
  for (size_t lead = 0; lead < leads; ++lead) join_lead(dataset, records, lead, all, normalization);
  return normalization;
}

std::string reason_to_measure(const Normalization& of_network, const Dataset& dataset) {
  if (of_network.unit != dataset.unit)
    return fmt::format("they are in {}, the encoder's were in {}", dataset.unit, of_network.unit);
  if (lacks_leads(dataset) && !lacks_leads(of_network)) return "they lack some of the leads";
  return "";
}

Adapted adapt_normalization(const Normalization& of_network, const Dataset& dataset,
                            const std::vector<size_t>& training_records) {
  Normalization own = of_network;
  own.unit = dataset.unit;
  own.length = dataset.length;
  check_matches(own, dataset);
  if (const std::string why = reason_to_measure(of_network, dataset); !why.empty())
    return {measure_normalization(dataset, training_records),
            fmt::format("The normalisation was measured on the training records of {}: {}.", dataset.name, why)};
  if (own == of_network) return {own, ""};
  return {own, fmt::format("The encoder was trained with records of {} samples; those of {} have {}.",
                           of_network.length, dataset.name, dataset.length)};
}

std::string to_json(const Normalization& n) {
  return nlohmann::json{{"leads", n.leads}, {"mean", n.mean},     {"std", n.std},
                        {"unit", n.unit},   {"length", n.length}, {"sampling_rate_hz", n.sampling_rate_hz}}
      .dump();
}

Normalization normalization_from_json(const std::string& text, const std::string& source) {
  Normalization n;
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    json.at("leads").get_to(n.leads);
    json.at("mean").get_to(n.mean);
    json.at("std").get_to(n.std);
    json.at("unit").get_to(n.unit);
    json.at("sampling_rate_hz").get_to(n.sampling_rate_hz);
    n.length = whole_number<int>(json.at("length"));
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("The normalisation in {} cannot be read: {}.", source, error.what()));
  } catch (const Error& error) {
    throw Error(fmt::format("The normalisation in {} cannot be read: its length {}.", source, error.what()));
  }
  check_complete(n, source);
  return n;
}

void check_matches(const Normalization& n, const Dataset& dataset) {
  const auto differs = [&](const std::string& what, const std::string& of_model, const std::string& of_data) {
    throw Error(fmt::format("The model was trained with {} {}, but the data set {} has {}.", what, of_model,
                            dataset.name, of_data));
  };
  if (n.leads != dataset.leads) differs("the leads", joined(n.leads), joined(dataset.leads));
  if (n.sampling_rate_hz != dataset.sampling_rate_hz)
    differs("a sampling rate of", fmt::format("{} Hz", n.sampling_rate_hz),
            fmt::format("{} Hz", dataset.sampling_rate_hz));
  if (n.unit != dataset.unit) differs("the unit", n.unit, dataset.unit);
  if (n.length != dataset.length)
    differs("records of", fmt::format("{} samples", n.length), fmt::format("{} samples", dataset.length));
}

}  // namespace systole::data
