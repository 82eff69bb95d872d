// systole pretrain: SimCLR's network and views on the records of folds 1–8, without their labels, and a contrastive
// loss of the user's choice.

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <optional>

#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/parallel.h"
#include "tools/command.h"
#include "tools/encoder_options.h"
#include "tools/model_file.h"
#include "tools/pretraining.h"

namespace systole::tools {
namespace {

struct PretrainOptions {
  CommonOptions common;
  DataOptions data;
  TrainingOptions training{.epochs = 20, .batch_size = 256};
  RecipeOptions augmentation;
  std::string method = "simclr", loss = "nt-xent", shuffle = "standard";
  std::optional<double> temperature, ema_decay;
  std::optional<std::string> positives;
  std::optional<int> queue_size;
  bool learn_temperature = false;
  int projection_dim = 128, projection_hidden = 2048, patient_pairs = 0;
  EncoderChoice encoder;
  std::filesystem::path out, save_init;
};

/// The loss's own defaults where nothing else was asked for.
PretrainingOptions pretraining_options(const PretrainOptions& o, const data::Dataset& dataset) {
  const models::LossDefinition& loss = models::loss_definition(o.loss);
  PretrainingOptions result{
      .training = o.training,
      .loss = {.name = o.loss,
               .temperature = static_cast<float>(o.temperature.value_or(loss.temperature)),
               .learn_temperature = o.learn_temperature},
      .moco = {},
      .projection_dim = o.projection_dim,
      .projection_hidden = o.projection_hidden,
      .encoder = encoder_options(o.encoder, dataset.leads),
      .shuffle = o.shuffle != "none",
      .patient_positives = o.positives ? *o.positives == "patient" : loss.positives == models::Positives::patient,
      .patient_pairs = o.patient_pairs,
      .seed = o.common.seed};
  if (o.queue_size) result.moco.queue_size = *o.queue_size;
  if (o.ema_decay) result.moco.decay = *o.ema_decay;
  result.moco.patient_positives = result.patient_positives;
  return result;
}

nlohmann::json to_json(const PretrainOptions& o, const PretrainingOptions& chosen, const augment::NamedRecipe& recipe) {
  const models::LossDefinition& loss = models::loss_definition(o.loss);
  nlohmann::json json{{"command", "pretrain"},
                      {"method", o.method},
                      {"loss", o.loss},
                      {"training", to_json(o.training)},
                      {"projection_dim", o.projection_dim},
                      {"projection_hidden", o.projection_hidden},
                      {"width", chosen.encoder.width},
                      {"augment", nlohmann::json::parse(augment::to_json(recipe))},
                      {"patient_pairs", o.patient_pairs},
                      {"shuffle", o.shuffle}};
  if (loss.temperature > 0) {
    json["temperature"] = o.temperature.value_or(loss.temperature);
    json["learn_temperature"] = o.learn_temperature;
  }
  if (loss.positives != models::Positives::partner) json["positives"] = chosen.patient_positives ? "patient" : "record";
  if (o.loss == "moco") {
    json["queue_size"] = chosen.moco.queue_size;
    json["ema_decay"] = chosen.moco.decay;
  }
  json.update(to_json(o.common));
  return json;
}

void check_loss(const PretrainOptions& o) {
  const models::LossDefinition& loss = models::loss_definition(o.loss);
  const auto only_for = [&](bool given, const char* option, bool fits, const std::string& losses) {
    if (given && !fits) throw UsageError(fmt::format("{} goes with --loss {}, not with {}", option, losses, o.loss));
  };
  const auto names_where = [](const auto& condition) {
    std::string names;
    for (const models::LossDefinition& d : models::loss_definitions())
      if (condition(d)) names += (names.empty() ? "" : ", ") + std::string(d.name);
    return names;
  };
  const auto has_temperature = [](const models::LossDefinition& d) { return d.temperature > 0; };
  const auto has_ids = [](const models::LossDefinition& d) { return d.positives != models::Positives::partner; };
  only_for(o.temperature.has_value(), "--temperature", has_temperature(loss), names_where(has_temperature));
  only_for(o.learn_temperature, "--learn-temperature", has_temperature(loss), names_where(has_temperature));
  only_for(o.positives.has_value(), "--positives", has_ids(loss), names_where(has_ids));
  only_for(o.queue_size.has_value(), "--queue-size", o.loss == "moco", "moco");
  only_for(o.ema_decay.has_value(), "--ema-decay", o.loss == "moco", "moco");
  require_option(!o.temperature || (*o.temperature > 0 && std::isfinite(*o.temperature)), "--temperature", "positive",
                 fmt::to_string(o.temperature.value_or(0)));
  require_option(!o.queue_size || (*o.queue_size >= 1 && *o.queue_size <= 1 << 24), "--queue-size",
                 "between 1 and 16777216", std::to_string(o.queue_size.value_or(0)));
  require_option(!o.ema_decay || (*o.ema_decay >= 0 && *o.ema_decay <= 1), "--ema-decay", "between 0 and 1",
                 fmt::to_string(o.ema_decay.value_or(0)));
  require_option(o.patient_pairs >= 0 && 2 * o.patient_pairs <= o.training.batch_size, "--patient-pairs",
                 fmt::format("between 0 and {}, half of --batch-size", o.training.batch_size / 2),
                 std::to_string(o.patient_pairs));
  require_option(o.patient_pairs == 0 || o.shuffle == "standard", "--patient-pairs", "--shuffle standard with it",
                 "--shuffle " + o.shuffle);
}

void check(const PretrainOptions& o) {
  check(o.training);
  check_loss(o);
  require_option(o.projection_dim >= 1 && o.projection_dim <= 65536, "--projection-dim", "between 1 and 65536",
                 std::to_string(o.projection_dim));
  require_option(o.projection_hidden >= 1 && o.projection_hidden <= 65536, "--projection-hidden", "between 1 and 65536",
                 std::to_string(o.projection_hidden));
  check(o.encoder);
  check_writable(o.out);
  check_file_writable(beside(o.out, "metrics.jsonl"));
  if (!o.save_init.empty()) check_writable(o.save_init);
  require_option(o.out != o.save_init, "--save-init", "another file than --out", o.save_init.string());
}

/// CMSC is defined by its views.
void check_views(const PretrainOptions& o, const ViewOptions& views) {
  if (o.loss == "cmsc" && views.segment != augment::Segment::disjoint)
    throw UsageError(
        fmt::format("--loss cmsc compares segments that do not overlap; the recipe {} has none (add after its "
                    "name: crop.seconds=5 crop.disjoint=yes)",
                    views.recipe.name));
}

void pretrain(const PretrainOptions& o) {
  check(o);
  const augment::NamedRecipe recipe = chosen_recipe(o.augmentation);
  const Device device = prepare(o.common);
  const data::Dataset dataset = load(o.data, kTrainingFolds);
  const std::vector<size_t> records = records_of_folds(dataset, kTrainingFolds);
  const data::Normalization normalization = data::measure_normalization(dataset, records);
  const ViewOptions views = view_options(recipe, dataset, o.training.signal_length, 2);
  check_views(o, views);
  const PretrainingOptions chosen = pretraining_options(o, dataset);
  Pretraining run(chosen, views, dataset, normalization, device);

  if (!o.save_init.empty())
    write_tensor_file(o.save_init, {{{"encoder", run.store().state(models::Simclr::kEncoderPrefix)},
                                     {"projection_head", run.store().state("projection_head.")}},
                                    ""});
  RunLog log(beside(o.out, "metrics.jsonl"));
  fmt::print(
      stderr,
      "{} of {} with {} on {} ECGs of folds 1-8, augmentation {}, views of {} samples, {} parameters, {} threads\n",
      o.method, chosen.encoder.name, o.loss, records.size(), recipe.name, views.length, run.store().parameter_count(),
      threads());
  run.run(records, log);
  write_model(o.out, run.store(), "encoder", models::Simclr::kEncoderPrefix,
              {.encoder = run.encoder_options(),
               .normalization = normalization,
               .signal_length = views.length,
               .label_set = {},
               .classes = {},
               .run = to_json(o, chosen, recipe)});
  fmt::print("encoder: {}\nmetrics: {}\n", o.out.string(), beside(o.out, "metrics.jsonl").string());
}

std::string loss_help() {
  std::string text = "Contrastive loss:";
  for (const models::LossDefinition& loss : models::loss_definitions()) {
    text += fmt::format("\n{}: {} ({}", loss.name, loss.meaning, loss.source);
    if (loss.temperature > 0) text += fmt::format("; temperature {}", loss.temperature);
    if (loss.positives != models::Positives::partner)
      text += loss.positives == models::Positives::patient ? "; positives by patient" : "; positives by record";
    text += ")";
  }
  return text + "\n";
}

}  // namespace

void add_pretrain(CLI::App& app) {
  auto options = std::make_shared<PretrainOptions>();
  PretrainOptions& o = *options;
  CLI::App& command = *app.add_subcommand("pretrain", "Train an encoder on unlabelled ECGs (folds 1-8)");
  add_signal_options(command, o.data);
  command.add_option("--out", o.out, "Encoder file to write: .pt or .safetensors")->required();
  command.add_option("--method", o.method, "Objective: simclr")
      ->check(CLI::IsMember({"simclr"}))
      ->capture_default_str();
  add_training_options(command, o.training);
  command.add_option("--loss", o.loss, loss_help())->capture_default_str();
  command.add_option("--temperature", o.temperature,
                     "Temperature of the loss, at the start where it is learned [default: the loss's own, see --loss]");
  command.add_flag("--learn-temperature", o.learn_temperature, "Train the temperature too; it stays above 0.01");
  command
      .add_option("--positives", o.positives,
                  "What belongs together: record or patient [default: the loss's own, see --loss]")
      ->check(CLI::IsMember({"record", "patient"}));
  command
      .add_option("--patient-pairs", o.patient_pairs,
                  "Patients with two records in every batch; 0: as many as chance gives")
      ->capture_default_str();
  command.add_option("--queue-size", o.queue_size, "moco: views of earlier batches to compare with [default: 4096]");
  command.add_option("--ema-decay", o.ema_decay,
                     "moco: share of its weights that the following encoder keeps in a step [default: 0.999]");
  command.add_option("--projection-dim", o.projection_dim, "Size of the projections")->capture_default_str();
  command.add_option("--projection-hidden", o.projection_hidden, "Hidden units of the projector")
      ->capture_default_str();
  add_encoder_options(command, o.encoder);
  add_recipe_options(command, o.augmentation);
  command.add_option("--shuffle", o.shuffle, "Order of the records: standard (new in every epoch) or none")
      ->check(CLI::IsMember({"standard", "none"}))
      ->capture_default_str();
  command.add_option("--save-init", o.save_init,
                     "Also write the initial weights of encoder and projector to this file");
  add_common_options(command, o.common);
  command.callback([options] { pretrain(*options); });
}

}  // namespace systole::tools
