// systole pretrain: an encoder learns from the records of folds 1-8, without their labels, by a method of the user's
// choice.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <memory>
#include <optional>

#include "engine/checkpoint/atomic_file.h"
#include "kernels/common/memory.h"
#include "kernels/common/parallel.h"
#include "models/dual_stream.h"
#include "tools/command.h"
#include "tools/encoder_options.h"
#include "tools/model_file.h"
#include "tools/pretraining.h"
#include "tools/run_lock.h"
#include "tools/run_record.h"

namespace systole::tools {
namespace {

/// What the command line leaves open is as the method was published.
struct PretrainOptions {
  CommonOptions common;
  DataOptions data;
  TrainingOptions training{.epochs = 20, .batch_size = 256};
  RecipeOptions augmentation;
  std::string method = "simclr", loss = "nt-xent", slots = "leads+segments", shuffle = "standard";
  std::optional<double> temperature, ema_decay;
  std::optional<std::string> positives, ema_schedule;
  std::optional<int> queue_size, projection_dim, projection_hidden;
  bool learn_temperature = false, recompute = false;
  int patient_pairs = 0, accumulate = 1;
  EncoderChoice encoder;
  RunOptions run;
  std::filesystem::path out, save_init;

  bool contrasts() const { return method == "simclr" || method == "clocs"; }
};

/// The loss of simclr and clocs, and that of dade, which is CLOCS' over leads and views.
const models::LossDefinition& loss_of(const PretrainOptions& o) {
  return models::loss_definition(o.method == "clocs" ? loss_of_slots(o.slots) : o.method == "dade" ? "cmsmlc" : o.loss);
}

bool is_given(const CLI::App& command, const std::string& option) {
  return command.get_option(option)->count() > 0;
}

/// Fills in what the command line left open.
void adopt_method(const CLI::App& command, PretrainOptions& o) {
  const PretrainingMethod& method = pretraining_method(o.method);
  const auto set = [&](const char* option, auto& value, const auto& default_value) {
    if (!is_given(command, option)) value = default_value;
  };
  set("--epochs", o.training.epochs, method.epochs);
  set("--batch-size", o.training.batch_size, method.batch_size);
  set("--lr", o.training.learning_rate, method.learning_rate);
  set("--adam-eps", o.training.adam_eps, method.adam_eps);
  set("--leads", o.data.leads, method.leads);
  if (!o.encoder.name) o.encoder.name = method.encoder;
  if (is_given(command, "--augment") || !o.augmentation.file.empty()) return;
  o.augmentation.augment = method.augment;
  if (o.method == "clocs" && o.slots != "leads")  // segments that do not overlap, halves of ten seconds
    o.augmentation.augment.insert(o.augmentation.augment.end(), {"crop.seconds=5", "crop.disjoint=yes"});
}

/// The loss's own defaults where nothing else was asked for.
PretrainingOptions pretraining_options(const PretrainOptions& o, const data::Dataset& dataset) {
  const models::LossDefinition& loss = loss_of(o);
  const auto temperature = static_cast<float>(o.temperature.value_or(loss.temperature));
  PretrainingOptions result{
      .training = o.training,
      .objective = {.method = o.method, .encoder = encoder_options(o.encoder, dataset.leads)},
      .shuffle = o.shuffle != "none",
      .patient_positives = o.positives ? *o.positives == "patient" : loss.positives == models::Positives::patient,
      .patient_pairs = o.patient_pairs,
      .parts = o.accumulate,
      .recompute = o.recompute,
      .seed = o.common.seed};
  models::ContrastiveOptions& contrastive = result.objective.contrastive;
  if (o.projection_hidden) contrastive.network.hidden_size = *o.projection_hidden;
  if (o.projection_dim) contrastive.network.projection_size = *o.projection_dim;
  contrastive.loss = {.name = loss.name, .temperature = temperature, .learn_temperature = o.learn_temperature};
  if (o.queue_size) contrastive.moco.queue_size = *o.queue_size;
  if (o.ema_decay) contrastive.moco.decay = *o.ema_decay;
  contrastive.moco.patient_positives = result.patient_positives;

  models::ByolOptions& byol = result.objective.byol;
  if (o.projection_hidden) byol.hidden_size = *o.projection_hidden;
  if (o.projection_dim) byol.projection_size = *o.projection_dim;
  if (o.ema_schedule.value_or("constant") == "cosine")
    byol.schedule = models::DecaySchedule::cosine, byol.decay = 0.996;
  if (o.ema_decay) byol.decay = *o.ema_decay;
  result.objective.dade.temperature = temperature;
  return result;
}

/// The settings of the run's own method.
nlohmann::json to_json(const PretrainOptions& o, const PretrainingOptions& chosen, const data::Dataset& dataset,
                       const augment::NamedRecipe& recipe) {
  nlohmann::json json{{"command", "pretrain"},
                      {"method", o.method},
                      {"training", to_json(o.training)},
                      {"width", chosen.objective.encoder.width},
                      {"leads", dataset.leads},
                      {"augment", nlohmann::json::parse(augment::to_json(recipe))},
                      {"patient_pairs", o.patient_pairs},
                      {"shuffle", o.shuffle},
                      {"accumulate", o.accumulate}};
  const ObjectiveOptions& objective = chosen.objective;
  if (o.contrasts()) {
    json["projection_dim"] = objective.contrastive.network.projection_size;
    json["projection_hidden"] = objective.contrastive.network.hidden_size;
  }
  if (o.method == "byol") {
    json["projection_dim"] = objective.byol.projection_size;
    json["projection_hidden"] = objective.byol.hidden_size;
    json["ema_decay"] = objective.byol.decay;
    json["ema_schedule"] = o.ema_schedule.value_or("constant");
  }
  if (o.contrasts() || o.method == "dade") {
    const models::LossDefinition& loss = loss_of(o);
    json["loss"] = loss.name;
    if (loss.temperature > 0) {
      json["temperature"] = objective.dade.temperature;
      json["learn_temperature"] = o.learn_temperature;
    }
    if (loss.positives != models::Positives::partner)
      json["positives"] = chosen.patient_positives ? "patient" : "record";
  }
  if (o.contrasts() && o.loss == "moco") {
    json["queue_size"] = objective.contrastive.moco.queue_size;
    json["ema_decay"] = objective.contrastive.moco.decay;
  }
  json.update(to_json(o.common));
  return json;
}

/// Options that belong to some methods or losses and were given for others.
void check_belongs(const CLI::App& command, const PretrainOptions& o) {
  const models::LossDefinition& loss = loss_of(o);
  const bool simclr = o.method == "simclr", compares = o.contrasts() || o.method == "dade";
  const bool moco = simclr && o.loss == "moco", byol = o.method == "byol";
  const std::string run = simclr ? "--loss " + o.loss : "--method " + o.method;
  const auto only_for = [&](const char* option, bool fits, const std::string& what) {
    if (is_given(command, option) && !fits)
      throw UsageError(fmt::format("{} goes with {}, not with {}", option, what, run));
  };
  const auto losses_where = [](const auto& condition) {
    std::vector<std::string> names;
    for (const models::LossDefinition& d : models::loss_definitions())
      if (condition(d)) names.emplace_back(d.name);
    return fmt::format("--loss {}", fmt::join(names, ", "));
  };
  const auto has_temperature = [](const models::LossDefinition& d) { return d.temperature > 0; };
  const auto has_ids = [](const models::LossDefinition& d) { return d.positives != models::Positives::partner; };
  only_for("--loss", simclr, "--method simclr");
  only_for("--slots", o.method == "clocs", "--method clocs");
  only_for("--temperature", compares && has_temperature(loss), losses_where(has_temperature));
  only_for("--learn-temperature", o.contrasts() && has_temperature(loss), losses_where(has_temperature));
  only_for("--positives", compares && has_ids(loss), losses_where(has_ids));
  only_for("--queue-size", moco, "--loss moco");
  only_for("--accumulate", !moco, "every loss but moco, whose queue already stands in for a large batch");
  only_for("--ema-decay", moco || byol, "--loss moco and --method byol");
  only_for("--ema-schedule", byol, "--method byol");
  only_for("--projection-dim", o.contrasts() || byol, "--method simclr, clocs and byol");
  only_for("--projection-hidden", o.contrasts() || byol, "--method simclr, clocs and byol");
}

void check_values(const PretrainOptions& o) {
  const auto size = [](const char* option, const std::optional<int>& value, int largest) {
    require_option(!value || (*value >= 1 && *value <= largest), option, fmt::format("between 1 and {}", largest),
                   std::to_string(value.value_or(0)));
  };
  require_option(!o.temperature || (*o.temperature > 0 && std::isfinite(*o.temperature)), "--temperature", "positive",
                 fmt::to_string(o.temperature.value_or(0)));
  size("--queue-size", o.queue_size, 1 << 24);
  size("--projection-dim", o.projection_dim, 65536);
  size("--projection-hidden", o.projection_hidden, 65536);
  require_option(!o.ema_decay || (*o.ema_decay >= 0 && *o.ema_decay <= 1), "--ema-decay", "between 0 and 1",
                 fmt::to_string(o.ema_decay.value_or(0)));
  require_option(o.patient_pairs >= 0 && 2 * o.patient_pairs <= o.training.batch_size, "--patient-pairs",
                 fmt::format("between 0 and {}, half of --batch-size", o.training.batch_size / 2),
                 std::to_string(o.patient_pairs));
  require_option(o.accumulate >= 1 && 2 * o.accumulate <= o.training.batch_size, "--accumulate",
                 fmt::format("between 1 and {}, half of --batch-size", o.training.batch_size / 2),
                 std::to_string(o.accumulate));
  require_option(o.patient_pairs == 0 || o.shuffle == "standard", "--patient-pairs", "--shuffle standard with it",
                 "--shuffle " + o.shuffle);
}

void check(const CLI::App& command, const PretrainOptions& o) {
  check(o.training);
  check_belongs(command, o);
  check_values(o);
  check(o.encoder);
  check_writable(o.out);
  check(o.run, o.out);
  if (!o.save_init.empty()) check_writable(o.save_init);
  require_option(o.out != o.save_init, "--save-init", "another file than --out", o.save_init.string());
}

/// CMSC is defined by its views.
void check_views(const PretrainOptions& o, const ViewOptions& views) {
  if (o.contrasts() && loss_of(o).name == std::string("cmsc") && views.segment != augment::Segment::disjoint)
    throw UsageError(
        fmt::format("cmsc compares segments that do not overlap; the recipe {} has none (add after its name: "
                    "crop.seconds=5 crop.disjoint=yes)",
                    views.recipe.name));
}

/// The encoder, and every network beside it under its own name.
TensorFile initial_weights(const ParameterStore& store) {
  TensorFile file{{{"encoder", store.state(models::PretrainingObjective::kEncoderPrefix)}}, ""};
  for (const char* network : {"projection_head", "projector", "predictor", "decoder"})
    if (NamedArrays arrays = store.state(std::string(network) + "."); !arrays.empty())
      file.sections.emplace_back(network, std::move(arrays));
  return file;
}

/// Makes room for the steps of a run and says how much; throws Error where there is not enough.
void reserve_memory(const PretrainOptions& o, Pretraining& run, Device device, size_t records) {
  const auto gigabytes = [](size_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9); };
  const size_t batch = std::min(static_cast<size_t>(o.training.batch_size), records);
  const size_t bytes = run.step().bytes(static_cast<int64_t>(batch)), available = available_memory(device);
  if (bytes > available) {
    size_t fits = 0, too_large = batch;  // records
    while (too_large - fits > 1) {
      const size_t middle = fits + (too_large - fits) / 2;
      (run.step().bytes(static_cast<int64_t>(middle)) > available ? too_large : fits) = middle;
    }
    throw Error(fmt::format(
        "--batch-size {}: a step takes {}, but {} of memory are free; {}{}", o.training.batch_size, gigabytes(bytes),
        gigabytes(available),
        fits >= 2 ? fmt::format("the largest batch that fits is {}", fits) : std::string("not even a batch of 2 fits"),
        o.recompute ? ", or more with --accumulate" : ", or more with --recompute or --accumulate"));
  }
  run.step().reserve(bytes);
  fmt::print(stderr, "memory: {} for a step of {} ECGs, of {} that are free\n", gigabytes(bytes), batch,
             gigabytes(available));
}

void pretrain(const CLI::App& command, PretrainOptions o) {
  adopt_method(command, o);
  check(command, o);
  const augment::NamedRecipe recipe = chosen_recipe(o.augmentation);
  const RunLock lock(beside(o.out, "lock"), o.out.string());
  const Device device = prepare(o.common);
  const data::Dataset dataset = load(o.data, kTrainingFolds);
  const std::vector<size_t> records = records_of_folds(dataset, kTrainingFolds);
  const data::Normalization normalization = data::measure_normalization(dataset, records);
  const ViewOptions views = view_options(recipe, dataset, o.training.signal_length, 2);
  check_views(o, views);
  const PretrainingOptions chosen = pretraining_options(o, dataset);
  const nlohmann::json method = to_json(o, chosen, dataset, recipe);
  ResumableRun run(o.out, o.run,
                   begin_record(command, o.common, device, dataset,
                                {{"method's", method}, {"encoder", tools::to_json(chosen.objective.encoder)}}));
  if (run.is_complete()) return;
  Pretraining pretraining(chosen, views, dataset, records, normalization, device);

  if (!o.save_init.empty()) write_tensor_file(o.save_init, initial_weights(pretraining.store()));
  fmt::print(stderr,
             "{} of {}{} on {} ECGs of folds 1-8, augmentation {}, views of {} samples, {} parameters, {} threads\n",
             o.method, pretraining.encoder().options().name,
             o.contrasts() ? fmt::format(" with {}", loss_of(o).name) : std::string(), records.size(), recipe.name,
             views.length, pretraining.store().parameter_count(), threads());
  reserve_memory(o, pretraining, device, records.size());
  pretraining.run(run);
  write_model(o.out, pretraining.store(), "encoder", models::PretrainingObjective::kEncoderPrefix,
              {.encoder = pretraining.encoder().options(),
               .normalization = normalization,
               .signal_length = views.length,
               .label_set = {},
               .classes = {},
               .run = method});
  run.finish();
  fmt::print("encoder: {}\nmetrics: {}\n", o.out.string(), beside(o.out, "metrics.jsonl").string());
}

std::string loss_help() {
  std::string text = "contrastive loss:";
  for (const models::LossDefinition& loss : models::loss_definitions()) {
    text += fmt::format("\n{}: {} ({}", loss.name, loss.meaning, loss.source);
    if (loss.temperature > 0) text += fmt::format("; temperature {}", loss.temperature);
    if (loss.positives != models::Positives::partner)
      text += loss.positives == models::Positives::patient ? "; positives by patient" : "; positives by record";
    text += ")";
  }
  return text + "\n";
}

std::string method_help() {
  std::string text = "How the encoder learns:";
  for (const PretrainingMethod& m : pretraining_methods()) {
    text += fmt::format("\n{}: {}; {} with --epochs {} --batch-size {} --lr {} --adam-eps {} --augment {}", m.name,
                        m.meaning, m.encoder, m.epochs, m.batch_size, m.learning_rate, m.adam_eps,
                        fmt::join(m.augment, " "));
    if (!m.leads.empty()) text += fmt::format(" --leads {}", fmt::join(m.leads, ","));
  }
  return text + "\n";
}

void add_method_options(CLI::App& command, PretrainOptions& o) {
  command.add_option("--method", o.method, method_help())->capture_default_str();
  command.add_option("--loss", o.loss, "simclr: " + loss_help())->capture_default_str();
  command.add_option("--slots", o.slots, "clocs: what is compared: leads, segments or leads+segments")
      ->capture_default_str();
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
  command.add_option("--queue-size", o.queue_size,
                     "--loss moco: views of earlier batches to compare with [default: 4096]");
  command.add_option("--ema-decay", o.ema_decay,
                     "byol, --loss moco: share of its weights that the following network keeps in a step [default: "
                     "0.999; with --ema-schedule cosine 0.996 at the start]");
  command
      .add_option("--ema-schedule", o.ema_schedule,
                  "byol: constant, or cosine, from the decay to 1 [default: constant]")
      ->check(CLI::IsMember({"constant", "cosine"}));
  command.add_option("--projection-dim", o.projection_dim, "Size of the projections [default: 128; byol: 256]");
  command.add_option("--projection-hidden", o.projection_hidden, "Hidden units of the projector [default: 2048]");
}

}  // namespace

