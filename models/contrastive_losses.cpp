#include "models/contrastive_losses.h"

#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/feature_losses.h"
#include "engine/operations.h"

namespace systole::models {
namespace {

PairLossResult nt_xent_of(const ViewBatch& b, const LossParameters& p) {
  return {nt_xent(b.x, p.temperature), {}};
}

PairLossResult supcon(const ViewBatch& b, const LossParameters& p) {
  return pair_loss(b.x, b.ids, {.temperature = p.temperature});
}

PairLossResult dcl(const ViewBatch& b, const LossParameters& p) {
  return pair_loss(b.x, b.ids, {.temperature = p.temperature, .positives_in_denominator = false});
}

PairLossResult between_views(const ViewBatch& b, const LossParameters& p, Directions directions) {
  return pair_loss(b.first(), b.second(), b.record_ids(), b.record_ids(), directions, {.temperature = p.temperature});
}

PairLossResult info_nce(const ViewBatch& b, const LossParameters& p) {
  return between_views(b, p, Directions::rows);
}

PairLossResult clip(const ViewBatch& b, const LossParameters& p) {
  return between_views(b, p, Directions::both);
}

PairLossResult moco(const ViewBatch& b, const LossParameters& p) {
  return pair_loss(b.x, b.keys, b.ids, b.key_ids, Directions::rows, {.temperature = p.temperature});
}

PairLossResult clocs_of(const ViewBatch& b, const LossParameters& p) {
  return {clocs(b.x, b.slots, b.record_ids(), p.temperature), {}};
}

PairLossResult siglip_of(const ViewBatch& b, const LossParameters& p) {
  return {siglip(b.first(), b.second(), b.record_ids(), b.record_ids(), p.temperature, p.bias), {}};
}

PairLossResult barlow_twins_of(const ViewBatch& b, const LossParameters&) {
  return {barlow_twins(b.x), {}};
}

PairLossResult vicreg_of(const ViewBatch& b, const LossParameters&) {
  return {vicreg(b.x), {}};
}

}  // namespace

Tensor ViewBatch::rows(int64_t begin) const {
  return systole::rows(x, begin, records());
}

const std::vector<LossDefinition>& loss_definitions() {
  static const std::vector<LossDefinition> definitions{
      {"nt-xent", "each view against all others of the batch; right is the other view of its record",
       "Chen et al. 2020, SimCLR", Slots::views, Positives::partner, 0.07f, nt_xent_of},
      {"supcon", "the same with several right ones: all views of the record or patient, in equal shares",
       "Khosla et al. 2020, L_out", Slots::views, Positives::patient, 0.07f, supcon},
      {"dcl", "the same, where the right ones are not among those that a view is pushed away from", "Yeh et al. 2022",
       Slots::views, Positives::record, 0.07f, dcl},
      {"info-nce", "each first view against all second views", "van den Oord et al. 2018, CPC", Slots::views,
       Positives::record, 0.07f, info_nce},
      {"clip", "first views against second views and the reverse, averaged", "Radford et al. 2021", Slots::views,
       Positives::record, 0.07f, clip},
      {"moco", "each first view against second views by an encoder that follows slowly, of this and earlier batches",
       "He et al. 2020", Slots::views, Positives::record, 0.07f, moco},
      {"cmsc", "two segments of a record that do not overlap, compared like clip", "Kiyasseh et al. 2021, CLOCS",
       Slots::views, Positives::patient, 0.1f, clocs_of},
      {"cmlc", "the leads of one view, each encoded alone, every two compared like clip", "CLOCS", Slots::leads,
       Positives::patient, 0.1f, clocs_of},
      {"cmsmlc", "the leads of both views, every two compared like clip; views may be segments", "CLOCS",
       Slots::views_and_leads, Positives::patient, 0.1f, clocs_of},
      {"siglip", "each first view with each second one, asked for themselves whether they belong together",
       "Zhai et al. 2023", Slots::views, Positives::record, 0.1f, siglip_of},
      {"barlow-twins", "the features of both views correlate one by one, and not with each other",
       "Zbontar et al. 2021", Slots::views, Positives::partner, 0, barlow_twins_of},
      {"vicreg", "views near each other, features that vary and do not correlate", "Bardes et al. 2022", Slots::views,
       Positives::partner, 0, vicreg_of},
  };
  return definitions;
}

const LossDefinition& loss_definition(const std::string& name) {
  std::vector<std::string> names;
  for (const LossDefinition& definition : loss_definitions()) {
    if (name == definition.name) return definition;
    names.emplace_back(definition.name);
  }
  throw UsageError(fmt::format("unknown loss '{}'; expected {}", name, fmt::join(names, ", ")));
}

ContrastiveLoss::ContrastiveLoss(ParameterStore& store, const LossOptions& options)
    : definition_(&loss_definition(options.name)), temperature_(options.temperature) {
  if (options.learn_temperature)
    log_scale_ = &store.add("loss.log_scale", {1}, Layout::plain, Initializer::constant(-std::log(temperature_)));
  if (options.name == "siglip")  // the start of the paper: nearly all pairs do not belong together
    bias_ = &store.add("loss.bias", {1}, Layout::plain, Initializer::constant(-10));
}

Temperature ContrastiveLoss::current_temperature() const {
  if (!log_scale_) return temperature_;
  Temperature learned = Temperature::learned(log_scale_->value);
  if (learned.value >= kSmallestLearned) return learned;
  const float largest = -std::log(kSmallestLearned);
  log_scale_->value.copy_from(&largest, sizeof largest);
  learned.value = kSmallestLearned;
  return learned;
}

PairLossResult ContrastiveLoss::operator()(const ViewBatch& batch) const {
  return definition_->compute(batch, {current_temperature(), bias_ ? bias_->value : Tensor()});
}

}  // namespace systole::models