void add_pretrain(CLI::App& app) {
  auto options = std::make_shared<PretrainOptions>();
  PretrainOptions& o = *options;
  CLI::App& command = *app.add_subcommand("pretrain", "Train an encoder on unlabelled ECGs (folds 1-8)");
  add_signal_options(command, o.data);
  command.add_option("--out", o.out, "Encoder file to write: .pt or .safetensors")->required();
  add_method_options(command, o);
  add_training_options(command, o.training);
  command.add_option("--leads", o.data.leads, "Leads to read, by name [default: the method's, see --method]")
      ->delimiter(',');
  add_encoder_options(command, o.encoder);
  add_recipe_options(command, o.augmentation);
  command.add_option("--shuffle", o.shuffle, "Order of the records: standard (new in every epoch) or none")
      ->check(CLI::IsMember({"standard", "none"}))
      ->capture_default_str();
  command
      .add_option("--accumulate", o.accumulate,
                  "Parts in which a batch is encoded, one after the other: memory of one part, the gradient of all")
      ->capture_default_str();
  command.add_flag("--recompute", o.recompute,
                   "Keep only the inputs of the encoder's blocks, and run them again in the backward pass");
  command.add_option("--save-init", o.save_init, "Also write the initial weights of all networks to this file");
  add_run_options(command, o.run);
  add_common_options(command, o.common);
  command.callback([options, &command] { pretrain(command, *options); });
}

}  // namespace systole::tools
